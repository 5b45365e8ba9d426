#include "ops/salvage_list.h"

#include <fstream>
#include <utility>

#include "interop/json_read.h"
#include "interop/label_json.h"
#include "ops/checked_lines.h"

namespace chronolith::ops {
namespace {

using interop::AppendJsonString;
using interop::JsonText;
namespace ondemand = simdjson::ondemand;

class Members {
 public:
  explicit Members(std::string* json) : json_(json) {}
  void Text(std::string_view name, std::string_view text) {
    Name(name);
    AppendJsonString(text, json_);
  }
  template <typename T>
  void Number(std::string_view name, T n) {
    Name(name);
    json_->append(std::to_string(n));
  }
  template <typename T>
  void NumberIf(std::string_view name, const std::optional<T>& n) {
    if (n) Number(name, *n);
  }
  void Raw(std::string_view name, std::string_view json) {
    Name(name);
    json_->append(json);
  }

 private:
  void Name(std::string_view name) { json_->append(std::exchange(any_, true) ? ",\"" : "\"").append(name).append("\":"); }
  std::string* const json_;
  bool any_ = false;
};

template <typename T>
Status ReadNumber(JsonText* json, ondemand::value value, T* number) {
  std::string text;
  if (Status s = json->Scalar(value, "a number", &text); !s.ok()) return s;
  return ParseNumber(text, number) ? Status::Ok() : json->Error("expected a number");
}
template <typename T>
Status ReadNumber(JsonText* json, ondemand::value value, std::optional<T>* number) {
  return ReadNumber(json, value, &number->emplace());
}

Status ReadBool(JsonText* json, ondemand::value value, bool* is) {
  std::string text;
  if (Status s = json->Scalar(value, "true or false", &text); !s.ok()) return s;
  *is = text == "true";
  return *is || text == "false" ? Status::Ok() : json->Error("expected true or false");
}

Status ReadKind(JsonText* json, ondemand::value value, LossKind* kind) {
  std::string text;
  if (Status s = json->String(value, "a kind of loss", &text); !s.ok()) return s;
  for (const LossKind known : kLossKinds) {
    if (NameOf(known) != text) continue;
    *kind = known;
    return Status::Ok();
  }
  return json->Error("unknown kind of loss '" + text + "'");
}

// A line is a loss where it has a kind, else the summary.
Status ReadLine(const std::string& line, SalvageReport* report, bool* summary) {
  JsonText json(line);
  SalvageLoss loss;
  bool is_loss = false;
  const Status s = json.ReadAll([&](std::string_view name, ondemand::value value) {
    if (name == "kind") {
      is_loss = true;
      return ReadKind(&json, value, &loss.kind);
    }
    if (name == "shard") return ReadNumber(&json, value, &loss.shard);
    if (name == "series" && is_loss) return json.String(value, "a series", &loss.series);
    if (name == "first_number") return ReadNumber(&json, value, &loss.first_ordinal);
    if (name == "last_number") return ReadNumber(&json, value, &loss.last_ordinal);
    if (name == "start_ms") return ReadNumber(&json, value, &loss.start);
    if (name == "end_ms") return ReadNumber(&json, value, &loss.end);
    if (name == "samples") return ReadNumber(&json, value, &loss.samples);
    if (name == "first_lsn") return ReadNumber(&json, value, &loss.first_lsn);
    if (name == "last_lsn") return ReadNumber(&json, value, &loss.last_lsn);
    if (name == "what") return json.String(value, "a text", &loss.what);
    if (name == "source") return json.String(value, "a path", &report->source);
    if (name == "source_store") return json.String(value, "an identity", &report->source_store);
    if (name == "log_dir") return json.String(value, "a path", &report->log_path);
    if (name == "keep_unlabelled") return ReadBool(&json, value, &report->keep_unlabelled);
    if (name == "shards") return ReadNumber(&json, value, &report->shards);
    if (name == "series") return ReadNumber(&json, value, &report->series);
    if (name == "samples_written") return ReadNumber(&json, value, &report->samples);
    if (name == "histograms_written") return ReadNumber(&json, value, &report->histograms);
    if (name == "exemplars_written") return ReadNumber(&json, value, &report->exemplars);
    if (name == "series_relabelled") return ReadNumber(&json, value, &report->series_relabelled);
    if (name == "unlabelled_kept") return ReadNumber(&json, value, &report->unlabelled_kept);
    if (name == "lost_total") return ReadNumber(&json, value, &report->losses_total);
    if (name != "notes") return Status::Ok();
    return json.ReadArray(value, [&](ondemand::value note) { return json.String(note, "a note", &report->notes.emplace_back()); });
  });
  *summary = !is_loss;
  if (s.ok() && is_loss && report->losses.size() < kLossesListedMax) report->losses.push_back(std::move(loss));
  return s;
}

}  // namespace

std::string LossJson(const SalvageLoss& loss) {
  std::string json = "{";
  Members members(&json);
  members.Text("kind", NameOf(loss.kind));
  members.NumberIf("shard", loss.shard);
  if (!loss.series.empty()) members.Text("series", loss.series);
  members.NumberIf("first_number", loss.first_ordinal);
  members.NumberIf("last_number", loss.last_ordinal);
  members.NumberIf("start_ms", loss.start);
  members.NumberIf("end_ms", loss.end);
  if (loss.samples > 0) members.Number("samples", loss.samples);
  if (loss.first_lsn > 0) members.Number("first_lsn", loss.first_lsn);
  if (loss.last_lsn > 0) members.Number("last_lsn", loss.last_lsn);
  members.Text("what", loss.what);
  return json + "}";
}

std::string SummaryJson(const SalvageReport& report) {
  std::string json;
  Members members(&json);
  members.Text("source", report.source);
  members.Text("source_store", report.source_store);
  members.Text("log_dir", report.log_path);
  members.Raw("keep_unlabelled", report.keep_unlabelled ? "true" : "false");
  members.Number("shards", report.shards);
  members.Number("series", report.series);
  members.Number("samples_written", report.samples);
  members.Number("histograms_written", report.histograms);
  members.Number("exemplars_written", report.exemplars);
  members.Number("series_relabelled", report.series_relabelled);
  members.Number("unlabelled_kept", report.unlabelled_kept);
  members.Number("lost_total", report.losses_total);
  std::string notes;
  for (const std::string& note : report.notes) {
    notes += notes.empty() ? "" : ",";
    AppendJsonString(note, &notes);
  }
  members.Raw("notes", "[" + notes + "]");
  return json;
}

Result<SalvageReport> ReadSalvageList(const std::string& path) {
  std::ifstream file(path);
  if (!file) return NotFound("there is no " + path);
  SalvageReport report;
  bool whole = false;
  std::uint64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (whole) return DataLoss(path + ": there is more behind its last line");
    if (Status s = ReadLine(line, &report, &whole); !s.ok()) {
      return DataLoss(path + ": line " + std::to_string(number) + ": " + s.message());
    }
  }
  if (!whole) return DataLoss(path + " has no last line");
  return report;
}

}  // namespace chronolith::ops

#include "tools/cli/replay_plan.h"

#include <algorithm>

#include "interop/time_text.h"
#include "tools/cli/output.h"

namespace chronolith::cli {
namespace {

std::string N(std::uint64_t n) { return std::to_string(n); }

ops::Foreseen Sum(const std::map<ShardId, ops::Foreseen>& foreseen) {
  using ops::Foreseen;
  Foreseen sum;
  for (const auto& [shard, part] : foreseen) {
    for (auto field : {&Foreseen::series, &Foreseen::samples, &Foreseen::histograms, &Foreseen::exemplars, &Foreseen::metadata,
                       &Foreseen::deletes}) {
      sum.*field += part.*field;
    }
    sum.first = std::min(sum.first, part.first);
    sum.last = std::max(sum.last, part.last);
  }
  return sum;
}

void JsonItems(const ops::Foreseen& f, JsonWriter* json) {
  json->Key("series").Unsigned(f.series).Key("samples").Unsigned(f.samples).Key("histograms").Unsigned(f.histograms);
  json->Key("exemplars").Unsigned(f.exemplars).Key("metadata").Unsigned(f.metadata).Key("deletes").Unsigned(f.deletes);
  if (f.first <= f.last) json->Key("first_ms").Integer(f.first).Key("last_ms").Integer(f.last);
}

void PrintJson(const std::string& target, const ops::ReplayReport& report, const std::map<ShardId, ops::Foreseen>& foreseen,
               Output* out) {
  const ops::Delivered sum = report.Sum();
  JsonWriter json(out);
  json.BeginObject().Key("dry_run").Bool(true).Key("target").String(target).Key("complete").Bool(report.complete());
  json.Key("records").Unsigned(report.Read().records).Key("would_send").Unsigned(sum.sent);
  json.Key("would_skip").Unsigned(sum.skipped).Key("without_labels").Unsigned(sum.refused);
  json.Key("not_selected").Unsigned(report.Read().left_out);
  JsonItems(Sum(foreseen), &json);
  json.Key("problems").BeginArray();
  for (const std::string& problem : report.Problems()) json.String(problem);
  json.EndArray().Key("shards").BeginArray();
  for (const ops::ShardReplay& s : report.shards) {
    json.BeginObject().Key("shard").Unsigned(s.shard).Key("resumed_after").Unsigned(s.resumed_after);
    json.Key("first_lsn").Unsigned(s.read.first_lsn).Key("last_lsn").Unsigned(s.read.last_lsn);
    json.Key("records").Unsigned(s.read.records).Key("not_selected").Unsigned(s.read.left_out);
    JsonItems(foreseen.at(s.shard), &json);
    json.EndObject();
  }
  json.EndArray().EndObject().Newline();
}

void PrintTable(const std::string& target, const ops::ReplayReport& report, const std::map<ShardId, ops::Foreseen>& foreseen,
                bool csv, Output* out) {
  Table table({"shard", "begins after", "first lsn", "last lsn", "records", "series", "samples", "histograms", "exemplars",
               "metadata", "deletes", "not selected", "first sample", "last sample"});
  const auto time = [](const ops::Foreseen& f, Timestamp t) { return f.first > f.last ? "" : interop::FormatTime(t); };
  for (const ops::ShardReplay& s : report.shards) {
    const ops::Foreseen& f = foreseen.at(s.shard);
    table.Add({N(s.shard), N(s.resumed_after), N(s.read.first_lsn), N(s.read.last_lsn), N(s.read.records), N(f.series),
               N(f.samples), N(f.histograms), N(f.exemplars), N(f.metadata), N(f.deletes), N(s.read.left_out), time(f, f.first),
               time(f, f.last)});
  }
  table.Print(csv, out);
  if (csv) return;
  const ops::Foreseen sum = Sum(foreseen);
  const ops::Delivered delivered = report.Sum();
  *out << (target == "null" ? "would read: " : "would send to " + target + ": ") << N(sum.samples) << " samples, "
       << N(sum.items() - sum.samples) << " other items of " << N(sum.series) << " series in " << N(report.Read().records)
       << " records";
  if (sum.first <= sum.last) *out << ", from " << interop::FormatTime(sum.first) << " to " << interop::FormatTime(sum.last);
  if (delivered.skipped + delivered.refused > 0)
    *out << "\nskipped " << N(delivered.skipped) << ", without labels " << N(delivered.refused);
  *out << "\nNothing was sent, and neither target nor cursor was touched"
       << (target == "null" ? ".\n" : "; what the target would refuse is not known.\n");
}

}  // namespace

bool PrintReplayPlan(Format format, const std::string& target, const ops::ReplayReport& report,
                     const std::map<ShardId, ops::Foreseen>& foreseen) {
  return PrintReport(
      format, [&](Output* out) { PrintJson(target, report, foreseen, out); },
      [&](bool csv, Output* out) { PrintTable(target, report, foreseen, csv, out); });
}

}  // namespace chronolith::cli

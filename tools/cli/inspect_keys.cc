// chronolith inspect --what keys: the keys of each column family as they are read, then how many rows of each kind there are.
#include <algorithm>
#include <cstdio>

#include "interop/label_json.h"
#include "interop/time_text.h"
#include "tools/cli/common.h"
#include "tools/cli/inspect.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

using ops::FamilyKeys;
using ops::KeyField;
using ops::ListedKey;

std::string N(std::uint64_t n) { return std::to_string(n); }

std::string Quoted(std::string_view text) {
  std::string quoted;
  interop::AppendJsonString(text, &quoted);
  return quoted;
}

std::string TextOf(const ListedKey& key) {
  std::string text;
  for (const KeyField& field : key.fields) {
    text.append(text.empty() ? "" : " ").append(field.name).append("=");
    if (const auto* time = std::get_if<ops::KeyTime>(&field.value)) text += interop::FormatTime(time->ms);
    if (const auto* number = std::get_if<std::uint64_t>(&field.value)) text += N(*number);
    if (const auto* string = std::get_if<std::string>(&field.value)) text += Quoted(*string);
  }
  return text;
}

class TablePrinter : public ops::KeyVisitor {
 public:
  explicit TablePrinter(Output* out) : out_(out) {}

  Status OnFamily(const FamilyKeys& family) override {
    *out_ << family.family << " of the " << family.instance << "\n";
    return out_->status();
  }
  Status OnKey(const ListedKey& key) override {
    char head[64];
    std::snprintf(head, sizeof(head), "  %-12s  %10s  ", std::string(NameOf(key.kind)).c_str(),
                  HumanBytes(key.value_bytes).c_str());
    *out_ << head << TextOf(key) << "\n";
    return out_->status();
  }
  Status OnFamilyEnd(const FamilyKeys& family) override {
    const std::uint64_t rows = family.rows();
    if (rows > family.listed) *out_ << "  and " << N(rows - family.listed) << " more\n";
    if (rows == 0 && family.problem.empty()) *out_ << "  no rows\n";
    if (!family.problem.empty()) *out_ << "  not complete: " << family.problem << "\n";
    incomplete_ = incomplete_ || !family.problem.empty();
    *out_ << "\n";
    for (const auto& [kind, use] : family.use) {
      kinds_.Add({family.family, family.instance, std::string(NameOf(kind)), N(use.rows), HumanBytes(use.key_bytes),
                  HumanBytes(use.value_bytes)});
    }
    return out_->status();
  }
  void Finish() {
    kinds_.Print(out_);
    *out_
        << "Bytes are those of the rows, before the engine compresses them. Values were counted, not checked: `chronolith verify` "
           "reads them.\n";
    if (incomplete_) *out_ << "These figures are lower bounds: not all families could be read.\n";
  }

 private:
  Output* const out_;
  Table kinds_{{"family", "instance", "kind", "rows", "key bytes", "value bytes"}};
  bool incomplete_ = false;
};

class CsvPrinter : public ops::KeyVisitor {
 public:
  explicit CsvPrinter(Output* out) : out_(out) { *out_ << "family,instance,kind,value bytes,key\n"; }

  Status OnFamily(const FamilyKeys& family) override {
    family_ = family.family + "," + family.instance + ",";
    return out_->status();
  }
  Status OnKey(const ListedKey& key) override {
    *out_ << family_ << NameOf(key.kind) << "," << N(key.value_bytes) << "," << CsvField(TextOf(key)) << "\n";
    return out_->status();
  }
  Status OnFamilyEnd(const FamilyKeys&) override { return out_->status(); }

 private:
  Output* const out_;
  std::string family_;
};

class JsonPrinter : public ops::KeyVisitor {
 public:
  JsonPrinter(const ops::OfflineStore& store, Output* out) : out_(out), json_(out) {
    json_.BeginObject();
    JsonStore(store, &json_);
    json_.Key("families").BeginArray();
  }

  Status OnFamily(const FamilyKeys& family) override {
    json_.BeginObject().Key("family").String(family.family).Key("instance").String(family.instance);
    if (family.shard) json_.Key("shard").Unsigned(*family.shard);
    json_.Key("keys").BeginArray().Newline();
    return out_->status();
  }
  Status OnKey(const ListedKey& key) override {
    json_.BeginObject().Key("kind").String(NameOf(key.kind)).Key("value_bytes").Unsigned(key.value_bytes).Key("key").BeginObject();
    for (const KeyField& field : key.fields) {
      if (const auto* time = std::get_if<ops::KeyTime>(&field.value)) {
        json_.Key(std::string(field.name) + "_ms").Integer(time->ms);
        continue;
      }
      json_.Key(field.name);
      if (const auto* number = std::get_if<std::uint64_t>(&field.value)) json_.Unsigned(*number);
      if (const auto* string = std::get_if<std::string>(&field.value)) json_.String(*string);
    }
    json_.EndObject().EndObject().Newline();
    return out_->status();
  }
  Status OnFamilyEnd(const FamilyKeys& family) override {
    json_.EndArray().Key("not_listed").Unsigned(family.rows() - family.listed).Key("kinds").BeginArray();
    for (const auto& [kind, use] : family.use) {
      json_.BeginObject().Key("kind").String(NameOf(kind)).Key("rows").Unsigned(use.rows);
      json_.Key("key_bytes").Unsigned(use.key_bytes).Key("value_bytes").Unsigned(use.value_bytes).EndObject();
    }
    json_.EndArray().Key("complete").Bool(family.problem.empty()).Key("error").String(family.problem).EndObject().Newline();
    return out_->status();
  }
  void Finish(const std::vector<std::string>& problems) {
    json_.EndArray();
    JsonNotVerified({"values of rows"}, &json_);
    json_.Key("complete").Bool(problems.empty()).Key("problems").BeginArray();
    for (const std::string& problem : problems) json_.String(problem);
    json_.EndArray().EndObject().Newline();
  }

 private:
  Output* const out_;
  JsonWriter json_;
};

}  // namespace

int InspectKeys(const ops::OfflineStore& store, const ops::KeyListOptions& options, Format format, const FilesFlags& files) {
  Output out;
  const auto list = [&](ops::KeyVisitor* visitor) {
    WorkProgress progress;
    ops::OpsContext context;
    context.cancelled = InterruptFlag();
    context.progress = &progress;
    return ops::ListKeys(store, options, context, visitor);
  };
  Result<std::vector<std::string>> problems = Cancelled("interrupted");
  if (format == Format::kJson) {
    JsonPrinter json(store, &out);
    problems = list(&json);
    if (problems.ok()) json.Finish(*problems);
  } else if (format == Format::kCsv) {
    CsvPrinter csv(&out);
    problems = list(&csv);
  } else {
    TablePrinter table(&out);
    problems = list(&table);
    if (problems.ok()) table.Finish();
  }
  if (!problems.ok() && problems.status().code() == StatusCode::kInvalidArgument) return FailUsage(problems.status());
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  if (!problems.ok()) return FailOrInterrupted(problems.status(), "what was printed is not all");
  return ReportProblems(*problems, store, files);
}

}  // namespace chronolith::cli

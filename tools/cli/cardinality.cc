// chronolith cardinality: which labels make how many series, how even the shards are, and how series come and go.
#include "ops/cardinality.h"

#include <string>

#include "interop/time_text.h"
#include "tools/cli/common.h"
#include "tools/cli/inspect.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {
namespace {

struct CardinalityFlags {
  FilesFlags files;
  std::size_t top = 10;
  std::size_t hours = 48;
  bool fast = false;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

std::string N(std::uint64_t n) { return std::to_string(n); }

Unverified UnverifiedOf(bool fast) { return {"labels and metadata by series", fast ? "chunks" : "samples in chunks"}; }

std::string Share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "-" : FixedPoint(100.0 * static_cast<double>(part) / static_cast<double>(whole), 1) + " %";
}

// A pair as a selector has it: quoted, so that odd characters show.
std::string PairText(const ops::PairCount& pair) { return Matcher::Equal(pair.name, pair.value).ToString(); }

void PrintLabels(const ops::CardinalityReport& report, Output* out) {
  *out << (report.complete() ? "" : "at least ") << N(report.series) << " series, " << N(report.log_series)
       << " of them only in the log; " << N(report.label_names) << " label names, " << N(report.label_pairs)
       << " pairs of name and value\n";
  if (!report.complete()) *out << LowerBounds(report) << "\n";
  if (report.log_series_left_out > 0) {
    *out << N(report.log_series_left_out)
         << " series of the log are in none of the figures by label: the memory limit was reached\n";
  }
  *out << "\n";
  Table metrics({"metric", "series", "share"});
  for (const ops::PairCount& m : report.metrics) metrics.Add({m.value, N(m.series), Share(m.series, report.series)});
  metrics.Print(out);
  *out << "\n";
  Table values({"label name, by values", "values", "series"});
  for (const ops::NameCount& n : report.names_by_values) values.Add({n.name, N(n.values), N(n.series)});
  values.Print(out);
  *out << "\n";
  Table names({"label name, by series", "series", "share", "values"});
  for (const ops::NameCount& n : report.names_by_series)
    names.Add({n.name, N(n.series), Share(n.series, report.series), N(n.values)});
  names.Print(out);
  *out << "\n";
  Table pairs({"label value", "series", "share"});
  for (const ops::PairCount& p : report.pairs) pairs.Add({PairText(p), N(p.series), Share(p.series, report.series)});
  pairs.Print(out);
  *out << "\n";
}

void PrintShards(const ops::CardinalityReport& report, bool fast, Output* out) {
  Table shards({"shard", "state", "series", "share", "only in log", "samples", "table bytes"});
  for (const ops::ShardCardinality& s : report.shards) {
    const bool read = s.condition.quarantine.empty();
    shards.Add({N(s.shard), s.condition.State(), read ? N(s.series) : "-", read ? Share(s.series, report.series) : "-",
                read ? N(s.log_series) : "-", read && !fast ? N(s.samples) : "-", HumanBytes(s.bytes)});
  }
  shards.Print(out);
  *out << "fullest shard over the mean" << (report.complete() ? ": " : ", of what could be read: ")
       << FixedPoint(report.SeriesSkew(), 2) << " in series";
  if (report.SampleSkew() > 0) *out << ", " << FixedPoint(report.SampleSkew(), 2) << " in stored samples";
  *out << "\n" << NotVerified(UnverifiedOf(fast)) << "\n\n";
}

void PrintChurn(const ops::CardinalityReport& report, std::size_t hours_max, Output* out) {
  if (!report.windows.empty()) {
    Table windows({"window (of stored chunks)", "active", "new", "last seen"});
    for (const auto& [start, w] : report.windows) windows.Add({WindowName(start), N(w.active), N(w.first), N(w.last)});
    windows.Print(out);
    *out << "new: no chunk in a window before; last seen: none in a later one, so all of the newest window are.\n\n";
    Table hours({"hour (of stored samples)", "first seen", "last seen"});
    const std::size_t all = report.hours.size();
    auto hour = report.hours.begin();
    if (hours_max > 0 && all > hours_max) std::advance(hour, all - hours_max);
    for (; hour != report.hours.end(); ++hour) hours.Add({WindowName(hour->first), N(hour->second.first), N(hour->second.last)});
    hours.Print(out);
    *out << "By each series' first and last stored sample: where retention has cut what came before, its oldest hour is no birth, "
            "and what\nis still written to was last seen at the last checkpoint. Hours without either are left out.\n";
    if (hours_max > 0 && all > hours_max)
      *out << "The last " << N(hours_max) << " of " << N(all) << " such hours; --hours 0 prints all.\n";
    *out << "\n";
  }
  Table hours({"hour (of writing, in the log)", "created", "removed"});
  for (const auto& [start, h] : report.log_hours) hours.Add({WindowName(start), N(h.created), N(h.removed)});
  if (!report.log_hours.empty()) hours.Print(out);
  *out << (report.log_from_ms == 0
               ? "The log is empty, so it tells of no series created or removed.\n"
               : "By the log's records, which reach back to " + interop::FormatTime(report.log_from_ms) + ".\n");
}

void PrintCsv(const ops::CardinalityReport& report, Output* out) {
  Table table({"kind", "name", "value", "series", "values", "state"});
  for (const auto& m : report.metrics) table.Add({"metric", std::string(kMetricName), m.value, N(m.series), "", ""});
  for (const auto& n : report.names_by_values) table.Add({"name_by_values", n.name, "", N(n.series), N(n.values), ""});
  for (const auto& n : report.names_by_series) table.Add({"name_by_series", n.name, "", N(n.series), N(n.values), ""});
  for (const auto& p : report.pairs) table.Add({"pair", p.name, p.value, N(p.series), "", ""});
  for (const auto& s : report.shards) table.Add({"shard", N(s.shard), "", N(s.series), "", s.condition.State()});
  table.PrintCsv(out);
}

void JsonNames(const char* key, const std::vector<ops::NameCount>& names, JsonWriter* json) {
  json->Key(key).BeginArray();
  for (const ops::NameCount& n : names)
    json->BeginObject().Key("name").String(n.name).Key("series").Unsigned(n.series).Key("values").Unsigned(n.values).EndObject();
  json->EndArray().Newline();
}

void JsonPairs(const char* key, const std::vector<ops::PairCount>& pairs, JsonWriter* json) {
  json->Key(key).BeginArray();
  for (const ops::PairCount& p : pairs)
    json->BeginObject().Key("name").String(p.name).Key("value").String(p.value).Key("series").Unsigned(p.series).EndObject();
  json->EndArray().Newline();
}

void PrintJson(const ops::CardinalityReport& report, bool fast, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("series").Unsigned(report.series).Key("log_series").Unsigned(report.log_series);
  json.Key("log_series_left_out").Unsigned(report.log_series_left_out).Key("label_names").Unsigned(report.label_names);
  json.Key("label_pairs").Unsigned(report.label_pairs);
  JsonPairs("metrics", report.metrics, &json);
  JsonNames("names_by_values", report.names_by_values, &json);
  JsonNames("names_by_series", report.names_by_series, &json);
  JsonPairs("pairs", report.pairs, &json);
  json.Key("shards").BeginArray();
  for (const ops::ShardCardinality& s : report.shards) {
    json.BeginObject().Key("shard").Unsigned(s.shard);
    JsonCondition(s.condition, &json);
    json.Key("series").Unsigned(s.series).Key("log_series").Unsigned(s.log_series);
    if (!fast) json.Key("samples").Unsigned(s.samples);
    json.Key("table_bytes").Unsigned(s.bytes).EndObject();
  }
  json.EndArray().Key("series_skew").Double(report.SeriesSkew());
  if (!fast) {
    json.Key("sample_skew").Double(report.SampleSkew()).Key("stored_windows").BeginArray();
    for (const auto& [start, w] : report.windows) {
      json.BeginObject().Key("start_ms").Integer(start).Key("active").Unsigned(w.active).Key("new").Unsigned(w.first);
      json.Key("last_seen").Unsigned(w.last).EndObject();
    }
    json.EndArray().Key("hours").BeginArray();
    for (const auto& [start, h] : report.hours) {
      json.BeginObject().Key("start_ms").Integer(start).Key("first_seen").Unsigned(h.first);
      json.Key("last_seen").Unsigned(h.last).EndObject();
    }
    json.EndArray();
  }
  json.Key("log_from_ms").Integer(report.log_from_ms).Key("log_hours").BeginArray();
  for (const auto& [start, h] : report.log_hours)
    json.BeginObject()
        .Key("start_ms")
        .Integer(start)
        .Key("created")
        .Unsigned(h.created)
        .Key("removed")
        .Unsigned(h.removed)
        .EndObject();
  json.EndArray();
  JsonNotVerified(UnverifiedOf(fast), &json);
  json.Key("complete").Bool(report.complete()).Key("problems").BeginArray();
  for (const std::string& problem : report.Problems()) json.String(problem);
  json.EndArray().EndObject().Newline();
}

int RunCardinality(const CardinalityFlags& flags) {
  auto store = OpenFiles(flags.files, flags.memory_limit, {.log_may_fail = true});
  if (!store.ok()) return FailOpening(store.status(), flags.files);
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = flags.memory_limit;
  Result<ops::CardinalityReport> report = Cancelled("interrupted");
  {
    WorkProgress progress;
    context.progress = &progress;
    report = ops::CountCardinality(**store, {.top = flags.top, .chunks = !flags.fast}, context);
  }
  if (!report.ok()) return FailOrInterrupted(report.status(), "nothing was counted to the end");
  Output out;
  switch (flags.format) {
    case Format::kTable:
      PrintLabels(*report, &out);
      PrintShards(*report, flags.fast, &out);
      PrintChurn(*report, flags.hours, &out);
      break;
    case Format::kJson:
      PrintJson(*report, flags.fast, &out);
      break;
    case Format::kCsv:
      PrintCsv(*report, &out);
      break;
  }
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  return ReportProblems(report->Problems(), **store, flags.files);
}

}  // namespace

void AddCardinality(CLI::App* app, Run* run) {
  auto flags = std::make_shared<CardinalityFlags>();
  CLI::App* command =
      app->add_subcommand("cardinality", "Show which labels and metrics make how many series, and how they come and go");
  AddFilesFlags(command, &flags->files);
  command->add_option("--top", flags->top, "how many of each list (10)")->check(CLI::Range(0, 100'000))->option_text("N");
  command->add_option("--hours", flags->hours, "how many hours of series first and last seen the table has; 0: all (48)")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  command->add_flag("--fast", flags->fast, "do not read the chunks: no samples by shard, no series by window and hour");
  AddMemoryLimit(command, &flags->memory_limit);
  AddFormat(command, &flags->format);
  command->footer(
      "Counts the series of the stored index and those that only the log has, without loading them; also beside a process that\n"
      "writes. Samples, windows and hours are those of stored chunks, as of the last checkpoint; what the log holds beyond is told "
      "by\n"
      "the hour of writing. CSV has labels and shards only.\n"
      "Exit codes: 0 ok, 1 failure, 2 wrong arguments, 3 a shard is damaged: what of it could not be read is not counted.\n"
      "Examples:\n"
      "  chronolith cardinality metrics.db\n"
      "  chronolith cardinality metrics.db --top 50 --fast --format json");
  command->callback([flags, run] { *run = [flags] { return RunCardinality(*flags); }; });
}

}  // namespace chronolith::cli

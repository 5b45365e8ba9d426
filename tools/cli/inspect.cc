// chronolith inspect: what a store's files hold, and what keeps its log from being freed.
#include "tools/cli/inspect.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "interop/time_text.h"
#include "ops/target_path.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

std::string HumanAge(std::int64_t ms) {
  const double seconds = static_cast<double>(std::max<std::int64_t>(ms, 0)) / 1000;
  if (seconds < 120) return FixedPoint(seconds, 0) + " s";
  if (seconds < 7200) return FixedPoint(seconds / 60, 0) + " min";
  if (seconds < 172'800) return FixedPoint(seconds / 3600, 1) + " h";
  return FixedPoint(seconds / 86'400, 1) + " d";
}

std::string WindowName(Timestamp window) {
  std::string text = interop::FormatTime(window).substr(0, 16);
  if (text.size() == 16 && text[10] == 'T') text[10] = ' ';
  return text;
}

void JsonStore(const ops::OfflineStore& store, JsonWriter* json) {
  const StoreManifest& m = store.manifest();
  json->Key("store").BeginObject().Key("path").String(store.path()).Key("log_path").String(store.log_path());
  json->Key("uuid").String(m.UuidHex()).Key("incarnation").String(std::to_string(m.incarnation));
  json->Key("parent").String(std::to_string(m.parent)).Key("complete").Bool(m.complete).Key("shards").Unsigned(m.shards);
  json->Key("window_ms").Integer(m.window_ms).Key("engine").String(m.engine).EndObject().Newline();
}

void JsonCondition(const ops::ShardCondition& condition, JsonWriter* json) {
  json->Key("state").String(condition.State()).Key("complete").Bool(condition.complete()).Key("errors").BeginArray();
  if (!condition.quarantine.empty())
    json->BeginObject().Key("part").String("tables").Key("error").String(condition.quarantine).EndObject();
  for (const ops::ShardCondition::Unread& u : condition.unread)
    json->BeginObject().Key("part").String(u.part).Key("error").String(u.why).EndObject();
  json->EndArray();
}

std::string NotVerified(const Unverified& parts) {
  std::string text;
  for (const std::string_view part : parts)
    text.append(text.empty() ? "Not needed for these figures, and not verified: " : ", ").append(part);
  return text + ". `chronolith verify` reads all.";
}

void JsonNotVerified(const Unverified& parts, JsonWriter* json) {
  json->Key("not_verified").BeginArray();
  for (const std::string_view part : parts) json->String(part);
  json->EndArray();
}

namespace {

template <typename Shards>
std::string IncompleteOf(const Shards& all) {
  std::string shards;
  for (const auto& s : all) {
    if (!s.condition.complete()) shards += (shards.empty() ? "" : ", ") + std::to_string(s.shard);
  }
  return shards;
}

std::string LowerBoundsIf(const std::string& shards) {
  return shards.empty() ? "" : "These figures are lower bounds: not all of shard " + shards + " could be read.";
}

}  // namespace

std::string LowerBounds(const ops::InspectReport& report) { return LowerBoundsIf(IncompleteOf(report.shards)); }
std::string LowerBounds(const ops::CardinalityReport& report) { return LowerBoundsIf(IncompleteOf(report.shards)); }

std::string WithoutPins(const ops::InspectReport& report, bool log_was_read) {
  if (!log_was_read) return "The log could not be opened.";
  const std::string shards = IncompleteOf(report.shards);
  if (shards.empty()) return "No row of the log is kept: all is stored.";
  return "No row of the log was found. Not all of shard " + shards + " could be read: whether all of it is stored is not known.";
}

std::vector<std::string> ProblemsOf(const ops::InspectReport& report, const ops::CardinalityReport& cardinality) {
  std::vector<std::string> problems = report.Problems();
  for (std::string& problem : cardinality.Problems()) {
    if (std::find(problems.begin(), problems.end(), problem) == problems.end()) problems.push_back(std::move(problem));
  }
  return problems;
}

namespace {

enum class What : std::uint8_t { kSummary, kFamilies, kOptions, kFiles, kPins, kWindows, kKeys, kAll };

struct InspectFlags {
  FilesFlags files;
  What what = What::kSummary;
  bool fast = false;
  std::string html;
  bool overwrite = false;
  ops::KeyListOptions keys;
  bool of_keys = false;  // one of the flags of keys was given
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

std::string N(std::uint64_t n) { return std::to_string(n); }

using ops::InspectReport;
using ops::OfflineStore;

Unverified UnverifiedOf(const InspectReport& report) {
  return {"the index but for its state", report.chunks_read ? "samples in chunks" : "chunks", "records in the log"};
}

// One table, for the terminal or as CSV. `raw`: numbers as they are.
struct Printing {
  const OfflineStore& store;
  const InspectReport& report;
  bool raw;  // CSV

  std::string Bytes(std::uint64_t bytes) const { return raw ? N(bytes) : HumanBytes(bytes); }
  std::string Time(std::int64_t ms) const { return raw ? N(static_cast<std::uint64_t>(ms)) : interop::FormatTime(ms); }

  Table Shards() const {
    Table table({"shard", "state", "series", "chunks", "samples", "table bytes", "applied", "trimmed", "log lsn", "log rows",
                 "log bytes", "oldest row"});
    for (const ops::ShardUse& s : report.shards) {
      const std::string lsns = s.log_rows == 0 ? "-" : N(s.first_lsn) + ".." + N(s.last_lsn);
      const bool read = s.condition.quarantine.empty();
      const bool log = store.log() != nullptr;
      const auto figure = [](bool known, std::uint64_t n) { return known ? N(n) : "-"; };
      table.Add({N(s.shard), s.condition.State(), figure(read, s.series), figure(read && report.chunks_read, s.chunks),
                 figure(read && report.chunks_read, s.samples), store.data() == nullptr ? "-" : Bytes(s.table_bytes),
                 figure(read, s.applied_lsn()), figure(log, s.trimmed_to), lsns, figure(log, s.log_rows),
                 log ? Bytes(s.log_bytes) : "-", s.log_rows == 0 ? "-" : Time(s.oldest_write_ms)});
    }
    return table;
  }

  Table Pins() const {
    Table table({"shard", "kept because", "first lsn", "last lsn", "rows", "bytes", "since", "age"});
    for (const ops::LogPin& pin : report.pins) {
      table.Add({N(pin.shard), std::string(NameOf(pin.reason)), N(pin.first_lsn), N(pin.last_lsn), N(pin.rows), Bytes(pin.bytes),
                 Time(pin.since_ms),
                 raw ? N(static_cast<std::uint64_t>(std::max<std::int64_t>(report.now_ms - pin.since_ms, 0)))
                     : HumanAge(report.now_ms - pin.since_ms)});
    }
    return table;
  }

  Table Families() const {
    Table table({"family", "instance", "files", "file bytes", "in memory", "damage"});
    const std::pair<const char*, const EngineStats*> kEngines[] = {{"data", &report.data}, {"log", &report.log}};
    for (const auto& [name, engine] : kEngines) {
      for (const FamilyStats& f : engine->families) {
        table.Add({f.name, name, N(f.file_count), Bytes(f.file_bytes), Bytes(f.buffered_bytes), f.damage.empty() ? "-" : f.damage});
      }
    }
    return table;
  }

  Table Windows() const {
    Table table({"window", "shards", "chunks", "samples", report.chunks_read ? "bytes" : "bytes (estimate)", "bytes a sample"});
    for (const auto& [start, w] : report.windows) {
      table.Add({raw ? std::to_string(start) : WindowName(start), N(w.shard_bytes.size()), report.chunks_read ? N(w.chunks) : "-",
                 report.chunks_read ? N(w.samples) : "-", Bytes(w.bytes),
                 w.samples == 0 ? "-" : FixedPoint(static_cast<double>(w.bytes) / static_cast<double>(w.samples), 2)});
    }
    return table;
  }

  Table ChunkSizes() const {
    Table table({"bytes up to", "chunks", "bytes", "samples a chunk"});
    for (std::size_t i = 0; i < ops::kChunkClasses; ++i) {
      const ops::ChunkClass& c = report.chunk_classes[i];
      if (c.chunks == 0) continue;
      table.Add({N(ops::ChunkClassEnd(i)), N(c.chunks), Bytes(c.bytes),
                 FixedPoint(static_cast<double>(c.samples) / static_cast<double>(c.chunks), 1)});
    }
    return table;
  }

  Table Files() const {
    Table table({"file", "kind", "bytes", "modified"});
    for (const ops::InstanceFile& f : report.files)
      table.Add({f.instance + "/" + f.name, f.kind, Bytes(f.bytes), Time(f.modified_ms)});
    return table;
  }

  void SettingLines(Output* out) const {
    if (report.settings.empty()) *out << "The engine has written no settings down.\n";
    std::string section;
    for (const ops::EngineSetting& s : report.settings) {
      const std::string of = "[" + s.instance + (s.families.empty() ? "" : " " + s.families) + "]";
      if (of != section) *out << (section.empty() ? "" : "\n") << of << "\n";
      section = of;
      *out << "  " << s.name << " = " << s.value << "\n";
    }
  }

  Table Settings() const {
    Table table({"instance", "families", "setting", "value"});
    for (const ops::EngineSetting& s : report.settings)
      table.Add({s.instance, s.families.empty() ? "-" : s.families, s.name, s.value.empty() ? "-" : s.value});
    return table;
  }

  void Header(Output* out) const {
    const StoreManifest& m = store.manifest();
    *out << "store " << store.path() << "\n  uuid " << m.UuidHex() << ", incarnation " << N(m.incarnation)
         << (m.parent != 0 ? ", copied from incarnation " + N(m.parent) : "") << "\n  " << N(m.shards) << " shards, windows of "
         << HumanAge(m.window_ms) << ", engine " << m.engine << (m.log_path.empty() ? "" : ", log in " + store.log_path()) << "\n";
    if (!m.complete) *out << "  its creation has not ended\n";
    *out << "\n";
  }

  void Totals(Output* out) const {
    std::uint64_t tables = 0;
    for (const FamilyStats& f : report.data.families) tables += f.file_bytes;
    const std::string data = HumanBytes(tables) + " in tables";
    const std::string log = HumanBytes(report.log.log_bytes) + " in " + N(report.log.log_files) + " files, of which " +
                            HumanBytes(report.PinnedBytes()) + " are rows that are kept";
    *out << "\ndata: " << (store.data() == nullptr ? "could not be opened" : data)
         << ". log: " << (store.log() == nullptr ? "could not be opened" : log) << ".\n";
    *out << "Counts of series, chunks and samples are those of the tables, as of the last checkpoint.\n"
         << NotVerified(UnverifiedOf(report)) << "\n";
    PrintLowerBounds(out);
  }

  void PrintLowerBounds(Output* out) const {
    if (const std::string text = LowerBounds(report); !text.empty()) *out << text << "\n";
  }

  void Releases(Output* out) const {
    if (report.pins.empty()) {
      *out << WithoutPins(report, store.log() != nullptr) << "\n";
      return;
    }
    *out << "\n";
    for (const ops::PinReason reason : {ops::PinReason::kNotStored, ops::PinReason::kNotTrimmed, ops::PinReason::kQuarantined}) {
      std::uint64_t bytes = 0;
      for (const ops::LogPin& pin : report.pins) bytes += pin.reason == reason ? pin.bytes : 0;
      if (bytes > 0) *out << NameOf(reason) << ", " << HumanBytes(bytes) << ": released by " << ReleaseOf(reason) << ".\n";
    }
    *out << "Files of the log are shared: one goes when no shard needs a row in it any more. Oldest need: shard "
         << N(report.pins.front().shard) << ", since " << interop::FormatTime(report.pins.front().since_ms) << ".\n";
    PrintLowerBounds(out);
  }
};

void PrintTables(const OfflineStore& store, const InspectReport& report, What what, bool csv, Output* out) {
  const Printing print{store, report, csv};
  const auto table = [&](const char* title, const Table& rows) {
    if (csv) return rows.PrintCsv(out);
    if (what == What::kAll) *out << "\n" << title << "\n";
    rows.Print(out);
  };
  const auto wants = [&](What one) { return what == one || (what == What::kAll && !csv); };
  if (what == What::kSummary || what == What::kAll) {
    if (!csv) print.Header(out);
    csv ? print.Shards().PrintCsv(out) : print.Shards().Print(out);
    if (!csv) print.Totals(out);
  }
  if (wants(What::kPins)) {
    if (csv || !report.pins.empty()) table("What is kept in the log", print.Pins());
    if (!csv) print.Releases(out);
  }
  if (wants(What::kWindows)) {
    if (!csv && report.windows.empty()) {
      *out << "\nNo chunk is stored yet.\n";
    } else {
      table("Windows", print.Windows());
    }
    if (!csv && report.chunks_read && !report.windows.empty()) {
      *out << "\n";
      table("Chunks by size", print.ChunkSizes());
    }
    if (!csv) print.PrintLowerBounds(out);
  }
  if (wants(What::kFamilies)) table("Families", print.Families());
  if (wants(What::kFiles)) table("Files", print.Files());
  if (wants(What::kOptions)) csv ? print.Settings().PrintCsv(out) : print.SettingLines(out);
}

void JsonShards(const InspectReport& report, JsonWriter* json) {
  json->Key("shards").BeginArray();
  for (const ops::ShardUse& s : report.shards) {
    json->BeginObject().Key("shard").Unsigned(s.shard).Key("quarantine").String(s.condition.quarantine);
    JsonCondition(s.condition, json);
    json->Key("series").Unsigned(s.series).Key("next_ordinal").Unsigned(s.next_ordinal).Key("tombstones").Unsigned(s.tombstones);
    if (report.chunks_read) {
      json->Key("chunks").Unsigned(s.chunks).Key("chunk_bytes").Unsigned(s.chunk_bytes).Key("samples").Unsigned(s.samples);
      if (s.chunks > 0) json->Key("min_time_ms").Integer(s.min_time).Key("max_time_ms").Integer(s.max_time);
    }
    json->Key("table_bytes").Unsigned(s.table_bytes);
    if (s.floor != kMinTimestamp) json->Key("floor_ms").Integer(s.floor);
    json->Key("applied_lsn").Unsigned(s.applied_lsn()).Key("index_applied_lsn").Unsigned(s.index_applied_lsn);
    json->Key("chunk_applied_lsn").Unsigned(s.chunk_applied_lsn).Key("trimmed_to").Unsigned(s.trimmed_to);
    json->Key("epoch").Unsigned(s.epoch).Key("first_lsn").Unsigned(s.first_lsn).Key("last_lsn").Unsigned(s.last_lsn);
    json->Key("log_rows").Unsigned(s.log_rows).Key("log_records").Unsigned(s.log_records).Key("log_bytes").Unsigned(s.log_bytes);
    if (s.log_rows > 0) {
      json->Key("oldest_write_ms").Integer(s.oldest_write_ms).Key("newest_write_ms").Integer(s.newest_write_ms);
    }
    json->EndObject().Newline();
  }
  json->EndArray();
}

void JsonPins(const InspectReport& report, JsonWriter* json) {
  json->Key("pinned_bytes").Unsigned(report.PinnedBytes()).Key("pins").BeginArray();
  for (const ops::LogPin& pin : report.pins) {
    json->BeginObject().Key("shard").Unsigned(pin.shard).Key("reason").String(NameOf(pin.reason));
    json->Key("first_lsn").Unsigned(pin.first_lsn).Key("last_lsn").Unsigned(pin.last_lsn).Key("rows").Unsigned(pin.rows);
    json->Key("bytes").Unsigned(pin.bytes).Key("since_ms").Integer(pin.since_ms).Key("newest_ms").Integer(pin.newest_ms);
    json->Key("released_by").String(ReleaseOf(pin.reason)).EndObject().Newline();
  }
  json->EndArray();
}

void JsonWindows(const InspectReport& report, JsonWriter* json) {
  json->Key("windows").BeginArray();
  for (const auto& [start, w] : report.windows) {
    json->BeginObject().Key("start_ms").Integer(start).Key("shards").Unsigned(w.shard_bytes.size()).Key("bytes").Unsigned(w.bytes);
    if (report.chunks_read) json->Key("chunks").Unsigned(w.chunks).Key("samples").Unsigned(w.samples);
    json->EndObject().Newline();
  }
  json->EndArray();
  if (!report.chunks_read) return;
  json->Key("chunk_sizes").BeginArray();
  for (std::size_t i = 0; i < ops::kChunkClasses; ++i) {
    const ops::ChunkClass& c = report.chunk_classes[i];
    json->BeginObject().Key("bytes_up_to").Unsigned(ops::ChunkClassEnd(i)).Key("chunks").Unsigned(c.chunks);
    json->Key("bytes").Unsigned(c.bytes).Key("samples").Unsigned(c.samples).EndObject();
  }
  json->EndArray();
}

void JsonEngine(const EngineStats& engine, JsonWriter* json) {
  json->BeginObject().Key("log_files").Unsigned(engine.log_files).Key("log_bytes").Unsigned(engine.log_bytes);
  json->Key("families").BeginArray();
  for (const FamilyStats& f : engine.families) {
    json->BeginObject().Key("name").String(f.name).Key("files").Unsigned(f.file_count).Key("file_bytes").Unsigned(f.file_bytes);
    json->Key("buffered_bytes").Unsigned(f.buffered_bytes).Key("damage").String(f.damage).EndObject();
  }
  json->EndArray().EndObject().Newline();
}

void PrintJson(const OfflineStore& store, const InspectReport& report, What what, Output* out) {
  const auto wants = [&](What one) { return what == one || what == What::kAll; };
  JsonWriter json(out);
  json.BeginObject();
  JsonStore(store, &json);
  json.Key("now_ms").Integer(report.now_ms);
  if (wants(What::kSummary)) JsonShards(report, &json);
  if (wants(What::kSummary) || wants(What::kPins)) JsonPins(report, &json);
  if (wants(What::kWindows)) JsonWindows(report, &json);
  if (wants(What::kSummary) || wants(What::kFamilies)) {
    json.Key("log");
    JsonEngine(report.log, &json);
    json.Key("data");
    JsonEngine(report.data, &json);
  }
  if (wants(What::kFiles)) {
    json.Key("files").BeginArray();
    for (const ops::InstanceFile& f : report.files) {
      json.BeginObject().Key("instance").String(f.instance).Key("name").String(f.name).Key("kind").String(f.kind);
      json.Key("bytes").Unsigned(f.bytes).Key("modified_ms").Integer(f.modified_ms).EndObject().Newline();
    }
    json.EndArray();
  }
  if (wants(What::kOptions)) {
    json.Key("options").BeginArray();
    for (const ops::EngineSetting& s : report.settings) {
      json.BeginObject().Key("instance").String(s.instance).Key("families").String(s.families).Key("name").String(s.name);
      json.Key("value").String(s.value).EndObject().Newline();
    }
    json.EndArray();
  }
  JsonNotVerified(UnverifiedOf(report), &json);
  json.Key("complete").Bool(report.complete()).Key("problems").BeginArray();
  for (const std::string& problem : report.Problems()) json.String(problem);
  json.EndArray().EndObject().Newline();
}

// Everything, cardinality too, as one page.
int WritePage(const OfflineStore& store, const InspectFlags& flags) {
  if (Status s = ops::CheckFileTarget(flags.html, flags.overwrite); !s.ok()) return FailOrUsage(s);
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.memory_limit_bytes = flags.memory_limit;
  Result<InspectReport> report = Cancelled("interrupted");
  Result<ops::CardinalityReport> cardinality = Cancelled("interrupted");
  {
    WorkProgress progress;
    context.progress = &progress;
    report = ops::Inspect(store, {.chunks = !flags.fast}, context);
    if (report.ok()) cardinality = ops::CountCardinality(store, {.top = 12, .chunks = !flags.fast}, context);
  }
  const std::string unwritten = flags.html + " was not written";
  if (!report.ok()) return FailOrInterrupted(report.status(), unwritten);
  if (!cardinality.ok()) return FailOrInterrupted(cardinality.status(), unwritten);
  const std::string page = InspectPage(store, *report, *cardinality);
  if (Status s = ops::WriteFileTarget(flags.html, flags.overwrite, page); !s.ok()) return Fail(s);
  std::fprintf(stderr, "wrote %s, %s\n", flags.html.c_str(), HumanBytes(page.size()).c_str());
  return ReportProblems(ProblemsOf(*report, *cardinality), store, flags.files);
}

Status CheckKeyFlags(const InspectFlags& flags) {
  if (flags.what != What::kKeys) {
    return flags.of_keys ? InvalidArgument("--family, --shard and --limit are of --what keys") : Status::Ok();
  }
  if (!flags.html.empty()) return InvalidArgument("the page of --html has no keys: take --format json");
  if (flags.fast) return InvalidArgument("--what keys reads all rows that it counts: choose with --family or --shard, not --fast");
  return Status::Ok();
}

int RunInspect(const InspectFlags& flags) {
  const What what = flags.what;
  if (Status s = CheckKeyFlags(flags); !s.ok()) return FailUsage(s);
  if (what == What::kAll && flags.format == Format::kCsv) {
    return FailUsage(
        InvalidArgument("one table of comma-separated values cannot hold --what all: name one part, or take --format json"));
  }
  const bool page = !flags.html.empty();  // with the cardinality, which is nothing without the data
  auto store = OpenFiles(flags.files, flags.memory_limit, {.log_may_fail = true, .data_may_fail = !page});
  if (!store.ok()) return FailOpening(store.status(), flags.files);
  if (page) return WritePage(**store, flags);
  if (what == What::kKeys) return InspectKeys(**store, flags.keys, flags.format, flags.files);
  const auto wants = [&](What one) { return what == one || what == What::kAll; };
  ops::InspectOptions options;
  options.chunks = !flags.fast && (wants(What::kSummary) || wants(What::kWindows));
  options.files = wants(What::kFiles);
  options.settings = wants(What::kOptions);
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  Result<InspectReport> report = Cancelled("interrupted");
  {
    WorkProgress progress;
    context.progress = &progress;
    report = ops::Inspect(**store, options, context);
  }
  if (!report.ok()) return FailOrInterrupted(report.status(), "nothing was read to the end");
  const auto json = [&](Output* out) { PrintJson(**store, *report, what, out); };
  const auto text = [&](bool csv, Output* out) { PrintTables(**store, *report, what, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  return ReportProblems(report->Problems(), **store, flags.files);
}

}  // namespace

void AddInspect(CLI::App* app, Run* run) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command =
      app->add_subcommand("inspect", "Show what a store's files hold: shards, windows, files, and who keeps the log");
  AddFilesFlags(command, &flags->files);
  static const std::map<std::string, What> kWhat = {
      {"summary", What::kSummary}, {"families", What::kFamilies}, {"options", What::kOptions}, {"files", What::kFiles},
      {"pins", What::kPins},       {"windows", What::kWindows},   {"keys", What::kKeys},       {"all", What::kAll}};
  command
      ->add_option("--what", flags->what, "summary (default), pins, windows, families, files, options, keys or all (but the keys)")
      ->transform(CLI::CheckedTransformer(kWhat, CLI::ignore_case).description(""))
      ->option_text("PART");
  command->add_flag("--fast", flags->fast, "do not read the chunks: no chunks and samples, and windows with estimated bytes");
  command->add_option("--html", flags->html, "write all of it, and the cardinality, as one page to this file")->option_text("FILE");
  command->add_flag("--overwrite", flags->overwrite, "replace FILE where it exists");
  CLI::Option* const of_keys[] = {
      command->add_option("--family", flags->keys.families, "keys of this column family only; may be given several times")
          ->option_text("NAME"),
      command->add_option("--shard", flags->keys.shards, "keys of this shard only; may be given several times")->option_text("N"),
      command->add_option("--limit", flags->keys.limit, "print at most N keys a family (default 20); 0: all. All are counted")
          ->option_text("N")};
  AddMemoryLimit(command, &flags->memory_limit);
  AddFormat(command, &flags->format);
  command->footer(
      "Reads the files only, also beside a process that writes; it then shows the store as of the last checkpoint, and the log.\n"
      "Exit codes: 0 ok, 1 failure, 2 wrong arguments, 3 a shard or an instance is damaged or could not be read.\n"
      "Examples:\n"
      "  chronolith inspect metrics.db\n"
      "  chronolith inspect metrics.db --what pins\n"
      "  chronolith inspect metrics.db --what keys --family chunk.3 --limit 100\n"
      "  chronolith inspect metrics.db --what all --format json\n"
      "  chronolith inspect metrics.db --html metrics.html");
  for (CLI::Option* option : of_keys) option->each([flags](const std::string&) { flags->of_keys = true; });
  command->callback([flags, run] { *run = [flags] { return RunInspect(*flags); }; });
}

}  // namespace chronolith::cli

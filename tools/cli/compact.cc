// chronolith compact: merges chunks, applies deletes and retention, drops series without data, gives the space back.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "interop/time_text.h"
#include "ops/context.h"
#include "ops/writing_store.h"
#include "tools/cli/common.h"
#include "tools/cli/confirm.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

constexpr std::int64_t kRetentionMsMax = 100LL * 365 * 24 * 60 * 60 * 1000;
struct CompactFlags {
  StoreFlags store;
  CompactOptions options;
  std::string retention;  // "": as the log has it
  bool yes = false;
  bool low_priority = true;
  ProgressMode progress = ProgressMode::kAuto;
  Format format = Format::kTable;
};

// Of this thread, and of those that it starts. What the system refuses costs nothing but speed of others.
void LowerPriority() {
  constexpr int kNice = 10;
  constexpr long kIoOfThisThread = 1;         // IOPRIO_WHO_PROCESS
  constexpr long kIoLowest = (2L << 13) | 7;  // IOPRIO_CLASS_BE, the last of its levels; the idle class may never get its turn
  (void)setpriority(PRIO_PROCESS, 0, kNice);
  (void)syscall(SYS_ioprio_set, kIoOfThisThread, 0L, kIoLowest);
}

std::string Saved(std::uint64_t before, std::uint64_t after, bool exact) {
  const std::string sign = after > before ? "-" : "";
  const std::uint64_t bytes = after > before ? after - before : before - after;
  return sign + (exact ? std::to_string(bytes) : HumanBytes(bytes));
}

// What a dry run finds in the log only, by shard: compact itself stores it first. Of a compact that was done there is none.
using InLog = std::map<std::uint32_t, std::uint64_t>;

InLog SamplesInLog(const StorageStats& stats, const CompactResult& result) {
  InLog in_log;
  for (const ShardCompactResult& shard : result.shards) in_log[shard.shard] = stats.shards[shard.shard].samples_appended;
  return in_log;
}

std::uint64_t Sum(const InLog& in_log) {
  std::uint64_t sum = 0;
  for (const auto& [shard, samples] : in_log) sum += samples;
  return sum;
}

void JsonFigures(const CompactFigures& f, std::optional<std::uint64_t> in_log, JsonWriter* json) {
  json->Key("disk_bytes_before").Unsigned(f.disk_bytes_before);
  if (!in_log) json->Key("disk_bytes_after").Unsigned(f.disk_bytes_after);
  if (in_log) json->Key("samples_in_log").Unsigned(*in_log);
  json->Key("row_bytes_before").Unsigned(f.bytes_before).Key("row_bytes_after").Unsigned(f.bytes_after);
  json->Key("row_bytes_written").Unsigned(f.bytes_written);
  json->Key("chunks_before").Unsigned(f.rows_before).Key("chunks_after").Unsigned(f.rows_after);
  json->Key("windows").Unsigned(f.windows);
  json->Key("samples_deleted").Unsigned(f.samples_deleted).Key("series_removed").Unsigned(f.series_removed);
}

bool Undamaged(const CompactResult& result) {
  return std::all_of(result.shards.begin(), result.shards.end(), [](const ShardCompactResult& s) { return s.damage.ok(); });
}

// Of an interrupted one no shard has come to its end: the files of the indexes come last, and of a dry run nothing tells how far it
// was.
std::string StateOf(const CompactResult& result, bool undamaged) {
  return !undamaged ? "damaged" : result.complete ? "ok" : "interrupted";
}
std::string StateOf(const CompactResult& result, const ShardCompactResult& shard) { return StateOf(result, shard.damage.ok()); }

void PrintJson(const CompactResult& result, const std::optional<InLog>& in_log, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("dry_run").Bool(in_log.has_value()).Key("complete").Bool(result.complete).Key("shards").BeginArray();
  for (const ShardCompactResult& shard : result.shards) {
    json.BeginObject().Key("shard").Unsigned(shard.shard);
    JsonFigures(shard, in_log ? std::optional(in_log->at(shard.shard)) : std::nullopt, &json);
    json.Key("state").String(StateOf(result, shard)).Key("complete").Bool(result.complete && shard.damage.ok());
    json.Key("damage").String(shard.damage.message()).EndObject();
  }
  json.EndArray().Key("total").BeginObject();
  JsonFigures(result, in_log ? std::optional(Sum(*in_log)) : std::nullopt, &json);
  json.Key("state").String(StateOf(result, Undamaged(result))).Key("complete").Bool(result.complete && Undamaged(result));
  json.EndObject().EndObject().Newline();
}

// What is on the disk afterwards is known when it is done; before that, what becomes of the chunks.
std::vector<std::string> Row(const std::string& name, const std::string& state, const CompactFigures& f,
                             std::optional<std::uint64_t> in_log, bool csv) {
  const bool dry_run = in_log.has_value();
  const std::uint64_t before = dry_run ? f.bytes_before : f.disk_bytes_before;
  const std::uint64_t after = dry_run ? f.bytes_after : f.disk_bytes_after;
  std::vector<std::string> row = {name,
                                  csv ? std::to_string(before) : HumanBytes(before),
                                  csv ? std::to_string(after) : HumanBytes(after),
                                  Saved(before, after, csv),
                                  std::to_string(f.rows_before),
                                  std::to_string(f.rows_after),
                                  std::to_string(f.samples_deleted),
                                  std::to_string(f.series_removed)};
  if (in_log) row.push_back(std::to_string(*in_log));
  row.push_back(state);
  return row;
}

void PrintTable(const CompactResult& result, const std::optional<InLog>& in_log, bool csv, Output* out) {
  const bool dry_run = in_log.has_value();
  const std::string bytes = dry_run ? "row bytes " : "disk bytes ";
  std::vector<std::string> names = {"shard",         bytes + "before", bytes + "after",   "saved",
                                    "chunks before", "chunks after",   "samples deleted", "series removed"};
  if (dry_run) names.emplace_back("samples in log");
  names.emplace_back("state");
  Table table(std::move(names));
  for (const ShardCompactResult& shard : result.shards) {
    const auto of_shard = in_log ? std::optional(in_log->at(shard.shard)) : std::nullopt;
    table.Add(Row(std::to_string(shard.shard), StateOf(result, shard), shard, of_shard, csv));
  }
  const auto of_all = in_log ? std::optional(Sum(*in_log)) : std::nullopt;
  if (!csv) table.Add(Row("total", StateOf(result, Undamaged(result)), result, of_all, csv));
  table.Print(csv, out);
  if (csv) return;
  *out << (dry_run ? "Row bytes: chunks with their keys, before compression. `inspect` shows what the tables take on the disk.\n"
                   : "Disk bytes: the tables of chunks and index, as `inspect` shows them.\n");
  if (Undamaged(result)) return;
  *out << "Figures of damaged shards end where the damage begins, and so do the totals.\n";
}

Result<CompactResult> CompactShowingProgress(Storage* storage, CompactOptions options, ProgressMode mode) {
  WorkProgress progress(mode != ProgressMode::kAuto);
  bool begun = false;
  std::uint64_t shown = 0;
  options.progress = [&](const CompactProgress& now) {
    if (mode == ProgressMode::kPlain) {
      std::fprintf(stderr, "done %llu of %llu\n", static_cast<unsigned long long>(now.windows_done),
                   static_cast<unsigned long long>(now.windows_total));
    }
    if (!begun) progress.Begin(options.dry_run ? "looking" : "compacting", now.windows_total, "windows");
    begun = true;
    progress.Add(now.windows_done - std::exchange(shown, now.windows_done));
  };
  return storage->Compact(options);
}

// A dry run only reads.
Result<ReadStore> OpenToCompact(const StoreFlags& flags, const Options& options) {
  if (options.read_only) return OpenForReading(flags, options);
  Result<std::unique_ptr<Storage>> storage = OpenShowingReplay(options, flags.db);
  if (!storage.ok()) return storage.status();
  ReadStore opened;
  opened.storage = std::move(*storage);
  return opened;
}

int Compact(const CompactFlags& flags) {
  const std::int64_t retention_ms = flags.retention.empty() ? 0 : *interop::ParseDuration(flags.retention);
  if (retention_ms > 0 && !flags.options.dry_run) {
    const std::string question = "Delete for good what in " + flags.store.db + " is older than " + flags.retention +
                                 " before its newest sample, and refuse what is that old from then on?";
    if (const std::optional<int> refused = Refused(question, flags.yes)) return *refused;
  }
  if (flags.low_priority) LowerPriority();
  const bool dry_run = flags.options.dry_run;
  const Result<Options> made = dry_run ? Result<Options>(MakeOptions(flags.store)) : MakeWriterOptions(flags.store);
  if (!made.ok()) return Fail(made.status());
  Options options = *made;
  options.create_if_missing = false;
  options.read_only = dry_run;
  options.background_compaction = false;  // this is what it is here for
  options.scrub_interval_ms = 0;
  options.retention_ms = retention_ms;
  // A million series that leave the index fill its buffers beyond what a store counts.
  options.memory_limit_bytes = ops::StoreMemoryBytes(flags.store.memory_limit - 3 * (flags.store.memory_limit / 16));
  CompactOptions compact = flags.options;
  compact.skip_damaged = true;
  compact.cancelled = InterruptFlag();
  const Result<ReadStore> opened = OpenToCompact(flags.store, options);
  if (!opened.ok()) return Fail(ops::OfFullDisk(opened.status(), flags.store.db));
  Storage* const store = opened->storage.get();
  ops::HeedCancel(InterruptFlag(), store);
  Result<CompactResult> result = CompactShowingProgress(store, std::move(compact), flags.progress);
  if (result.ok()) {
    for (ShardCompactResult& shard : result->shards) shard.damage = opened->OfSource(shard.damage);
  }
  std::optional<InLog> in_log;
  if (dry_run && result.ok()) in_log = SamplesInLog(store->Stats(), *result);
  const bool ended_early = result.ok() && !result->complete;  // what the archive lacks stays in the log for the next
  const Status archived = dry_run || ended_early ? Status::Ok() : ArchiveAll(flags.store, store);
  const Status closed = store->Close();
  if (!result.ok()) {
    return FailOrUsage(opened->OfSource(ops::OfFullDisk(result.status(), flags.store.db)),
                       "what was done is done; the same command goes on with the rest");
  }

  const auto json = [&](Output* out) { PrintJson(*result, in_log, out); };
  const auto text = [&](bool csv, Output* out) { PrintTable(*result, in_log, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  if (!closed.ok()) return Fail(closed);
  if (!archived.ok()) return Fail(archived);
  if (const std::uint64_t unstored = in_log ? Sum(*in_log) : 0; unstored > 0) {
    std::fprintf(stderr,
                 "%llu samples are only in the log so far, and not in these figures: compact stores them first, and merges them "
                 "with\nthe rest. `chronolith recover` stores them alone; a dry run behind it counts them.\n",
                 static_cast<unsigned long long>(unstored));
  }
  bool damage = false;
  for (const ShardCompactResult& shard : result->shards) {
    if (shard.damage.ok()) continue;
    PrintError(shard.damage.message());
    damage = true;
  }
  if (!result->complete) {
    PrintError(dry_run ? "interrupted: the figures are of what was looked at"
                       : "interrupted: the figures are of what was done; the same command goes on with the rest");
    return kExitFailure;
  }
  return damage ? kExitProblems : kExitOk;
}

}  // namespace

void AddCompact(CLI::App* app, Run* run) {
  static const std::map<std::string, bool> kLowPriority = {{"low", true}, {"normal", false}};
  auto flags = std::make_shared<CompactFlags>();
  CLI::App* command =
      app->add_subcommand("compact", "Merge chunks, apply deletes and retention, drop series without data, give the space back");
  AddStoreFlags(command, &flags->store, true);
  command->add_flag("--dry-run", flags->options.dry_run, "change nothing, say what would be done and saved; works beside a writer");
  command
      ->add_option("--retention", flags->retention,
                   "raise the retention floor of all shards, for good, to so much before the newest sample (or now, where that is "
                   "earlier), such as 30d; asks before")
      ->check(CLI::Validator(
          [](std::string& text) {
            const auto ms = interop::ParseDuration(text);
            if (!ms.ok()) return ms.status().message();
            return *ms > 0 && *ms <= kRetentionMsMax ? std::string()
                                                     : "must be more than 0 and at most a hundred years, not " + text;
          },
          "", ""))
      ->option_text("DURATION");
  AddYes(command, &flags->yes);
  command->add_option("--shard", flags->options.shards, "only this shard; may be given several times")->option_text("N");
  command
      ->add_option("--io-limit", flags->options.bytes_per_second,
                   "read and write at most so much a second on average, such as 50MiB (no bound)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
  command->add_option("--priority", flags->low_priority, "of CPU and disk: low (default) or normal")
      ->transform(CLI::CheckedTransformer(kLowPriority, CLI::ignore_case).description(""))
      ->option_text("PRIORITY");
  static const std::map<std::string, ProgressMode> kModes = {
      {"auto", ProgressMode::kAuto}, {"plain", ProgressMode::kPlain}, {"none", ProgressMode::kNone}};
  command
      ->add_option("--progress", flags->progress,
                   "auto (default: a bar on a terminal, else a line each 10 s), plain (\"done N of M\" lines on stderr), none")
      ->transform(CLI::CheckedTransformer(kModes, CLI::ignore_case).description(""))
      ->option_text("MODE");
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddArchiveFlag(command, &flags->store);
  AddFormat(command, &flags->format);
  command->footer(
      "Needs the database for itself, but for --dry-run: a process that writes to it compacts by itself what pays. Readers may go "
      "on.\n"
      "It may be interrupted, or killed, at any moment; the same command goes on with the rest.\n"
      "Exit codes: 0 ok, 1 failure, interrupted, or another process writes to the database, 2 wrong arguments, 3 done, but for "
      "damaged\n"
      "shards.\n"
      "Examples:\n"
      "  chronolith compact metrics.db --dry-run\n"
      "  chronolith compact metrics.db --io-limit 50MiB\n"
      "  chronolith compact metrics.db --retention 90d --dry-run\n"
      "  chronolith compact --db metrics.db --shard 3 --shard 7 --priority normal --format json");
  command->callback([flags, run] { *run = [flags] { return Compact(*flags); }; });
}

}  // namespace chronolith::cli

// chronolith recover: replays the log of a database, stores what it holds and says what is missing.
#include <cstdio>
#include <string>

#include "ops/recovered_copy.h"
#include "ops/rehearsal.h"
#include "ops/writing_store.h"
#include "tools/cli/common.h"
#include "tools/cli/confirm.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct RecoverFlags {
  StoreFlags store;
  bool accept_data_loss = false;
  bool yes = false;
  bool dry_run = false;
  Format format = Format::kTable;
};

ShardLoss LossOf(const StorageStats& stats, std::uint32_t shard) {
  for (const ShardLoss& loss : stats.losses) {
    if (loss.shard == shard) return loss;
  }
  return {};
}

bool Lost(const ShardLoss& loss) {
  return !loss.lost.empty() || loss.uncertain_from > 0 || loss.dropped_samples + loss.dropped_items > 0;
}

std::string LostText(const ShardLoss& loss) {
  std::string text;
  for (const ShardLoss::Range& range : loss.lost) {
    text += (text.empty() ? "LSN " : ", ") + std::to_string(range.first);
    if (range.last != range.first) text += " to " + std::to_string(range.last);
  }
  if (loss.uncertain_from > 0)
    text += (text.empty() ? "LSN " : ", ") + std::string("perhaps from ") + std::to_string(loss.uncertain_from) + " on";
  return text.empty() ? "-" : text;
}

// What a recovery did, or would do.
struct Outcome {
  StorageStats stats;
  std::optional<std::vector<std::string>> rewrites;  // of a dry run: files of the log
  Status archived;
};

void PrintJson(const Outcome& outcome, Output* out) {
  const StorageStats& stats = outcome.stats;
  JsonWriter json(out);
  json.BeginObject();
  if (outcome.rewrites) {
    json.Key("dry_run").Bool(true).Key("would_rewrite").BeginArray();
    for (const std::string& file : *outcome.rewrites) json.String(file);
    json.EndArray();
  }
  json.Key("replay_seconds").Double(stats.replay_seconds).Key("shards").BeginArray();
  for (const ShardStats& shard : stats.shards) {
    const ShardLoss loss = LossOf(stats, shard.shard);
    json.BeginObject().Key("shard").Unsigned(shard.shard).Key("replayed_records").Unsigned(shard.replayed_records);
    json.Key("replayed_bytes").Unsigned(shard.replayed_bytes).Key("quarantine").String(shard.quarantine);
    json.Key("lost").BeginArray();
    for (const ShardLoss::Range& range : loss.lost) {
      json.BeginObject().Key("first").Unsigned(range.first).Key("last").Unsigned(range.last).EndObject();
    }
    json.EndArray().Key("uncertain_from").Unsigned(loss.uncertain_from);
    json.Key("dropped_samples").Unsigned(loss.dropped_samples).Key("dropped_items").Unsigned(loss.dropped_items).EndObject();
  }
  json.EndArray().EndObject().Newline();
}

void PrintTable(const Outcome& outcome, bool csv, Output* out) {
  const StorageStats& stats = outcome.stats;
  Table table({"shard", "state", "replayed records", "replayed bytes", "dropped samples", "dropped items", "lost"});
  for (const ShardStats& shard : stats.shards) {
    const ShardLoss loss = LossOf(stats, shard.shard);
    table.Add({std::to_string(shard.shard), shard.quarantine.empty() ? "ok" : "quarantined", std::to_string(shard.replayed_records),
               csv ? std::to_string(shard.replayed_bytes) : HumanBytes(shard.replayed_bytes), std::to_string(loss.dropped_samples),
               std::to_string(loss.dropped_items), LostText(loss)});
  }
  table.Print(csv, out);
  if (csv || !outcome.rewrites) return;
  for (const std::string& file : *outcome.rewrites) *out << "would be rewritten without what is damaged: " << file << "\n";
  *out << "Nothing was changed: this is what the same command without --dry-run would do.\n";
}

Result<Outcome> RecoverStore(Options options, const StoreFlags& store) {
  ReplayBar bar;
  options.on_replay = bar.Callback();
  Result<std::unique_ptr<Storage>> opened = Storage::Open(options, store.db);
  if (!opened.ok()) return opened.status();
  if (Status status = (*opened)->Checkpoint(); !status.ok()) return status;
  Outcome outcome{.archived = ArchiveAll(store, opened->get())};
  outcome.stats = (*opened)->Stats();
  if (Status status = (*opened)->Close(); !status.ok()) return status;
  return outcome;
}

// May be cut off anywhere, as by a crash.
Result<Outcome> RecoverNow(const Options& options, const StoreFlags& store) {
  const EndsAtOnce interruptible("interrupted; what was not stored yet is still in the log of " + store.db +
                                 ", and the same command goes on");
  return RecoverStore(options, store);
}

Result<Outcome> Rehearse(Options options, StoreFlags store) {
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  const auto rehearsal = ops::Rehearsal::Prepare(store.db, options.log_path, context);
  if (!rehearsal.ok()) return rehearsal.status();
  options.log_path = (*rehearsal)->log_path();
  options.logger = (*rehearsal)->LoggerOfSource(options.logger, "dry run, on a copy: ");
  store.db = (*rehearsal)->path();
  store.archive.clear();
  Result<Outcome> outcome = [&] {
    const EndsAtOnce interruptible("interrupted; nothing was changed", [&rehearsal] { (*rehearsal)->Remove(); });
    return RecoverStore(options, store);
  }();
  if (!outcome.ok()) return Status(outcome.status().code(), (*rehearsal)->OfSource(outcome.status().message()));
  for (ShardStats& shard : outcome->stats.shards) shard.quarantine = (*rehearsal)->OfSource(shard.quarantine);
  Result<std::vector<std::string>> files = (*rehearsal)->RewrittenFiles();
  if (!files.ok()) return files.status();
  outcome->rewrites = std::move(*files);
  return outcome;
}

int Recover(const RecoverFlags& flags) {
  if (flags.accept_data_loss && !flags.dry_run) {
    const std::string question = "Give up for good what the log of " + flags.store.db + " has lost?";
    if (const std::optional<int> refused = Refused(question, flags.yes)) return *refused;
  }
  Result<Options> options = flags.dry_run ? MakeOptions(flags.store) : MakeWriterOptions(flags.store);
  if (!options.ok()) return Fail(options.status());
  options->create_if_missing = false;
  ops::FitRecovery(flags.store.memory_limit, &*options);
  options->accept_data_loss = flags.accept_data_loss;
  const Result<Outcome> outcome = flags.dry_run ? Rehearse(*options, flags.store) : RecoverNow(*options, flags.store);
  if (!outcome.ok()) {
    if (flags.dry_run) return FailOrInterrupted(outcome.status(), "nothing was changed");
    return FailOrInterrupted(ops::OfFullDisk(outcome.status(), flags.store.db),
                             flags.accept_data_loss ? "the same command goes on" : "nothing is lost, and the same command goes on");
  }

  const auto json = [&](Output* out) { PrintJson(*outcome, out); };
  const auto text = [&](bool csv, Output* out) { PrintTable(*outcome, csv, out); };
  if (!PrintReport(flags.format, json, text)) return kExitFailure;
  const StorageStats& stats = outcome->stats;
  bool problems = false;
  for (const ShardStats& shard : stats.shards) problems = problems || !shard.quarantine.empty() || Lost(LossOf(stats, shard.shard));
  const int archived = outcome->archived.ok() ? kExitOk : Fail(outcome->archived);
  return problems ? kExitProblems : archived;
}

}  // namespace

void AddRecover(CLI::App* app, Run* run) {
  auto flags = std::make_shared<RecoverFlags>();
  CLI::App* command = app->add_subcommand("recover", "Replay the log, store what it holds, and say what is damaged or lost");
  AddStoreFlags(command, &flags->store, true);
  command->add_flag("--accept-data-loss", flags->accept_data_loss,
                    "give up, for good, what the log has lost; without it nothing of a damaged log is changed");
  command->add_flag("--dry-run", flags->dry_run, "say what it would store and give up, and change nothing");
  AddYes(command, &flags->yes);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddArchiveFlag(command, &flags->store);
  AddFormat(command, &flags->format);
  command->footer(
      "Exit codes: 0 all is well, 1 the store does not open or the archive has not taken all, 2 wrong arguments, 3 shards are\n"
      "quarantined or data was given up, whatever the archive has taken.\n"
      "A dry run recovers a copy among temporary files (TMPDIR), with links to the tables: it takes the room of the log, and as "
      "much\n"
      "again for what is stored of it, and begins only where there is as much. Its exit code is that of the recovery; --archive is "
      "left alone.\n"
      "Make a copy of the directory before you accept a loss: a better disk or a snapshot may still have the rest.\n"
      "Examples:\n"
      "  chronolith recover metrics.db\n"
      "  chronolith recover metrics.db --accept-data-loss --dry-run\n"
      "  chronolith recover metrics.db --accept-data-loss --yes --format json");
  command->callback([flags, run] { *run = [flags] { return Recover(*flags); }; });
}

}  // namespace chronolith::cli

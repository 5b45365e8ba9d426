// chronolith recover: replays the log of a database, stores what it holds and says what is missing.
#include <cstdio>
#include <string>

#include "tools/cli/common.h"
#include "tools/cli/confirm.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct RecoverFlags {
  StoreFlags store;
  bool accept_data_loss = false;
  bool yes = false;
  Format format = Format::kTable;
};

ShardLoss LossOf(const StorageStats& stats, std::uint32_t shard) {
  for (const ShardLoss& loss : stats.losses) {
    if (loss.shard == shard) return loss;
  }
  return {};
}

bool Lost(const ShardLoss& loss) {
  return !loss.lost.empty() || loss.uncertain_after > 0 || loss.dropped_samples + loss.dropped_items > 0;
}

std::string LostText(const ShardLoss& loss) {
  std::string text;
  for (const ShardLoss::Range& range : loss.lost) {
    text += (text.empty() ? "LSN " : ", ") + std::to_string(range.first);
    if (range.last != range.first) text += " to " + std::to_string(range.last);
  }
  if (loss.uncertain_after > 0)
    text += (text.empty() ? "LSN " : ", ") + std::string("perhaps above ") + std::to_string(loss.uncertain_after);
  return text.empty() ? "-" : text;
}

void PrintJson(const StorageStats& stats, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("replay_seconds").Double(stats.replay_seconds).Key("shards").BeginArray();
  for (const ShardStats& shard : stats.shards) {
    const ShardLoss loss = LossOf(stats, shard.shard);
    json.BeginObject().Key("shard").Unsigned(shard.shard).Key("replayed_records").Unsigned(shard.replayed_records);
    json.Key("replayed_bytes").Unsigned(shard.replayed_bytes).Key("quarantine").String(shard.quarantine);
    json.Key("lost").BeginArray();
    for (const ShardLoss::Range& range : loss.lost) {
      json.BeginObject().Key("first").Unsigned(range.first).Key("last").Unsigned(range.last).EndObject();
    }
    json.EndArray().Key("uncertain_after").Unsigned(loss.uncertain_after);
    json.Key("dropped_samples").Unsigned(loss.dropped_samples).Key("dropped_items").Unsigned(loss.dropped_items).EndObject();
  }
  json.EndArray().EndObject().Newline();
}

void PrintTable(const StorageStats& stats, bool csv, Output* out) {
  Table table({"shard", "state", "replayed records", "replayed bytes", "dropped samples", "dropped items", "lost"});
  for (const ShardStats& shard : stats.shards) {
    const ShardLoss loss = LossOf(stats, shard.shard);
    table.Add({std::to_string(shard.shard), shard.quarantine.empty() ? "ok" : "quarantined", std::to_string(shard.replayed_records),
               csv ? std::to_string(shard.replayed_bytes) : HumanBytes(shard.replayed_bytes), std::to_string(loss.dropped_samples),
               std::to_string(loss.dropped_items), LostText(loss)});
  }
  csv ? table.PrintCsv(out) : table.Print(out);
}

int Recover(const RecoverFlags& flags) {
  if (flags.accept_data_loss) {
    const std::string question = "Give up for good what the log of " + flags.store.db + " has lost?";
    if (const std::optional<int> refused = Refused(question, flags.yes)) return *refused;
  }
  const Result<Options> made = MakeWriterOptions(flags.store);
  if (!made.ok()) return Fail(made.status());
  Options options = *made;
  options.create_if_missing = false;
  options.accept_data_loss = flags.accept_data_loss;
  Result<std::unique_ptr<Storage>> opened = OpenShowingReplay(options, flags.store.db);
  if (!opened.ok()) return Fail(opened.status());
  if (Status status = (*opened)->Checkpoint(); !status.ok()) return Fail(status);
  const StorageStats stats = (*opened)->Stats();
  if (Status status = (*opened)->Close(); !status.ok()) return Fail(status);

  Output out;
  if (flags.format == Format::kJson) {
    PrintJson(stats, &out);
  } else {
    PrintTable(stats, flags.format == Format::kCsv, &out);
  }
  bool problems = false;
  for (const ShardStats& shard : stats.shards) problems = problems || !shard.quarantine.empty() || Lost(LossOf(stats, shard.shard));
  if (!out.Finish()) return kExitFailure;
  return problems ? kExitProblems : kExitOk;
}

}  // namespace

void AddRecover(CLI::App* app, Run* run) {
  auto flags = std::make_shared<RecoverFlags>();
  CLI::App* command = app->add_subcommand("recover", "Replay the log, store what it holds, and say what is damaged or lost");
  AddStoreFlags(command, &flags->store, true);
  command->add_flag("--accept-data-loss", flags->accept_data_loss,
                    "give up, for good, what the log has lost; without it nothing of a damaged log is changed");
  AddYes(command, &flags->yes);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddArchiveFlag(command, &flags->store);
  AddFormat(command, &flags->format);
  command->footer(
      "Exit codes: 0 all is well, 1 the store does not open, 2 wrong arguments, 3 shards are quarantined or data was given up.\n"
      "Make a copy of the directory before you accept a loss: a better disk or a snapshot may still have the rest.\n"
      "Examples:\n"
      "  chronolith recover metrics.db\n"
      "  chronolith recover metrics.db --accept-data-loss --yes --format json");
  command->callback([flags, run] { *run = [flags] { return Recover(*flags); }; });
}

}  // namespace chronolith::cli

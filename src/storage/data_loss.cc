// What Options::accept_data_loss gives up, and how an open that gives something up comes to its end.
//
//   1. A damaged log file is rewritten without the damaged bytes (the engine's CheckLog, where WalJudge gives them up). The logs of
//      shards that have nothing behind the damage may have lost their end, which nothing will show afterwards: before, their
//      numbers are written to the file UNFINISHED.
//      A table of the log that cannot be read is taken out of it (Core::GiveUpLogTables). It is of one shard, whose end may be
//      lost: before, UNFINISHED says whose it is.
//   2. Replay passes over holes and rows that do not decode (ReplayVisitor::OnLoss). What fills the memory meanwhile is stored, and
//      claims to cover the holes: before, and before 3, UNFINISHED says up to where what is stored is whole.
//      What a checkpoint that a crash cut short had stored of lost records is taken for replayed (AdoptStored): the rows of such a
//      series would never agree, and its ordinal would be given to another.
//   3. A checkpoint stores what is left and trims the log beyond the holes; then UNFINISHED goes.
// Whenever this is cut short, the next open meets the holes again, or UNFINISHED, and refuses the shards as before.
#include <algorithm>
#include <map>
#include <utility>

#include "storage/core.h"
#include "storage/log_judge.h"

namespace chronolith {
namespace {

// Lost records may have had LSNs and ordinals that nothing else names: none of them is to be given out again.
constexpr Lsn kLsnsSkipped = 1ULL << 32;             // where it is not known how many records were lost
constexpr std::uint64_t kOrdinalsSkipped = 1 << 16;  // each costs 64 bytes of memory
constexpr std::uint64_t kOrdinalsMax = 1ULL << 32;

std::string Lsns(const ShardLoss::Range& range) {
  return "LSN " + std::to_string(range.first) + (range.first == range.last ? "" : " to " + std::to_string(range.last));
}

}  // namespace

Status Core::LoadUnfinished() {
  Result<Unfinished> unfinished = ReadUnfinished(path_, manifest_.shards);
  if (unfinished.ok()) unfinished_ = std::move(*unfinished);
  return unfinished.status();
}

Status Core::GiveUpLogTables(const std::string& path, const EngineOptions& log) {
  Result<std::shared_ptr<EngineFactory>> factory = options_.engines->Find(options_.engine);
  if (!factory.ok()) return factory.status();
  EngineOptions options = log;
  options.create_if_missing = false;
  options.read_only = true;
  options.background_threads = 1;
  options.logger = options_.logger;
  options.quarantine = true;
  options.extra["log_rows"] = "left_out";
  std::vector<BadLogTable> bad;
  {
    const Result<std::unique_ptr<KvEngine>> seen = (*factory)->Open(path, options);
    if (!seen.ok()) return Status::Ok();  // an open says what is wrong
    bad = BadLogTables(seen->get(), manifest_.shards);
  }
  if (bad.empty()) return Status::Ok();
  if (Status status = NoteLostTables(path, bad); !status.ok()) return status;
  options.quarantine = false;
  options.extra["drop_damaged_tables"] = NamesOf(bad);
  const Status dropped = (*factory)->Open(path, options).status();
  return dropped.code() == StatusCode::kDataLoss ? Status::Ok() : dropped;  // what is damaged beside them the next open tells
}

Status Core::NoteLostTables(const std::string& path, const std::vector<BadLogTable>& bad) {
  for (const BadLogTable& table : bad) {
    if (!table.unreadable) continue;
    return IoError("'" + path + "/" + table.file +
                   "' cannot be read, by an error of the device or the system that may pass: no table was given up");
  }
  for (const BadLogTable& table : bad) {
    Log(LogLevel::kError, "given up: " + path + "/" + table.file + ", a table of the log that cannot be read");
    if (!table.shard) continue;
    const ShardId shard = *table.shard;
    const Result<StoredState> stored =
        ReadStoredState(data_engine_.get(), {shard, WalFamily(shard), IndexFamily(shard), ChunkFamily(shard)});
    if (!stored.ok()) return stored.status();
    // A row that begins in what is stored and ends behind it needs no mark: the data instance then goes further than what is left
    // of the log, as only whole rows are trimmed, and RecoverShard takes the end for unknown.
    if (stored->damaged || table.last > stored->least()) unfinished_.ends.insert(shard);
    unfinished_.tables.insert(shard);
  }
  return WriteUnfinished(path_, unfinished_);
}

Status Core::NoteStoredWhole(const std::map<ShardId, Lsn>& stored_whole) {
  MutexLock lock(&unfinished_mu_);
  Unfinished noted = unfinished_;
  noted.stored_whole.insert(stored_whole.begin(), stored_whole.end());
  if (noted.stored_whole.size() == unfinished_.stored_whole.size()) return Status::Ok();
  if (Status status = WriteUnfinished(path_, noted); !status.ok()) return status;
  unfinished_.stored_whole = std::move(noted.stored_whole);
  return Status::Ok();
}

std::optional<Lsn> Core::NotedWhole(ShardId shard) {
  MutexLock lock(&unfinished_mu_);
  const auto it = unfinished_.stored_whole.find(shard);
  return it == unfinished_.stored_whole.end() ? std::nullopt : std::optional(it->second);
}

Status Core::AdoptStored(Shard* shard, const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn,
                         std::uint64_t* next_ordinal, bool* any) {
  const Result<AdoptedSeries> adopted = shard->index->AdoptStored(whole, replayed, lsn);
  if (!adopted.ok()) return adopted.status();
  *any = adopted->inserted > 0 || !adopted->removed.empty();
  *next_ordinal = std::max(*next_ordinal, adopted->next_ordinal);
  const Result<OrdinalSet> live = shard->index->Select({});
  if (!live.ok()) return live.status();
  SetSeries(shard, live->size());
  if (adopted->removed.empty()) return Status::Ok();
  MutexLock lock(&shard->removed_mu);
  shard->removed.UnionWith(adopted->removed);
  shard->removals.fetch_add(1);
  return Status::Ok();
}

void Core::SkipOrdinals(Shard* shard) {
  shard->has_loss = true;
  const std::uint64_t next = std::min(shard->next_ordinal.load() + kOrdinalsSkipped, kOrdinalsMax);
  shard->next_ordinal.store(next);
  MeasuredLock lock(&shard->head->mu());
  shard->head->EnsureOrdinals(next);
}

void Core::SkipUnknownEnd(Shard* shard) {
  if (!shard->has_loss) SkipOrdinals(shard);
  if (shard->loss.uncertain_from > 0) return;
  shard->loss.uncertain_from = shard->wal->last_lsn() + 1;
  wal_->Skip(shard->id, kLsnsSkipped);
  shard->opened_behind = shard->wal->last_lsn();
}

void Core::ReportLoss(const Shard& shard) const {
  if (!shard.has_loss) return;
  const ShardLoss& loss = shard.loss;
  const std::string name = "shard " + std::to_string(shard.id) + ": ";
  for (const ShardLoss::Range& range : loss.lost) Log(LogLevel::kError, name + Lsns(range) + " lost");
  if (loss.uncertain_from > 0) {
    Log(LogLevel::kError, name + "records from LSN " + std::to_string(loss.uncertain_from) + " on may be lost");
  } else if (loss.lost.empty()) {
    Log(LogLevel::kWarning, name + "records are missing from the log; the data instance holds them, nothing is lost");
  }
  if (loss.dropped_samples + loss.dropped_items > 0) {
    Log(LogLevel::kError, name + std::to_string(loss.dropped_samples) + " samples and " + std::to_string(loss.dropped_items) +
                              " exemplars or metadata dropped: the records of their series were lost");
  }
}

Status Core::FinishLoss() {
  if (!options_.accept_data_loss) return Status::Ok();
  std::map<ShardId, Lsn> stored_whole;
  for (const auto& shard : shards_) {
    if (shard->has_loss && shard->quarantine.ok()) stored_whole[shard->id] = shard->stored_whole;
  }
  if (!stored_whole.empty()) {
    // The checkpoint claims to cover the holes before the log is trimmed beyond them.
    if (Status status = NoteStoredWhole(stored_whole); !status.ok()) return status;
    if (Status status = Checkpoint(); !status.ok()) return status;
  }
  bool unfinished = false;
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    if (shard->has_loss && shard->wal->trimmed_to() < shard->opened_behind) {
      return Unavailable("the log of shard " + std::to_string(shard->id) +
                         " cannot be trimmed beyond what it has lost: the archive does not take what is in front");
    }
    unfinished = unfinished || unfinished_.Contains(shard->id);
    unfinished_.Erase(shard->id);
  }
  return unfinished ? WriteUnfinished(path_, unfinished_) : Status::Ok();
}

}  // namespace chronolith

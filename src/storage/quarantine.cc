// Quarantine: a shard whose stored files or log are damaged is left alone while the others serve.
//
// The verdict falls at open, and again at each open: the engine names a damaged file of index.<k> or chunk.<k> (KvEngine::Damage),
// or what recovery needs of the two cannot be read, or the shard's log lacks records or has some that do not decode (recovery.cc).
// From then on nothing is written for such a shard, no record, no trim: its log stays what it was when its last write was
// acknowledged, and the open that finds the files back in place replays it as if nothing had happened. (Its epoch was raised,
// without a record in the log that says so; the next one that is opened names the end of the log all the same.)
//
// Rows that are missing were in bytes which hold the rows of all shards. A hole shows only where something is behind it: a shard
// whose log has nothing behind the hole of another may have lost its end, unseen, and is quarantined with it (QuarantineSuspects).
// Where that leaves none, as where log files were removed from the end, the store is refused.
//
// Damage to what all shards share (MANIFEST, CURRENT, meta rows, log files) refuses the store, with a word of what it costs each of
// them (WithAffected; WalJudge for log files).
//
// The shard consists of empty layers, so that whoever walks over all shards needs no case of its own; who must not take "empty" for
// an answer looks at Shard::quarantine or Core::quarantine.
#include "storage/core.h"
#include "storage/log_judge.h"

namespace chronolith {

Status Core::RecoverOrQuarantine(Shard* shard, const HandedOut* earlier) {
  Status damage = data_engine_->Damage(shard->index_family);
  if (damage.ok()) damage = data_engine_->Damage(shard->chunk_family);
  if (damage.ok() && !options_.accept_data_loss && unfinished_.EndIsUnknown(shard->id)) {
    shard->log_damaged = true;
    damage = DataLoss("part of its log was given up as damaged, by an open that did not come to its end");
  }
  if (damage.ok()) {
    Status status = RecoverShard(shard, earlier, &damage);
    if (damage.ok()) return status;
  }
  Quarantine(shard, damage, earlier, shard->log_damaged);
  return Status::Ok();
}

void Core::Quarantine(Shard* shard, const Status& damage, const HandedOut* earlier, bool log) {
  const std::string name = "shard " + std::to_string(shard->id);
  shard->quarantine =
      DataLoss(name + " is quarantined, the other shards serve: " + damage.message() +
               "; nothing of it is changed. Close the store, put the file back or restore from a snapshot, and open it again" +
               (log ? ", or give up what its log has lost: " + LossCommand() : ""));
  Log(LogLevel::kError, shard->quarantine.message());
  shard->index = std::make_unique<IndexShard>(
      data_engine_.get(), IndexShardOptions{.shard = shard->id, .family = shard->index_family, .cache = cache_.get()});
  shard->chunks = std::make_unique<ChunkStore>(
      data_engine_.get(), ChunkStoreOptions{.shard = shard->id, .family = shard->chunk_family, .window_ms = manifest_.window_ms});
  shard->head = std::make_unique<HeadShard>(HeadOptions{.window_ms = manifest_.window_ms});
  shard->wal = &wal_->shard(shard->id);
  SetSeries(shard, 0);
  shard->applied_lsn.store(0);
  shard->replayed_records = 0;
  shard->replayed_bytes = 0;
  shard->data_past_log = 0;
  shard->loss = {};
  shard->has_loss = false;
  MutexLock lock(&shard->removed_mu);
  shard->removed = {};
  shard->next_ordinal.store(0);
  if (earlier == nullptr) return;
  // For the next Reopen, which may bring the shard back.
  shard->removed = earlier->gone;
  shard->kept_labels = earlier->kept_labels;
  shard->next_ordinal.store(earlier->next_ordinal);
}

void Core::QuarantineSuspects() {
  const Shard* culprit = nullptr;
  for (const auto& shard : shards_) {
    if (shard->lost_before && (culprit == nullptr || *shard->lost_before > *culprit->lost_before)) culprit = shard.get();
  }
  if (culprit == nullptr) return;
  for (const auto& shard : shards_) {
    if (shard.get() == culprit || !shard->quarantine.ok() || shard->log_end > *culprit->lost_before) continue;
    if (options_.accept_data_loss) {
      SkipUnknownEnd(shard.get());
      ReportLoss(*shard);
      continue;
    }
    const Status why =
        DataLoss("its log may lack records behind LSN " + std::to_string(shard->wal->last_lsn()) + ", since that of shard " +
                 std::to_string(culprit->id) + " lacks some and nothing in this one is newer");
    Quarantine(shard.get(), why, EarlierOf(*shard), true);
  }
}

Status Core::CheckQuarantine() {
  std::size_t quarantined = 0;
  std::string messages;
  for (const auto& shard : shards_) {
    if (shard->quarantine.ok()) continue;
    ++quarantined;
    messages.append(messages.empty() ? "" : "; ").append(shard->quarantine.message());
  }
  if (quarantined > 0) quarantine_ = DataLoss(std::move(messages));
  return quarantined == shards_.size() ? quarantine_.WithContext("no shard is left to serve") : Status::Ok();
}

std::string Core::AllShards() const {
  return shards_.size() == 1 ? "shard 0" : "shards 0 to " + std::to_string(shards_.size() - 1);
}

// `bytes_damaged`: of its log files, or some are missing, and nothing else is wrong with it, so that this can be given up.
Status Core::WithAffected(const Status& status, InstanceRole instance, bool bytes_damaged) const {
  if (status.code() != StatusCode::kDataLoss) return status;
  std::string affected;
  if (instance == InstanceRole::kData) {
    affected = "all that is stored of " + AllShards();
  } else if (!data_engine_) {
    affected = "all that was logged of " + AllShards() + " behind what is stored";
  } else {
    affected = "all that was logged of ";
    for (const auto& shard : shards_) {
      const Result<StoredState> stored =
          ReadStoredState(data_engine_.get(), {shard->id, shard->wal_family, shard->index_family, shard->chunk_family});
      const bool known = stored.ok() && !stored->damaged;
      affected += (shard->id == 0 ? "shard " : ", shard ") + std::to_string(shard->id) +
                  (known ? " behind LSN " + std::to_string(stored->least()) : " (its stored files are damaged as well)");
    }
  }
  return DataLoss(
      status.message() + ". Affected: " + affected +
      ". Put back what is damaged, or restore a snapshot or a backup of the store; else `chronolith salvage` copies what "
      "is sound into a new one" +
      (bytes_damaged ? ", or `" + LossCommand() + "` gives up what its log has lost" : ""));
}

}  // namespace chronolith

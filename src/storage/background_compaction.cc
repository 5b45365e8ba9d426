// What the upkeep thread compacts by itself, after a checkpoint and only while none is wanted.
//
//   windows   that closed two windows ago and hold enough that came late, or in pieces because the store was reopened within them
//             (ChunkStore::UntidyWindows): each such pass reads at most some eight times what made it worth while. Data that comes
//             in order is never read again.
//   series    without data, once the retention floor has risen by a window.
// Deletes are applied to the windows that are rewritten; Storage::Compact applies them everywhere and drops them.
#include "storage/core.h"

namespace chronolith {

bool Core::UpkeepIsWanted() {
  if (compacting_.load()) return true;  // the host does it
  if (checkpoint_asked_.load() || over_budget_.load() || disk_low_.load() || wal_->failed()) return true;
  MutexLock lock(&wake_mu_);
  return stop_;
}

Status Core::CompactInBackground() {
  if (!options_.background_compaction) return Status::Ok();
  Timestamp newest = kMinTimestamp;
  Timestamp floor = kMinTimestamp;
  for (const auto& shard : shards_) {
    newest = std::max(newest, shard->head->newest());
    floor = std::max(floor, shard->chunks->tombstones().floor());
  }
  if (newest <= kMinTimestamp + 3 * manifest_.window_ms) return Status::Ok();
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    for (const Timestamp window : shard->chunks->UntidyWindows(newest - 2 * manifest_.window_ms)) {
      if (UpkeepIsWanted()) return Status::Ok();
      if (!LockUpkeep()) return Status::Ok();
      const auto in_head = [&](const ChunkMeta& chunk) { return shard->head->MayGrow(chunk); };
      Result<bool> done = shard->chunks->CompactWindow(window, in_head, [this] { return UpkeepIsWanted(); });
      upkeep_mu_.Unlock();
      if (!done.ok()) return done.status().WithContext("compaction of shard " + std::to_string(shard->id));
      if (*done) compacted_windows_.Add();
    }
  }
  if (floor == kMinTimestamp || (removed_below_ != kMinTimestamp && floor - removed_below_ < manifest_.window_ms)) {
    return Status::Ok();
  }
  for (; removed_shards_ < shards_.size(); ++removed_shards_) {
    if (UpkeepIsWanted()) return Status::Ok();  // goes on with this shard the next time
    Shard* const shard = shards_[removed_shards_].get();
    if (!shard->quarantine.ok()) continue;
    if (!LockUpkeep()) return Status::Ok();
    std::uint64_t removed = 0;
    const Status status = RemoveExpiredSeries(shard, nullptr, &removed);
    upkeep_mu_.Unlock();
    if (!status.ok()) {
      ++removed_shards_;  // the others first
      return status.WithContext("removal of expired series from shard " + std::to_string(shard->id));
    }
  }
  removed_shards_ = 0;
  removed_below_ = floor;
  return Status::Ok();
}

}  // namespace chronolith

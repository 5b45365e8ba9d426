// What the upkeep thread compacts by itself, after a checkpoint and while none is wanted.
//
//   windows   that closed two windows ago and hold enough that came late, or in pieces because the store was reopened within them
//             (ChunkStore::UntidyWindows): each such pass reads at most some eight times what made it worth while. Data that comes
//             in order is never read again.
//   series    without data, once the retention floor has risen by a window.
// Where writers are so fast, or the disk so slow, that one checkpoint follows the other, each eighth is followed by one window and
// the series of one shard all the same: else late data would stay in pieces, and expired series in memory, for as long.
// Deletes are applied to the windows that are rewritten; Storage::Compact applies them everywhere and drops them.
#include "storage/core.h"

namespace chronolith {
namespace {

constexpr int kPutOffMax = 7;  // checkpoints in a row

}  // namespace

bool Core::CompactionMustEnd() {
  if (compacting_.load()) return true;  // the host does it
  if (over_budget_.load() || disk_low_.load() || wal_->failed()) return true;
  MutexLock lock(&wake_mu_);
  return stop_;
}

bool Core::UpkeepIsWanted() { return checkpoint_asked_.load() || CompactionMustEnd(); }

Status Core::CompactInBackground() {
  if (!options_.background_compaction) return Status::Ok();
  Timestamp newest = kMinTimestamp;
  Timestamp floor = kMinTimestamp;
  for (const auto& shard : shards_) {
    newest = std::max(newest, shard->head->newest());
    floor = std::max(floor, shard->chunks->tombstones().floor());
  }
  if (newest <= kMinTimestamp + 3 * manifest_.window_ms) return Status::Ok();
  const bool turn = put_off_ >= kPutOffMax;
  bool put_off = false;
  Status status = CompactUntidyWindows(newest - 2 * manifest_.window_ms, turn, &put_off);
  if (status.ok()) status = RemoveExpiredShards(floor, turn, &put_off);
  put_off_ = put_off && !turn ? put_off_ + 1 : 0;
  return status;
}

// `turn`: one of them also where a checkpoint is wanted. *put_off: some are left for that.
Status Core::CompactUntidyWindows(Timestamp before, bool turn, bool* put_off) {
  const std::size_t first = compacted_first_;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const std::size_t id = (first + i) % shards_.size();
    Shard* const shard = shards_[id].get();
    if (!shard->quarantine.ok()) continue;
    for (const Timestamp window : shard->chunks->UntidyWindows(before)) {
      const auto must_end = [&] { return turn ? CompactionMustEnd() : UpkeepIsWanted(); };
      if (must_end()) {
        *put_off = true;
        return Status::Ok();
      }
      if (!LockUpkeep()) return Status::Ok();
      const auto in_head = [&](const ChunkMeta& chunk) { return shard->head->MayGrow(chunk); };
      Result<bool> done = shard->chunks->CompactWindow(window, in_head, must_end);
      upkeep_mu_.Unlock();
      if (!done.ok()) return done.status().WithContext("compaction of shard " + std::to_string(id));
      if (*done) compacted_windows_.Add();
      *put_off = *put_off || !*done;
      if (std::exchange(turn, false)) compacted_first_ = (id + 1) % shards_.size();  // the next turn is another's
    }
  }
  return Status::Ok();
}

// The same for series without data, by shard, once the floor has risen by a window.
Status Core::RemoveExpiredShards(Timestamp floor, bool turn, bool* put_off) {
  if (floor == kMinTimestamp || (removed_below_ != kMinTimestamp && floor - removed_below_ < manifest_.window_ms)) {
    return Status::Ok();
  }
  for (; removed_shards_ < shards_.size(); ++removed_shards_) {
    if (turn ? CompactionMustEnd() : UpkeepIsWanted()) {  // goes on with this shard the next time
      *put_off = true;
      return Status::Ok();
    }
    Shard* const shard = shards_[removed_shards_].get();
    if (!shard->quarantine.ok()) continue;
    if (!LockUpkeep()) return Status::Ok();
    std::uint64_t removed = 0;
    const Status status = RemoveExpiredSeries(shard, nullptr, &removed);
    upkeep_mu_.Unlock();
    turn = false;
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

// What the upkeep thread compacts by itself, after a checkpoint and while none is wanted.
//
//   windows   that closed two windows ago and hold enough that came late, or in pieces because the store was reopened within them
//             (ChunkStore::UntidyWindows): each such pass reads at most some eight times what made it worth while. Data that comes
//             in order is never read again.
//   series    without data, once the retention floor has risen by a window.
// Where writers are so fast, or the disk so slow, that one checkpoint follows the other, each eighth is followed by one window and
// the series of one shard all the same (a turn): else late data would stay in pieces, and expired series in the index, for as long.
// Nothing is compacted while memory, a disk or the log's room is short.
// Deletes are applied to the windows that are rewritten; Storage::Compact applies them everywhere and drops them.
#include <utility>

#include "storage/core.h"

namespace chronolith {
namespace {

constexpr int kPutOffMax = 7;  // in a row

}  // namespace

struct Core::CompactionPass {
  explicit CompactionPass(int* put_off) : times_put_off(put_off), turn(*put_off >= kPutOffMax) {}
  ~CompactionPass() { *times_put_off = put_off && !(had_turn && worked) ? *times_put_off + 1 : 0; }

  int* const times_put_off;  // in a row
  bool turn;                 // a step is made also where a checkpoint is wanted
  const bool had_turn = turn;
  bool put_off = false;  // something is left for the next time
  bool worked = false;   // something was begun
};

bool Core::CompactionMustEnd() {
  if (compacting_.load()) return true;  // the host does it
  if (over_budget_.load() || disk_low_.load() || wal_->stalled() || wal_->failed()) return true;
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
  CompactionPass windows(&windows_put_off_), series(&removal_put_off_);
  const Status compacted = CompactUntidyWindows(newest - 2 * manifest_.window_ms, &windows);
  const Status removed = RemoveExpiredShards(floor, &series);
  return compacted.ok() ? removed : compacted;
}

Status Core::CompactUntidyWindows(Timestamp before, CompactionPass* pass) {
  const std::size_t first = compacted_first_;
  const auto must_end = [&] { return pass->turn ? CompactionMustEnd() : UpkeepIsWanted(); };
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const std::size_t id = (first + i) % shards_.size();
    Shard* const shard = shards_[id].get();
    if (!shard->quarantine.ok()) continue;
    for (const Timestamp window : shard->chunks->UntidyWindows(before)) {
      pass->put_off = pass->put_off || must_end();
      if (pass->put_off || !LockUpkeep()) return Status::Ok();
      const auto in_head = [&](const ChunkMeta& chunk) { return shard->head->MayGrow(chunk); };
      Result<bool> done = shard->chunks->CompactWindow(window, in_head, must_end);
      upkeep_mu_.Unlock();
      pass->worked = true;
      if (std::exchange(pass->turn, false)) compacted_first_ = (id + 1) % shards_.size();  // the next turn is another's
      if (!done.ok()) return done.status().WithContext("compaction of shard " + std::to_string(id));
      if (*done) compacted_windows_.Add();
      pass->put_off = pass->put_off || !*done;
    }
  }
  return Status::Ok();
}

// Once the floor has risen by a window, shard by shard.
Status Core::RemoveExpiredShards(Timestamp floor, CompactionPass* pass) {
  if (floor == kMinTimestamp || (removed_below_ != kMinTimestamp && floor - removed_below_ < manifest_.window_ms)) {
    return Status::Ok();
  }
  if (removed_shards_ == 0) removing_below_ = floor;
  for (; removed_shards_ < shards_.size(); ++removed_shards_) {
    pass->put_off = pass->turn ? CompactionMustEnd() : UpkeepIsWanted();
    if (pass->put_off) return Status::Ok();  // goes on with this shard the next time
    Shard* const shard = shards_[removed_shards_].get();
    if (!shard->quarantine.ok()) continue;
    if (!LockUpkeep()) return Status::Ok();
    std::uint64_t removed = 0;
    std::function<bool()> stop;  // it begins anew the next time, so only a turn, which writers feel, is ended
    if (pass->turn) stop = [this] { return CompactionMustEnd(); };
    const Status status = RemoveExpiredSeries(shard, nullptr, stop, &removed);
    upkeep_mu_.Unlock();
    pass->worked = true;
    pass->turn = false;
    if (status.code() == StatusCode::kCancelled) {
      pass->put_off = true;
      return Status::Ok();
    }
    if (!status.ok()) {
      ++removed_shards_;  // the others first
      return status.WithContext("removal of expired series from shard " + std::to_string(shard->id));
    }
  }
  removed_shards_ = 0;
  removed_below_ = removing_below_;
  return Status::Ok();
}

}  // namespace chronolith

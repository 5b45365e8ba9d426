// What the upkeep thread compacts by itself, after a checkpoint and while none is wanted.
//
//   windows   that closed two windows ago and hold enough that came late, or in pieces because the store was reopened within them
//             (ChunkStore::UntidyWindows): each such pass reads at most some eight times what made it worth while. Data that comes
//             in order is never read again.
//   series    without data, once the retention floor has risen by a window.
// Where writers are so fast, or the disk so slow, that one checkpoint follows the other, either that was put off seven times has
// its turn behind the eighth: one window, or the series of one shard. Else late data would stay in pieces, and expired series in
// the index, for as long. Nothing is begun while memory, a disk or the log's room is short, and a turn ends there. Outside of its
// turn the removal of a shard's series goes on to its end, since it would begin anew; a checkpoint waits for it. Deletes are
// applied to the windows that are rewritten; Storage::Compact applies them everywhere and drops them.
#include <utility>

#include "storage/core.h"

namespace chronolith {
namespace {

constexpr int kPutOffMax = 7;  // in a row

}  // namespace

struct Core::CompactionPass {
  explicit CompactionPass(int times_put_off) : turn(times_put_off >= kPutOffMax) {}
  // A turn that nothing was begun in is kept for the next time.
  int TimesPutOff(int before) const { return put_off && (turn || before < kPutOffMax) ? before + 1 : 0; }

  bool turn;             // a step is made also where a checkpoint is wanted; taken by the first
  bool put_off = false;  // something is left for the next time
};

bool Core::CompactionIsOver() {
  if (compacting_.load() || wal_->failed()) return true;  // the host does it; or nothing can be stored
  MutexLock lock(&wake_mu_);
  return stop_;
}

bool Core::CompactionMustEnd(const CompactionPass& pass) {
  if (!pass.turn && checkpoint_asked_.load()) return true;
  return over_budget_.load() || disk_low_.load() || wal_->stalled() || CompactionIsOver();
}

// With upkeep_mu_; false: not now.
bool Core::BeginCompactionStep(CompactionPass* pass) {
  pass->put_off = CompactionMustEnd(*pass);
  if (pass->put_off || !LockUpkeep()) return false;
  pass->put_off = CompactionMustEnd(*pass);  // the host may have held the mutex for long
  if (!pass->put_off) return true;
  upkeep_mu_.Unlock();
  return false;
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
  CompactionPass windows(windows_put_off_), series(removal_put_off_);
  const Status compacted = CompactUntidyWindows(newest - 2 * manifest_.window_ms, &windows);
  const Status removed = RemoveExpiredShards(floor, &series);
  windows_put_off_ = windows.TimesPutOff(windows_put_off_);
  removal_put_off_ = series.TimesPutOff(removal_put_off_);
  return compacted.ok() ? removed : compacted;
}

Status Core::CompactUntidyWindows(Timestamp before, CompactionPass* pass) {
  const std::size_t first = compacted_first_;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const std::size_t id = (first + i) % shards_.size();
    Shard* const shard = shards_[id].get();
    if (!shard->quarantine.ok()) continue;
    for (const Timestamp window : shard->chunks->UntidyWindows(before)) {
      if (!BeginCompactionStep(pass)) return Status::Ok();
      const auto in_head = [&](const ChunkMeta& chunk) { return shard->head->MayGrow(chunk); };
      Result<bool> done = shard->chunks->CompactWindow(window, in_head, [&] { return CompactionMustEnd(*pass); });
      upkeep_mu_.Unlock();
      if (std::exchange(pass->turn, false)) compacted_first_ = (id + 1) % shards_.size();  // the next turn is another's
      if (!done.ok()) return done.status().WithContext("compaction of shard " + std::to_string(id));
      pass->put_off = !*done;
      if (pass->put_off) return Status::Ok();
      compacted_windows_.Add();
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
    Shard* const shard = shards_[removed_shards_].get();
    if (!shard->quarantine.ok()) continue;
    if (!BeginCompactionStep(pass)) return Status::Ok();  // goes on with this shard the next time
    std::uint64_t removed = 0;
    const auto stop = [&] { return pass->turn ? CompactionMustEnd(*pass) : CompactionIsOver(); };
    const Status status = RemoveExpiredSeries(shard, nullptr, stop, &removed);
    upkeep_mu_.Unlock();
    pass->turn = false;
    if (!status.ok()) {
      // Stopped, or the log has no room before the next checkpoint: this shard again. Else the others first.
      pass->put_off = status.code() == StatusCode::kCancelled || status.code() == StatusCode::kResourceExhausted;
      if (!pass->put_off) ++removed_shards_;
      return status.WithContext("removal of expired series from shard " + std::to_string(shard->id));
    }
  }
  removed_shards_ = 0;
  removed_below_ = removing_below_;
  return Status::Ok();
}

}  // namespace chronolith

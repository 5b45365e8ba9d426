// What a store holds in memory, and what it does when that is too much: checkpoints while it runs and while it replays, refusals.
//
// The store's share of the budget is a figure that follows MemoryBytes: it is settled each megabyte of log, after a checkpoint,
// after opening, and is nothing after Close. While the store opens it is what replay may need.
#include <algorithm>
#include <utility>
#include <vector>

#include "storage/core.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kMemoryCheckBytes = 1 << 20;  // of log, between two looks at memory and disk
constexpr std::uint64_t kLimitMargin = 32;            // this part of the limit is kept free
constexpr std::uint64_t kScarceMargin = 8;            // a checkpoint starts when less than this part is free
constexpr std::uint64_t kReleaseMargin = 4;           // and is to leave this part free
constexpr std::uint64_t kReleasedPart = 2;            // else series leave until no more than this part is used
constexpr std::int64_t kTellReleasedMs = 60 * 60 * 1000;
constexpr std::chrono::seconds kDiskPatience{5};      // for a disk that checkpoints do not free, however patient the host is
constexpr std::chrono::milliseconds kCancelLook{50};  // between two looks at whether a wait is cancelled

}  // namespace

// The buffers of the data instance count as full: the next checkpoint fills them, at the moment at which memory is scarce.
std::uint64_t Core::EngineMemoryBytes() const {
  return options_.block_cache_bytes + std::max(data_options_.write_buffer_bytes, data_engine_->BufferedBytes()) +
         log_engine_->BufferedBytes();
}

std::uint64_t Core::OwnMemoryBytes() const {
  std::uint64_t bytes = cache_->bytes() + options_.ring_bytes * shards_.size();
  for (const auto& shard : shards_) {
    const bool serving = shard->serving.load(std::memory_order_acquire);
    bytes += serving ? shard->head->memory_bytes() + shard->index->memory_bytes() : replay_share_;
  }
  return bytes;
}

std::uint64_t Core::MemoryBytes() const { return OwnMemoryBytes() + EngineMemoryBytes(); }

void Core::SetMemoryShare(std::uint64_t bytes) {
  MemoryBudget& budget = *options_.memory_budget;
  MutexLock lock(&memory_mu_);
  if (bytes > reserved_memory_) {
    budget.ForceReserve(bytes - reserved_memory_);
  } else {
    budget.Release(reserved_memory_ - bytes);
  }
  reserved_memory_ = bytes;
}

// Writers wait from a little below the limit: what is under way, and what a checkpoint buffers, comes on top.
bool Core::SettleMemory() {
  SetMemoryShare(MemoryBytes());
  const std::uint64_t limit = options_.memory_budget->limit_bytes();
  return options_.memory_budget->used_bytes() > limit - limit / kLimitMargin;
}

void Core::SettleMemoryAfterOpen() {
  if (!SettleMemory() || options_.read_only) return;
  over_budget_.store(true);
  AskForCheckpoint();
}

// A checkpoint that memory asked for has left too much of it: series that are stored whole leave head and index, as after replay.
// Who writes to one again pays a look-up, so those that have been silent for a window go first, then those of one shard after the
// other, until there is room for a while.
void Core::ReleaseWhereScarce() {
  if (!memory_scarce_.exchange(false)) return;
  const std::uint64_t limit = options_.memory_budget->limit_bytes();
  if (options_.memory_budget->used_bytes() <= limit - limit / kReleaseMargin) return;
  Timestamp newest = kMinTimestamp;
  for (const auto& shard : shards_) newest = std::max(newest, shard->head->newest());
  std::uint64_t released = 0;
  if (newest > kMinTimestamp + manifest_.window_ms) released = ReleaseStored(newest - manifest_.window_ms);
  released += ReleaseStored(kMaxTimestamp);
  released_untold_ += released;
  const std::int64_t now_ms = options_.clock->NowMs();
  if (released == 0 || (released_told_ms_ != 0 && now_ms - released_told_ms_ < kTellReleasedMs)) return;
  released_told_ms_ = now_ms;
  Log(LogLevel::kInfo, std::to_string(std::exchange(released_untold_, 0)) + " stored series have left the memory, of which " +
                           std::to_string(limit) + " bytes may be used: a write to one of them looks it up again");
}

// Begins where it ended the last time, so that no shard's series go more often than another's.
std::uint64_t Core::ReleaseStored(Timestamp silent_since) {
  const MemoryBudget& budget = *options_.memory_budget;
  std::uint64_t released = 0;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (budget.used_bytes() <= budget.limit_bytes() / kReleasedPart) break;
    release_next_ = (release_next_ + 1) % shards_.size();
    Shard& shard = *shards_[release_next_];
    const std::vector<Ordinal> ordinals = shard.head->ReleaseIdle(silent_since);
    shard.index->Evict(ordinals);
    shard.series_released.Add(ordinals.size());
    released += ordinals.size();
    (void)SettleMemory();
  }
  return released;
}

// Runs in the leader after each group: keeps the store's share of the budget and starts checkpoints. Cheap: counters as a rule.
void Core::OnLoggedBytes(std::uint64_t bytes) {
  const std::uint64_t since = bytes_since_checkpoint_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  bool wake = since >= CheckpointThreshold();
  if (bytes_since_memory_check_.fetch_add(bytes, std::memory_order_relaxed) + bytes >= kMemoryCheckBytes) {
    bytes_since_memory_check_.store(0, std::memory_order_relaxed);
    const bool over = SettleMemory();
    over_budget_.store(over, std::memory_order_relaxed);
    const std::uint64_t limit = options_.memory_budget->limit_bytes();
    const bool scarce =
        over || (options_.memory_budget->used_bytes() > limit - limit / kScarceMargin && since >= limit / kLimitMargin);
    if (scarce) memory_scarce_.store(true);
    LookAtDisk();
    wake = wake || scarce || disk_low_.load(std::memory_order_relaxed);
  }
  if (wake) AskForCheckpoint();
}

void Core::AskForCheckpoint() {
  if (checkpoint_asked_.exchange(true)) return;
  MutexLock lock(&wake_mu_);
  wanted_ = true;
  wake_cv_.Signal();
}

// min(max(floor, dirty bytes of the head), checkpoint_bytes): a small head is stored often, because that is cheap and keeps replay
// short; a large one is not rewritten before the log has grown by as much.
std::uint64_t Core::CheckpointThreshold() const {
  std::uint64_t head = 0;
  for (const auto& shard : shards_) head += shard->serving.load(std::memory_order_acquire) ? shard->head->memory_bytes() : 0;
  return std::min(std::max(options_.checkpoint_bytes / 2, head), options_.checkpoint_bytes);
}

// For who holds off the thread that was asked. A checkpoint ends the wait for memory until the next look, but perhaps not that for
// the disk: that asks again when there is something to store.
bool Core::CheckpointIsDue() const {
  const std::uint64_t since = bytes_since_checkpoint_.load(std::memory_order_relaxed);
  return since >= CheckpointThreshold() || over_budget_.load() || wal_->stalled() ||
         (since >= kMemoryCheckBytes && disk_low_.load());
}

Status Core::Admit(Deadline deadline) {
  if (!over_budget_.load(std::memory_order_relaxed) && !disk_low_.load(std::memory_order_relaxed)) [[likely]]
    return Status::Ok();
  deadline = std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.backpressure_wait_ms));
  MutexLock lock(&wake_mu_);
  while ((over_budget_.load() || disk_low_.load()) && !stop_) {
    if (wal_->failed()) return wal_->failure();
    if (wal_->Cancelled()) return Cancelled("interrupted while a write waited for memory or room on a disk");
    const Deadline now = std::chrono::steady_clock::now();
    // Between two looks behind a checkpoint one was made from beginning to end. An archive may still take the log.
    const bool in_vain = disk_low_.load() && low_looks_ >= 2 && !wal_->HasArchiveBacklog() && now >= low_since_ + kDiskPatience;
    if (!in_vain && no_room_.ok() && now < deadline) {
      (void)admitted_cv_.WaitUntil(&wake_mu_, std::min(deadline, now + kCancelLook));
    } else {
      if (disk_low_.load()) return disk_room_;
      if (!no_room_.ok()) return no_room_;
      return ResourceExhausted("the memory budget (memory_limit) of " + std::to_string(options_.memory_budget->limit_bytes()) +
                               " bytes stayed used up for as long as a write waits: raise it, or write to fewer series");
    }
  }
  return Status::Ok();
}

// Checkpoints that meet a full disk free nothing: who waits for them waits in vain.
void Core::NoteRoom(const Status& checkpoint) {
  const bool full = checkpoint.code() == StatusCode::kResourceExhausted;
  const Deadline now = std::chrono::steady_clock::now();
  no_room_since_ = full ? std::min(no_room_since_, now) : kNoDeadline;
  const Status why = full && now >= no_room_since_ + kDiskPatience ? checkpoint : Status::Ok();
  if (!why.ok()) wal_->NoteNoRoom(why);
  MutexLock lock(&wake_mu_);
  no_room_ = why;
  admitted_cv_.SignalAll();
}

// Whoever waits in Admit looks again.
void Core::WakeAdmitted() {
  MutexLock lock(&wake_mu_);
  admitted_cv_.SignalAll();
}

// ---- Replay ----

// At most half of what is free, in equal parts: the shards are hash ranges, so their logs are of a size. The other half is for what
// a checkpoint of replay leaves in memory (an entry a series) and for the data instance's memtables.
void Core::ReserveForReplay() {
  const MemoryBudget& budget = *options_.memory_budget;
  const std::uint64_t fixed = options_.ring_bytes * shards_.size() + EngineMemoryBytes();
  SetMemoryShare(fixed);
  const std::uint64_t used = budget.used_bytes();
  const std::uint64_t free = used < budget.limit_bytes() ? budget.limit_bytes() - used : 0;
  replay_share_ = std::max(std::min(free / 2, options_.replay_memory_bytes) / shards_.size(), kReplayShareMin);
  SetMemoryShare(fixed + replay_share_ * shards_.size());
}

// The same steps as a checkpoint, for one shard that nobody else uses yet. The log was synced when it was opened; it is not trimmed
// here, so that a failure later in the opening changes nothing but how much of it is replayed the next time.
Status Core::CheckpointReplay(Shard* shard, const IndexState& index_state, const ChunkState& chunk_state, Status* damage) {
  // Not those of a flush, which may be another shard's: the engine stops as a whole. Nor what a device says to a write.
  const auto own = [damage](Status status) {
    if (status.code() == StatusCode::kDataLoss) *damage = status;
    return status;
  };
  {
    MeasuredLock lock(&shard->head->mu());
    shard->head->BeginCheckpoint(index_state.next_ordinal);
  }
  shard->index->Cut();
  if (Status status = shard->index->Checkpoint(index_state); !status.ok()) return own(status);
  if (Status status = data_engine_->Flush(shard->index_family); !status.ok()) return status;
  CheckpointSlice slice;
  while (shard->head->TakeSlice(kCheckpointSliceBytes, &slice)) {
    if (Status status = shard->chunks->Write(std::move(slice.chunks), Packing::kNone); !status.ok()) return own(status);
  }
  if (Status status = shard->chunks->Finish(chunk_state); !status.ok()) return own(status);
  if (Status status = data_engine_->Flush(shard->chunk_family); !status.ok()) return status;
  shard->head->FinishCheckpoint();
  shard->index->Evict(shard->head->ReleaseIdle(kMaxTimestamp));
  replay_checkpoints_.Add();
  return Status::Ok();
}

}  // namespace chronolith

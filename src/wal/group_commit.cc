// The group commit of ShardedWAL: leading, waiting, rows, and what happens where the engine has no room.
#include <sched.h>

#include <bit>

#include "base/coding.h"
#include "base/failpoint.h"
#include "wal/sharded_wal.h"

namespace chronolith {
namespace {

constexpr std::size_t kRowPayloadBytes = 56 << 10;  // below the engine's 64 KiB with header and the last whole record
constexpr std::uint64_t kGroupBytes = 4ULL << 20;   // of one engine write
constexpr std::size_t kCompressBytesMin = 512;      // LZ4 needs repetition to find
constexpr std::uint32_t kCompressRetryRows = 16;    // rows of a shard stored plainly between two attempts
constexpr std::uint64_t kSpinNanos = 12'000;        // of a follower before it sleeps: what sleeping and being woken cost together
constexpr std::uint64_t kGraceNanos = 2'000;        // in which the last leader may come back
constexpr int kLooks = 6;                           // with a pause each, some 15 ns, between two readings of the clock
constexpr int kCrowdedLooks = 96;                   // before sleeping where more threads wait than there are cores
constexpr int kLeaderRounds = 4;                    // groups that one caller leads for others after its own

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // the longer of the two usual hints, about as long as x86's
#endif
}

// Counts the calling thread while it waits.
class WaiterCount {
 public:
  explicit WaiterCount(std::atomic<std::uint32_t>* count) : count_(count) { count_->fetch_add(1, std::memory_order_relaxed); }
  ~WaiterCount() { count_->fetch_sub(1, std::memory_order_relaxed); }
  WaiterCount(const WaiterCount&) = delete;
  WaiterCount& operator=(const WaiterCount&) = delete;

 private:
  std::atomic<std::uint32_t>* const count_;
};

}  // namespace

// ---- Stalls ----

void ShardedWAL::Stall(const Status& reason) {
  retry_at_ns_.store((std::chrono::steady_clock::now() + kRetryInterval).time_since_epoch() / std::chrono::nanoseconds(1),
                     std::memory_order_relaxed);
  {
    MutexLock lock(&failure_mu_);
    stall_ = reason;
  }
  if (stalled()) return;
  trouble_.fetch_or(kStalled, std::memory_order_seq_cst);
  stalled_groups_.Add();
  if (options_.logger) options_.logger->Log(LogLevel::kWarning, "the log waits for room in the engine: " + reason.ToString());
  TellCommitter();             // so that somebody goes on where all who wait have left
  for (WakeWord& w : wake_) {  // those who sleep do not know yet how long they wait
    w.word.fetch_add(1, std::memory_order_seq_cst);
    FutexWakeAll(&w.word);
  }
  if (options_.on_stalled) options_.on_stalled();
}

void ShardedWAL::EndStall() {
  {
    MutexLock lock(&failure_mu_);
    trouble_.fetch_and(~kStalled, std::memory_order_seq_cst);
    no_room_.store(false);
  }
  if (options_.logger) options_.logger->Log(LogLevel::kInfo, "the log goes on");
}

void ShardedWAL::NoteNoRoom(const Status& why) {
  MutexLock lock(&failure_mu_);
  if (!stalled()) return;
  in_vain_ = why;
  no_room_.store(true);
}

Status ShardedWAL::StallReason() const {
  if (Cancelled()) return chronolith::Cancelled("interrupted while what is queued waited for room in the engine");
  MutexLock lock(&failure_mu_);
  if (no_room_.load()) return in_vain_;
  return ResourceExhausted("what is queued waits for room in the engine, and goes on then: " + stall_.ToString());
}

// ---- Group commit ----

bool ShardedWAL::TryLead() {
  return leader_.load(std::memory_order_relaxed) == 0 && leader_.exchange(1, std::memory_order_seq_cst) == 0;
}

void ShardedWAL::LeadAndRelease() {
  std::uint64_t g = started_.load(std::memory_order_relaxed);
  for (int round = 0; round < kLeaderRounds; ++round) {
    // Others wait already: let those that run reach the ring, so that one write to the engine serves more of them.
    if (Crowded()) sched_yield();
    Drain();
    if (stalled() && !failed()) [[unlikely]] {
      leader_.store(0, std::memory_order_seq_cst);  // whoever waits knows when to try again
      return;
    }
    g = started_.load(std::memory_order_relaxed);
    WakeWord& done = wake_[g & 3];
    if (done.sleepers.load(std::memory_order_seq_cst) > 0) {
      done.word.fetch_add(1, std::memory_order_seq_cst);
      FutexWakeAll(&done.word);
    }
    if (failed() || wake_[(g + 1) & 3].sleepers.load(std::memory_order_seq_cst) == 0) break;
  }
  leader_.store(0, std::memory_order_seq_cst);
  // Those who saw a leader and went to sleep: all of the generation just completed (they may have come after the wake-up above),
  // and one of the next, to lead it.
  WakeWord& done = wake_[g & 3];
  if (done.sleepers.load(std::memory_order_seq_cst) > 0) {
    done.word.fetch_add(1, std::memory_order_seq_cst);
    FutexWakeAll(&done.word);
  }
  WakeWord& next = wake_[(g + 1) & 3];
  if (next.sleepers.load(std::memory_order_seq_cst) > 0) {
    next.word.fetch_add(1, std::memory_order_seq_cst);
    FutexWake(&next.word, 1);
  }
  if (callback_count_.load(std::memory_order_seq_cst) > 0) {
    TellCommitter();
  }
}

void ShardedWAL::Drain() {
  const std::uint32_t trouble = trouble_.load(std::memory_order_relaxed);
  if ((trouble & kFailed) != 0) return;
  const bool again = trouble != 0;                                      // the group that was started before is still to be written
  if (again && std::chrono::steady_clock::now() < RetryTime()) return;  // somebody was faster
  const std::uint64_t generation =
      again ? started_.load(std::memory_order_relaxed) : started_.fetch_add(1, std::memory_order_seq_cst) + 1;
  const Status status = again ? WriteRows() : WriteGroup(generation);
  if (!status.ok()) {
    if (status.code() == StatusCode::kResourceExhausted) {
      Stall(status);
    } else {
      Fail(status);
    }
    return;
  }
  CHRONOLITH_FAILPOINT("group.logged");
  completed_.store(generation, std::memory_order_seq_cst);
  if (again) EndStall();
  CHRONOLITH_FAILPOINT("group.completed");
}

// Moves records of [head, to) into rows until the group is full; returns the bytes of the rows.
std::uint64_t ShardedWAL::BuildRows(WALShard* s, std::uint64_t to, const WalRowHeader& group_header) {
  std::uint64_t at = s->ring_.Head();
  Lsn first = s->logged_lsn_.load(std::memory_order_relaxed) + 1;
  std::uint64_t group_bytes = 0;
  s->rows_used_ = 0;
  s->ops_.clear();
  while (at < to && group_bytes < kGroupBytes) {
    const std::uint64_t from = at;
    std::uint64_t records = 0;
    while (at < to) {
      const std::uint64_t next = at + s->ring_.Load16(at) + 2;
      if (records > 0 && next - from > kRowPayloadBytes) break;
      at = next;
      ++records;
    }
    const std::string_view payload = s->ring_.View(from, at, &s->wrapped_);
    if (s->rows_used_ == s->values_.size()) {
      s->values_.emplace_back();
      s->keys_.emplace_back(kWalKeyBytes, '\0');
    }
    std::string& value = s->values_[s->rows_used_];
    std::string& key = s->keys_[s->rows_used_];
    ++s->rows_used_;
    value.clear();
    StoreWalKey(first, key.data());
    WalRowHeader header = group_header;
    header.first_lsn = first;
    header.epoch = s->epoch_;
    header.records = records;
    // Label sets compress five to one, random values not at all: try, and after a miss leave some rows alone.
    bool compress = payload.size() >= kCompressBytesMin;
    if (compress && s->compress_countdown_ > 0) {
      --s->compress_countdown_;
      compress = false;
    }
    if (!encoder_.Append(s->shard_, header, payload, compress, &value) && compress) s->compress_countdown_ = kCompressRetryRows;
    first += records;
    group_bytes += value.size();
    s->group_records_.Add(records);
  }
  for (std::size_t i = 0; i < s->rows_used_; ++i) s->ops_.push_back({Op::Type::kPut, s->keys_[i], s->values_[i]});
  s->ring_.Consume(at);
  s->groups_.Add();
  return group_bytes;
}

Status ShardedWAL::WriteGroup(std::uint64_t generation) {
  Group& g = group_;
  g.queued = queued_.exchange(0, std::memory_order_seq_cst);
  if (g.queued == 0) return Status::Ok();
  for (std::uint32_t m = g.queued; m != 0; m &= m - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(m));
    g.tails[i] = shards_[i]->ring_.Tail();
  }
  g.header = {};
  g.header.group = generation;
  g.header.synced_group = synced_filled_.load(std::memory_order_acquire);
  g.header.write_time_ms = options_.clock->NowMs();
  g.bytes = 0;
  CollectRows();
  return WriteRows();
}

// What fits one engine write.
void ShardedWAL::CollectRows() {
  Group& g = group_;
  g.left = false;
  g.writing = 0;
  batches_.clear();
  std::uint64_t bytes = 0;
  for (std::uint32_t m = g.queued; m != 0; m &= m - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(m));
    WALShard& s = *shards_[i];
    if (s.ring_.Head() == g.tails[i]) continue;  // taken by the group before, which saw the records but not yet the bit
    if (bytes >= kGroupBytes) {
      g.left = true;
      continue;
    }
    const std::uint64_t before = s.group_records_.Get();
    bytes += BuildRows(&s, g.tails[i], g.header);
    g.logged[i] = s.logged_lsn_.load(std::memory_order_relaxed) + (s.group_records_.Get() - before);
    g.left = g.left || s.ring_.Head() != g.tails[i];
    g.writing |= 1U << i;
    batches_.push_back({s.family_, {}, s.epoch_, s.ops_});
  }
  g.bytes += bytes;
}

// The rows of one shard are in the engine.
void ShardedWAL::FinishRows(std::size_t i) {
  WALShard& s = *shards_[i];
  {
    MutexLock lock(&s.rows_mu_);
    for (std::size_t r = 0; r < s.rows_used_; ++r) {
      const std::uint64_t row_bytes = s.values_[r].size() + kWalKeyBytes;
      s.rows_.push_back({LoadBigEndian<std::uint64_t>(s.keys_[r].data() + 1), row_bytes});
      s.row_bytes_ += row_bytes;
    }
  }
  s.logged_lsn_.store(group_.logged[i], std::memory_order_release);
}

// Writes what was collected, and collects what is left of the group, until all of it is written. kResourceExhausted: the engine
// has no room; the batches that it refused stay in batches_, for the next call.
Status ShardedWAL::WriteRows() {
  Group& g = group_;
  // One engine write as a rule; more where large rings hold more than a group.
  while (!batches_.empty()) {
    CHRONOLITH_FAILPOINT("group.collected");
    EngineWriteOptions write;
    write.durability = Durability::kLogged;
    write.no_stall = true;  // who leads may have a deadline
    Outcomes outcomes;
    {
      ScopedTimer timer(&group_write_latency_);
      outcomes = engine_->Write(batches_, write);
    }
    Status refused;
    for (const Status& outcome : outcomes) {
      if (outcome.ok()) continue;
      if (outcome.code() != StatusCode::kResourceExhausted) return outcome;
      refused = outcome;
    }
    CHRONOLITH_FAILPOINT("group.written");
    std::size_t n = 0;
    std::size_t kept = 0;
    for (std::uint32_t m = g.writing; m != 0; m &= m - 1, ++n) {
      const auto i = static_cast<std::size_t>(std::countr_zero(m));
      if (outcomes[n].ok()) {
        FinishRows(i);
        g.writing &= ~(1U << i);
      } else {
        batches_[kept++] = batches_[n];
      }
    }
    batches_.resize(kept);
    if (kept > 0) return refused;
    if (g.left) CollectRows();
  }
  if (g.bytes > 0) filled_.store(g.header.group, std::memory_order_release);
  if (unsynced_bytes_.fetch_add(g.bytes, std::memory_order_acq_rel) == 0) {
    unsynced_since_ns_.store(NowNanos(), std::memory_order_relaxed);
    if (options_.sync_interval_ms > 0) {
      MutexLock lock(&syncer_mu_);
      syncer_cv_.Signal();
    }
  }
  if (options_.on_logged_bytes) options_.on_logged_bytes(g.bytes);
  return Status::Ok();
}

// A group takes a few microseconds, less than going to sleep and being woken: look again for that long first. A lead that falls
// free is left for a moment to who led last: it has the engine's state in its cache, and what it writes next shares the group that
// this thread waits for (two threads: 0.29 instead of 0.21 M writes/s). Where more threads wait than there are cores, giving the
// core to the next one costs a fraction of a sleep, and what it publishes meanwhile makes the group larger; elsewhere it would go
// to somebody who has nothing to do with us. Bounded, because the leader may wait for the disk. True: the group has completed, or
// nobody leads.
bool ShardedWAL::LookAgain(CommitToken token) {
  const std::uint64_t start = NowNanos();
  std::uint64_t free_since = 0;
  for (int looks = 1;; ++looks) {
    if (completed_.load(std::memory_order_acquire) >= token.generation) return true;
    const bool free = leader_.load(std::memory_order_relaxed) == 0;
    if (free && Crowded()) return true;
    Pause();
    if (looks % kLooks != 0) continue;
    const std::uint64_t now = NowNanos();
    if (free) {
      if (free_since == 0) free_since = now;
      if (now - free_since >= kGraceNanos) return true;
      continue;
    }
    free_since = 0;
    if (Crowded()) {
      if (looks >= kCrowdedLooks) return false;
      sched_yield();
    } else if (now - start >= kSpinNanos) {
      return false;
    }
  }
}

Status ShardedWAL::WaitLogged(CommitToken token, Deadline deadline) { return WaitLoggedFor(token, deadline, Patience()); }

Status ShardedWAL::WaitLoggedFor(CommitToken token, Deadline deadline, std::chrono::milliseconds wait) {
  Deadline patience = kNoDeadline;  // from the first look at a stall on, for one attempt to write at least
  while (true) {
    if (completed_.load(std::memory_order_seq_cst) >= token.generation) return Status::Ok();
    Deadline until = deadline;
    bool stall = false;  // and it is not time to try again
    const std::uint32_t trouble = trouble_.load(std::memory_order_acquire);
    if (trouble != 0) [[unlikely]] {
      if ((trouble & kFailed) != 0) return failure();
      const Deadline now = std::chrono::steady_clock::now();
      patience = std::min(patience, now + (InVain() ? 2 * kRetryInterval : std::max(wait, 2 * kRetryInterval)));
      stall = now < RetryTime();
      // Where both are over, the earlier counts: a deadline is told below.
      if (now >= patience && patience <= deadline && (stall || leader_.load(std::memory_order_relaxed) != 0)) return StallReason();
      // A leader that finds no room again wakes nobody, nor does who cancels.
      until = std::min({deadline, patience, stall ? RetryTime() : now + kRetryInterval});
    }
    if (!stall && TryLead()) {
      LeadAndRelease();
      continue;
    }
    const WaiterCount waiter(&waiting_);
    if (!stall && LookAgain(token)) continue;
    WakeWord& w = wake_[token.generation & 3];
    w.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const std::uint32_t seen = w.word.load(std::memory_order_seq_cst);
    // Who tells of trouble changes trouble_ before the words: where `seen` is new already, trouble_ is too.
    if (completed_.load(std::memory_order_seq_cst) < token.generation && trouble_.load(std::memory_order_seq_cst) == trouble &&
        (stall || leader_.load(std::memory_order_seq_cst) != 0)) {
      FutexWait(&w.word, seen, until);
    }
    const std::uint32_t others = w.sleepers.fetch_sub(1, std::memory_order_seq_cst) - 1;
    if (deadline != kNoDeadline && std::chrono::steady_clock::now() >= deadline &&
        completed_.load(std::memory_order_seq_cst) < token.generation) {
      if (others > 0) {  // the wake-up that was meant to make this thread the leader goes to the next
        w.word.fetch_add(1, std::memory_order_seq_cst);
        FutexWake(&w.word, 1);
      }
      const std::string why = stalled() ? "; " + StallReason().message() : "";
      return DeadlineExceeded("the write is queued but was not logged before its deadline" + why);
    }
  }
}

}  // namespace chronolith

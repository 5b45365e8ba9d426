#include "wal/sharded_wal.h"

#include <utility>

#include "base/coding.h"
#include "base/failpoint.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kCommitterIdle = 0;
constexpr std::uint32_t kCommitterTold = 1;
constexpr std::uint32_t kCommitterUrgent = 2;

}  // namespace

ShardedWAL::ShardedWAL(KvEngine* engine, std::vector<FamilyId> families, const ShardedWALOptions& options)
    : engine_(engine), options_(options) {
  for (std::size_t i = 0; i < families.size(); ++i) {
    shards_.push_back(std::make_unique<WALShard>(static_cast<ShardId>(i), families[i], options.ring_bytes, &queued_));
  }
}

ShardedWAL::~ShardedWAL() { (void)Stop(); }

void ShardedWAL::Restore(ShardId id, const WalEnd& end, Lsn next_lsn, std::uint64_t epoch,
                         const std::vector<std::pair<Lsn, std::uint64_t>>& rows) {
  WALShard& s = *shards_[id];
  s.epoch_ = epoch;
  s.last_lsn_ = next_lsn - 1;
  s.synced_lsn_ = next_lsn - 1;
  s.logged_lsn_ = next_lsn - 1;
  s.trimmed_to_ = end.trimmed_to;
  MutexLock lock(&s.rows_mu_);
  s.rows_.clear();
  s.row_bytes_ = 0;
  for (const auto& [first, bytes] : rows) {
    s.rows_.push_back({first, bytes});
    s.row_bytes_ += bytes;
  }
}

void ShardedWAL::Skip(ShardId id, Lsn lsns) {
  WALShard& s = *shards_[id];
  s.last_lsn_ += lsns;
  s.logged_lsn_ += lsns;
  s.synced_lsn_ += lsns;
}

void ShardedWAL::Start() {
  started_threads_ = true;
  {
    MutexLock lock(&callbacks_mu_);
    callbacks_ended_ = false;
  }
  committer_ = std::thread([this] { CommitterLoop(); });
  syncer_ = std::thread([this] { SyncerLoop(); });
}

Status ShardedWAL::Stop() {
  if (!started_threads_) return Status::Ok();
  started_threads_ = false;
  EndCallbacks();
  Status status = WaitSynced(Ticket(), kNoDeadline);
  stop_.store(true);
  TellCommitter();
  {
    MutexLock lock(&syncer_mu_);
    syncer_cv_.SignalAll();
  }
  committer_.join();
  syncer_.join();
  return status;
}

// ---- Failure ----

void ShardedWAL::Fail(const Status& status) {
  {
    MutexLock lock(&failure_mu_);
    if (failure_.ok()) {
      failure_ = Unavailable("the log failed, nothing is acknowledged until the store is reopened: " + status.ToString());
      const LogLevel level = status.code() == StatusCode::kCancelled ? LogLevel::kInfo : LogLevel::kError;
      if (options_.logger) options_.logger->Log(level, failure_.message());
    }
  }
  trouble_.fetch_or(kFailed, std::memory_order_seq_cst);
  for (WakeWord& w : wake_) {
    w.word.fetch_add(1, std::memory_order_seq_cst);
    FutexWakeAll(&w.word);
  }
  {
    MutexLock lock(&sync_mu_);
    sync_cv_.SignalAll();
  }
  TellCommitter();
  if (options_.on_failed) options_.on_failed();
}

Status ShardedWAL::failure() const {
  MutexLock lock(&failure_mu_);
  return failure_;
}

// ---- Room, and the committer ----

Status ShardedWAL::Reserve(ShardId id, std::uint64_t bytes, Deadline deadline) {
  WALShard& s = *shards_[id];
  const std::optional<std::uint64_t> used = s.ring_.Reserve(bytes);
  if (!used) [[unlikely]]
    return ReserveSlow(&s, bytes, deadline);
  if (*used > s.ring_.capacity() / 2 && committer_word_.load(std::memory_order_relaxed) != kCommitterUrgent) {
    committer_word_.store(kCommitterUrgent);
    FutexWake(&committer_word_, 1);
  }
  return failed() ? failure() : Status::Ok();
}

Status ShardedWAL::ReserveSlow(WALShard* s, std::uint64_t bytes, Deadline deadline) {
  if (bytes > s->ring_.capacity()) {
    return ResourceExhausted("a record of " + std::to_string(bytes) + " bytes does not fit the ring of shard " +
                             std::to_string(s->shard()) + " (ring_bytes)");
  }
  s->full_waits_.Add();
  deadline = std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.backpressure_wait_ms));
  while (true) {
    if (failed()) return failure();
    if (s->ring_.Reserve(bytes)) return Status::Ok();
    if (std::chrono::steady_clock::now() >= deadline) {
      return ResourceExhausted("the ring of shard " + std::to_string(s->shard()) + " stayed full for " +
                               std::to_string(options_.backpressure_wait_ms) +
                               " ms, as long as a write waits, or until the deadline");
    }
    if (const Status status = WaitLogged(Ticket(), deadline); !status.ok() && status.code() != StatusCode::kDeadlineExceeded) {
      return status;
    }
  }
}

void ShardedWAL::TellCommitter() {
  committer_word_.store(kCommitterUrgent);
  FutexWakeAll(&committer_word_);
}

void ShardedWAL::NotifyQueued() {
  if (committer_word_.load(std::memory_order_seq_cst) != kCommitterIdle) return;
  std::uint32_t idle = kCommitterIdle;
  if (committer_word_.compare_exchange_strong(idle, kCommitterTold)) FutexWake(&committer_word_, 1);
}

void ShardedWAL::CommitterLoop() {
  while (!stop_.load()) {
    FutexWait(&committer_word_, kCommitterIdle);
    const Deadline until = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.commit_interval_ms);
    while (!stop_.load() && committer_word_.load() == kCommitterTold && std::chrono::steady_clock::now() < until) {
      FutexWait(&committer_word_, kCommitterTold, until);
    }
    committer_word_.store(kCommitterIdle);
    if ((AnythingQueued() || stalled()) && !failed()) {
      (void)WaitLogged(Ticket(), std::chrono::steady_clock::now() + 2 * kRetryInterval);
      if (AnythingQueued() || stalled()) committer_word_.store(kCommitterUrgent);  // callbacks come in between
    }
    RunCallbacks();
  }
}

// ---- Sync ----

Status ShardedWAL::SyncOnce() {
  const std::uint64_t target = completed_.load(std::memory_order_seq_cst);
  const std::uint64_t filled = filled_.load(std::memory_order_acquire);
  std::array<Lsn, 32> lsns;
  for (std::size_t i = 0; i < shards_.size(); ++i) lsns[i] = shards_[i]->logged_lsn();
  const std::uint64_t bytes = unsynced_bytes_.load(std::memory_order_acquire);
  CHRONOLITH_FAILPOINT("sync.begin");
  Status status;
  {
    ScopedTimer timer(&sync_latency_);
    status = engine_->SyncLog();
  }
  if (!status.ok()) return status;
  CHRONOLITH_FAILPOINT("sync.done");
  for (std::size_t i = 0; i < shards_.size(); ++i) {  // a shard that was restored meanwhile is further than it was then
    std::atomic<Lsn>& synced = shards_[i]->synced_lsn_;
    if (synced.load(std::memory_order_relaxed) < lsns[i]) synced.store(lsns[i], std::memory_order_release);
  }
  synced_filled_.store(filled, std::memory_order_release);
  synced_.store(target, std::memory_order_seq_cst);
  unsynced_since_ns_.store(NowNanos(), std::memory_order_relaxed);
  unsynced_bytes_.fetch_sub(bytes, std::memory_order_acq_rel);
  return Status::Ok();
}

Status ShardedWAL::WaitSynced(CommitToken token, Deadline deadline) { return WaitSyncedFor(token, deadline, Patience()); }

Status ShardedWAL::SyncAll(std::chrono::milliseconds patience) {
  return WaitSyncedFor(Ticket(), kNoDeadline, std::min(patience, Patience()));
}

Status ShardedWAL::WaitSyncedFor(CommitToken token, Deadline deadline, std::chrono::milliseconds patience) {
  if (Status status = WaitLoggedFor(token, deadline, patience); !status.ok()) return status;
  while (true) {
    {
      MutexLock lock(&sync_mu_);
      while (syncing_ && synced_.load() < token.generation && !failed()) {
        if (!sync_cv_.WaitUntil(&sync_mu_, deadline))
          return DeadlineExceeded("the write is logged but was not synced before its deadline");
      }
      if (synced_.load() >= token.generation) return Status::Ok();
      if (failed()) return failure();
      syncing_ = true;
    }
    const Status status = SyncOnce();
    if (!status.ok()) Fail(status);
    {
      MutexLock lock(&sync_mu_);
      syncing_ = false;
      sync_cv_.SignalAll();
    }
    if (callback_count_.load(std::memory_order_seq_cst) > 0) {
      committer_word_.store(kCommitterUrgent);
      FutexWakeAll(&committer_word_);
    }
  }
}

Status ShardedWAL::Wait(CommitToken token, AckLevel level, Deadline deadline) {
  switch (level) {
    case AckLevel::kQueued:
      return *Outcome(token, level);
    case AckLevel::kLogged:
      return WaitLogged(token, deadline);
    case AckLevel::kSynced:
      return WaitSynced(token, deadline);
  }
  return InvalidArgument("unknown acknowledgement level");
}

Status ShardedWAL::SyncPast(ShardId id, Lsn lsn) {
  if (shards_[id]->synced_lsn() >= lsn) return Status::Ok();
  return WaitSynced(Ticket(), kNoDeadline);
}

void ShardedWAL::SyncerLoop() {
  if (options_.sync_interval_ms <= 0) return;
  while (true) {
    {
      MutexLock lock(&syncer_mu_);
      while (!stop_.load() && unsynced_bytes_.load() == 0) syncer_cv_.Wait(&syncer_mu_);
      const Deadline until = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.sync_interval_ms);
      while (!stop_.load() && std::chrono::steady_clock::now() < until) {
        if (!syncer_cv_.WaitUntil(&syncer_mu_, until)) break;
      }
      if (stop_.load()) return;
    }
    if (failed()) return;
    (void)WaitSynced({completed_.load(std::memory_order_seq_cst)}, kNoDeadline);  // an error is kept by Fail
  }
}

// ---- Callbacks ----

std::optional<Status> ShardedWAL::Outcome(CommitToken token, AckLevel level) const {
  const std::uint64_t reached = (level == AckLevel::kSynced ? synced_ : completed_).load();
  if (reached >= token.generation) return Status::Ok();
  if (failed()) return failure();
  if (level == AckLevel::kQueued) return Status::Ok();
  return std::nullopt;
}

std::optional<Status> ShardedWAL::OnReached(CommitToken token, AckLevel level, std::function<void(Status)>* done) {
  {
    MutexLock lock(&callbacks_mu_);
    // Who is told at once that a write is queued would write and ask again, without end.
    if (callbacks_ended_) {
      const AckLevel least = std::max(level, AckLevel::kLogged);
      return Outcome(token, least).value_or(Unavailable("the store is being closed or reopened"));
    }
    callbacks_.push_back({token, level, std::move(*done)});
    callback_count_.fetch_add(1);
  }
  TellCommitter();
  return std::nullopt;
}

void ShardedWAL::EndCallbacks() {
  {
    MutexLock lock(&callbacks_mu_);
    if (callbacks_ended_) return;
  }
  // An error is kept by Fail, and told below.
  const Status status = WaitSynced(Ticket(), kNoDeadline);
  if (status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kCancelled) Fail(status);
  std::vector<Callback> left;
  {
    MutexLock lock(&callbacks_mu_);
    callbacks_ended_ = true;
    while (callbacks_running_) callbacks_idle_.Wait(&callbacks_mu_);
    left.swap(callbacks_);
    callback_count_.store(0);
  }
  for (Callback& c : left) c.done(Outcome(c.token, c.level).value_or(Unavailable("the store is being closed or reopened")));
}

// The committer's.
void ShardedWAL::RunCallbacks() {
  while (RunReadyCallbacks() && !failed() && !stop_.load()) (void)WaitSynced({completed_.load()}, kNoDeadline);
  if (failed() || stop_.load()) return;
  if (callback_count_.load() > 0 && completed_.load() == started_.load() && TryLead()) LeadAndRelease();
}

bool ShardedWAL::RunReadyCallbacks() {
  if (callback_count_.load() == 0) return false;
  std::vector<std::pair<Callback, Status>> ready;
  bool wants_sync = false;
  {
    MutexLock lock(&callbacks_mu_);
    if (callbacks_ended_) return false;  // EndCallbacks runs them
    std::vector<Callback> left;
    for (Callback& c : callbacks_) {
      if (std::optional<Status> outcome = Outcome(c.token, c.level)) {
        ready.emplace_back(std::move(c), std::move(*outcome));
      } else {
        wants_sync = wants_sync || (c.level == AckLevel::kSynced && completed_.load() >= c.token.generation);
        left.push_back(std::move(c));
      }
    }
    callbacks_.swap(left);
    callback_count_.store(static_cast<std::uint32_t>(callbacks_.size()));
    callbacks_running_ = true;
  }
  for (auto& [c, outcome] : ready) c.done(outcome);
  ready.clear();  // what they hold goes before anybody is told that none runs
  {
    MutexLock lock(&callbacks_mu_);
    callbacks_running_ = false;
    callbacks_idle_.SignalAll();
    // Tokens of a generation that nobody leads: the committer does.
    if (!wants_sync && !failed() && !callbacks_.empty()) committer_word_.store(kCommitterTold);
  }
  return wants_sync;
}

// ---- Trim ----

Status ShardedWAL::Trim(ShardId id, Lsn lsn) {
  WALShard& s = *shards_[id];
  if (options_.archiver) lsn = Archive(&s, lsn);
  Lsn trimmed_to = 0;
  std::size_t rows = 0;
  {
    MutexLock lock(&s.rows_mu_);
    while (rows + 1 < s.rows_.size() && s.rows_[rows + 1].first_lsn <= lsn + 1) ++rows;
    // A leader lists its rows before it raises logged_lsn: one that is listed already and not counted yet stays.
    const Lsn logged = s.logged_lsn();
    if (rows + 1 == s.rows_.size() && logged <= lsn && s.rows_[rows].first_lsn <= logged) ++rows;
    if (rows == 0) return Status::Ok();
    trimmed_to = rows < s.rows_.size() ? s.rows_[rows].first_lsn - 1 : logged;
  }
  const std::string begin = WalKey(0);
  const std::string end = WalKey(trimmed_to + 1);
  const std::string state = EncodeWalState(id, trimmed_to);
  const std::array<Op, 2> ops = {Op{Op::Type::kDeleteRange, begin, end}, Op{Op::Type::kPut, kWalStateKey, state}};
  const Batch batch{s.family_, {}, s.epoch_, ops};
  EngineWriteOptions write;
  write.durability = Durability::kLogged;
  CHRONOLITH_FAILPOINT("trim.begin");
  const Outcomes outcomes = engine_->Write({&batch, 1}, write);
  if (!outcomes[0].ok()) return outcomes[0];
  CHRONOLITH_FAILPOINT("trim.logged");
  s.trimmed_to_.store(trimmed_to, std::memory_order_relaxed);
  MutexLock lock(&s.rows_mu_);
  for (; rows > 0; --rows) {
    s.row_bytes_ -= s.rows_.front().bytes;
    s.rows_.pop_front();
  }
  return Status::Ok();
}

Status ShardedWAL::FlushTrimmed() {
  std::vector<FamilyId> families;
  for (const auto& s : shards_) families.push_back(s->family_);
  CHRONOLITH_FAILPOINT("trim.flush");
  return engine_->Flush(families);
}

std::uint64_t ShardedWAL::PinnedBytes() const {
  std::uint64_t bytes = 0;
  for (const auto& s : shards_) {
    MutexLock lock(&s->rows_mu_);
    bytes += s->row_bytes_;
  }
  return bytes;
}

// ---- Stats ----

void ShardedWAL::FillStats(ShardId id, ShardStats* stats) const {
  const WALShard& s = *shards_[id];
  stats->last_lsn = s.last_lsn();
  stats->logged_lsn = s.logged_lsn();
  stats->synced_lsn = s.synced_lsn();
  stats->trimmed_to = s.trimmed_to();
  stats->epoch = s.epoch_;
  stats->wal_records = s.records_.Get();
  stats->wal_bytes = s.bytes_.Get();
  stats->ring_bytes_queued = s.ring_.QueuedBytes();
  stats->ring_full_waits = s.full_waits_.Get();
  stats->groups = s.groups_.Get();
  stats->group_records = s.group_records_.Get();
  stats->wal_archived_bytes = s.archived_bytes_.Get();
  stats->wal_archive_gap_bytes = s.archive_gap_bytes_.Get();
  stats->wal_archive_backlog_bytes = s.archive_backlog_.load(std::memory_order_relaxed);
  MutexLock lock(&s.rows_mu_);
  stats->wal_bytes_pinned = s.row_bytes_;
}

void ShardedWAL::FillStats(StorageStats* stats) const {
  stats->group_write_latency = group_write_latency_.Snapshot();
  stats->sync_latency = sync_latency_.Snapshot();
  stats->unsynced_bytes = unsynced_bytes_.load();
  stats->unsynced_age_ms =
      stats->unsynced_bytes == 0 ? 0 : static_cast<std::int64_t>((NowNanos() - unsynced_since_ns_.load()) / 1'000'000);
  stats->log_failed = failed();
  stats->stalled_groups = stalled_groups_.Get();
}

}  // namespace chronolith

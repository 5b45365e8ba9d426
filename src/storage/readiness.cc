// Which shards serve, and how they come to: recovery of all shards, on the thread that opens the store or, with
// Options::wait_for_replay off, on the upkeep thread while those that have been recovered serve.
//
// A shard serves from the moment at which its epoch's first record is in the ring: every later record of it lies behind that one in
// the log. Upkeep waits for all shards: a checkpoint, a compaction and the floor are the store's.
#include <algorithm>
#include <thread>

#include "storage/core.h"
#include "storage/log_judge.h"

namespace chronolith {
namespace {

constexpr std::chrono::milliseconds kCancelLook{50};  // how often a query that waits looks whether it was cancelled

// What a shard's log adds to its state rows of what the whole store must know before one shard serves.
class Outlook : public WalVisitor {
 public:
  explicit Outlook(const StoredState& stored)
      : floor_(stored.chunks.floor), series_(stored.index.series), index_applied_(stored.index.applied_lsn) {}
  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView& record) override {
    Status status;
    if (record.type == RecordType::kFloor) {
      Timestamp floor = kMinTimestamp;
      status = DecodeFloor(record.body, &floor);
      floor_ = std::max(floor_, floor);
    } else if (record.type == RecordType::kSeries && lsn > index_applied_) {
      status = DecodeSeries(record.body, &created_);
      series_ += created_.size();
    } else if (record.type == RecordType::kRemoveSeries && lsn > index_applied_) {
      status = DecodeRemoveSeries(record.body, &removed_);
      series_ -= removed_.size();
    }
    return status;
  }
  Timestamp floor() const { return floor_; }
  std::uint64_t series() const { return series_; }

 private:
  Timestamp floor_;
  std::uint64_t series_;
  const Lsn index_applied_;
  std::vector<SeriesRecordEntry> created_;
  std::vector<Ordinal> removed_;
};

}  // namespace

void Core::CreateLog() {
  cache_ = std::make_unique<PostingsCache>(options_.postings_cache_bytes);
  std::vector<FamilyId> families;
  for (const auto& shard : shards_) families.push_back(shard->wal_family);
  ShardedWALOptions wal_options{.ring_bytes = options_.ring_bytes,
                                .commit_interval_ms = options_.commit_interval_ms,
                                .sync_interval_ms = options_.sync_interval_ms,
                                .backpressure_wait_ms = options_.backpressure_wait_ms,
                                .clock = options_.clock,
                                .logger = options_.logger,
                                .archiver = options_.log_archiver,
                                .archive_backlog_bytes = options_.log_archive_backlog_bytes,
                                .accept_data_loss = options_.accept_data_loss,
                                .on_failed = [this] { WakeAdmitted(); },
                                .on_stalled = [this] { AskForCheckpoint(); },
                                .on_logged_bytes = [this](std::uint64_t bytes) { OnLoggedBytes(bytes); }};
  wal_ = std::make_unique<ShardedWAL>(log_engine_.get(), families, wal_options);
  ReserveForReplay();
  if (serve_early_) wal_->Start();
}

Status Core::RecoverAll() {
  const Status status = RecoverAllOnce();
  MutexLock lock(&ready_mu_);
  if (status.ok()) {
    all_serve_.store(true, std::memory_order_release);
  } else {
    recovery_failure_ = Unavailable("the store could not be recovered, reopening tries again: " + status.ToString());
    if (serve_early_ && !stop_replay_.load()) {
      Log(LogLevel::kError, recovery_failure_.message());
      wal_->Fail(recovery_failure_);  // what serves already must not be acknowledged for a store that nobody keeps up
    }
  }
  ready_cv_.SignalAll();
  return status;
}

Status Core::RecoverAllOnce() {
  if (Status status = FindEpochs(); !status.ok()) return status;
  const std::uint64_t start = NowNanos();
  Timestamp floor = kMinTimestamp;
  const bool one_by_one = serve_early_ && LogsAreWhole(&floor);
  const Status recovered = ForEachShard([&](Shard* shard) {
    Status status = RecoverOrQuarantine(shard, EarlierOf(*shard));
    if (!one_by_one || !status.ok()) return status;
    if (shard->quarantine.ok()) {
      status = BeginEpoch(shard);
      if (status.ok() && shard->chunks->tombstones().floor() < floor) status = LogFloor(shard, floor);
    }
    if (status.ok()) Serve(shard);
    return status;
  });
  if (!recovered.ok()) return recovered;
  if (!one_by_one) QuarantineSuspects();
  if (Status status = CheckQuarantine(); !status.ok()) return status;
  if (Status status = CheckLogAgain(); !status.ok()) return status;
  replay_seconds_.store(static_cast<double>(NowNanos() - start) * 1e-9);
  std::uint64_t replayed = 0;
  for (const auto& shard : shards_) replayed += shard->replayed_bytes.load();
  bytes_since_checkpoint_.fetch_add(replayed);
  if (replayed > 0)
    Log(LogLevel::kInfo,
        "replayed " + std::to_string(replayed) + " bytes of log in " + std::to_string(replay_seconds_.load()) + " s");

  if (!options_.read_only) {
    if (!serve_early_) wal_->Start();
    if (!one_by_one) {
      for (const auto& shard : shards_) {
        if (!shard->quarantine.ok()) continue;
        if (Status status = BeginEpoch(shard.get()); !status.ok()) return status;
      }
    }
    if (Status status = SyncLog(); !status.ok()) return status;
  }
  if (Status status = AgreeOnFloor(); !status.ok()) return status;
  if (!one_by_one) {
    for (const auto& shard : shards_) Serve(shard.get());
  }
  SettleMemoryAfterOpen();
  if (!options_.read_only) LookAtDisk();
  return FinishLoss();
}

// Calls `work` for each shard, several at a time; the status of all that failed.
Status Core::ForEachShard(const std::function<Status(Shard*)>& each) {
  std::atomic<std::size_t> next{0};
  std::vector<Status> statuses(shards_.size());
  const auto work = [&] {
    for (std::size_t i = next.fetch_add(1); i < shards_.size(); i = next.fetch_add(1)) statuses[i] = each(shards_[i].get());
  };
  std::vector<std::thread> threads;
  const std::size_t n = std::min<std::size_t>(static_cast<std::size_t>(options_.background_threads), shards_.size());
  ThreadBudget* const budget = options_.thread_budget.get();
  for (std::size_t i = 1; i < n && (budget == nullptr || budget->TryAcquire()); ++i) {
    threads.emplace_back([&work, budget] {
      work();
      if (budget != nullptr) budget->Release();
    });
  }
  work();
  for (std::thread& thread : threads) thread.join();
  std::string problems;
  Status first;
  for (const Status& status : statuses) {
    if (status.ok()) continue;
    if (first.ok()) first = status;
    problems.append(problems.empty() ? "" : "; ").append(status.message());
  }
  return first.ok() ? first : Status(first.code(), problems);
}

// Where the log of one shard lacks something, those of others may lack their ends unseen (QuarantineSuspects): which, can be told
// only when all have been read, and nothing may serve before. Nor before the store's floor is known, and how many series it has.
// Costs reading the log twice, without replaying it the first time.
bool Core::LogsAreWhole(Timestamp* floor) {
  std::vector<Timestamp> floors(shards_.size(), kMinTimestamp);
  const Status whole = ForEachShard([&](Shard* shard) {
    const JudgedShard families{shard->id, shard->wal_family, shard->index_family, shard->chunk_family};
    const Result<StoredState> stored = ReadStoredState(data_engine_.get(), families);
    if (!stored.ok()) return stored.status();
    Outlook outlook(*stored);
    WalEnd end;
    const Status read =
        ReadWal(log_engine_.get(), shard->wal_family, shard->id, stored->least(), &stop_replay_, &outlook, nullptr, &end);
    if (!read.ok()) return read;
    floors[shard->id] = outlook.floor();
    if (stored->damaged) return read;  // the shard will be quarantined, and says nothing of the others' logs
    if (std::max(end.last_lsn, end.trimmed_to) < stored->most() || end.trimmed_to > stored->least())
      return DataLoss("records are missing");
    SetSeries(shard, outlook.series());
    return read;
  });
  *floor = *std::max_element(floors.begin(), floors.end());
  return whole.ok();
}

void Core::Serve(Shard* shard) {
  MutexLock lock(&ready_mu_);
  shard->serving.store(true, std::memory_order_release);
  ready_cv_.SignalAll();
}

// ---- Waiting ----

// Which shards do not serve yet, and how far they are.
std::string Core::Replaying() const {
  std::string text;
  double left = 0;
  for (const auto& shard : shards_) {
    if (shard->serving.load()) continue;
    const std::uint64_t expected = shard->replay_records_expected.load();
    text += (text.empty() ? "" : ", ") + std::to_string(shard->id);
    if (expected > 0) text += " (" + std::to_string(100 * std::min(shard->replayed_records.load(), expected) / expected) + " %)";
    left = std::max(left, shard->replay_seconds_left.load());
  }
  if (text.empty()) return "the store is being opened: try again";
  return "still being replayed: shard " + text + ", about " + std::to_string(static_cast<std::uint64_t>(left + 1)) +
         " s left: try again";
}

void Core::EndWaits() {
  MutexLock lock(&ready_mu_);
  stop_replay_.store(true);
  ready_cv_.SignalAll();
}

Status Core::WhyNeverReady() const {
  return stop_replay_.load() ? Unavailable("the store is being closed or reopened") : recovery_failure_;
}

Status Core::Await(const Shard& shard, Deadline deadline) const {
  if (!shard.serving.load(std::memory_order_acquire)) [[unlikely]] {
    MutexLock lock(&ready_mu_);
    while (!shard.serving.load()) {
      if (Status status = WhyNeverReady(); !status.ok()) return status;
      if (!ready_cv_.WaitUntil(&ready_mu_, deadline)) return ResourceExhausted(Replaying());
    }
  }
  return shard.quarantine;
}

Deadline Core::ReadyDeadline(Deadline deadline) const {
  if (AllServe()) [[likely]]
    return deadline;
  return std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.backpressure_wait_ms));
}

Status Core::AwaitAll(Deadline deadline, const std::atomic<bool>* cancelled) const {
  if (AllServe()) [[likely]]
    return Status::Ok();
  MutexLock lock(&ready_mu_);
  while (!AllServe()) {
    if (Status status = WhyNeverReady(); !status.ok()) return status;
    if (cancelled != nullptr && cancelled->load()) return Cancelled("the caller cancelled");
    const Deadline now = std::chrono::steady_clock::now();
    if (now >= deadline) return ResourceExhausted(Replaying());
    (void)ready_cv_.WaitUntil(&ready_mu_, cancelled == nullptr ? deadline : std::min(deadline, now + kCancelLook));
  }
  return Status::Ok();
}

}  // namespace chronolith

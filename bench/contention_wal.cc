// The log alone: records of one sample into ShardedWAL with 1, 4, 8 and 16 shards, against one global mutex around the engine.
#include <thread>

#include "base/mutex.h"
#include "bench/contention.h"
#include "wal/sharded_wal.h"

namespace chronolith::bench {
namespace {

// A log with an append lock a shard, as the store has one, and a thread that trims as the store's checkpoints do (but writes no
// data).
class Log {
 public:
  Log(const std::string& path, std::uint32_t shards) : append_(shards) {
    engine_ = OpenLogInstance(path, shards);
    const Options defaults;
    ShardedWALOptions options{
        .ring_bytes = defaults.ring_bytes,
        .commit_interval_ms = defaults.commit_interval_ms,
        .sync_interval_ms = defaults.sync_interval_ms,
        .backpressure_wait_ms = defaults.backpressure_wait_ms,
        .clock = Clock::System(),
        .logger = nullptr,
        .on_logged_bytes = [this](std::uint64_t n) { logged_bytes_.fetch_add(n, std::memory_order_relaxed); }};
    std::vector<FamilyId> families(shards);
    for (std::uint32_t i = 0; i < shards; ++i) families[i] = i;
    wal_ = std::make_unique<ShardedWAL>(engine_.get(), families, options);
    for (std::uint32_t i = 0; i < shards; ++i) {
      Check(engine_->AcquireEpoch(i, 1));
      wal_->Restore(i, {}, 1, 1, {});
    }
    wal_->Start();
    trimmer_ = std::thread([this] { TrimLoop(); });
  }
  ~Log() {
    stop_ = true;
    trimmer_.join();
    Check(wal_->Stop());
    wal_.reset();
    Check(engine_->Close());
  }

  std::uint64_t Write(AckLevel level, std::uint64_t series, std::size_t thread, const std::atomic<bool>& stop);
  void Drain() { Check(wal_->WaitLogged(wal_->Ticket(), kNoDeadline)); }
  LockWait lock_wait() const {
    std::vector<LockStats> locks;
    for (const Padded& a : append_) locks.push_back(a.mu.WriteStats("append"));
    return SumLocks(locks);
  }

 private:
  struct alignas(kCacheLine) Padded {
    MeasuredMutex mu;
  };

  void TrimLoop() {
    while (!stop_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (logged_bytes_ < Options().checkpoint_bytes) continue;
      logged_bytes_ = 0;
      for (ShardId i = 0; i < wal_->size(); ++i) Check(wal_->Trim(i, wal_->shard(i).logged_lsn()));
      Check(wal_->FlushTrimmed());
    }
  }

  std::unique_ptr<KvEngine> engine_;
  std::unique_ptr<ShardedWAL> wal_;
  std::vector<Padded> append_;
  std::atomic<std::uint64_t> logged_bytes_{0};
  std::atomic<bool> stop_{false};
  std::thread trimmer_;
};

std::uint64_t Log::Write(AckLevel level, std::uint64_t series, std::size_t thread, const std::atomic<bool>& stop) {
  FastRandom random(thread + 1);
  std::string record;
  std::uint64_t n = 0;
  for (; !stop.load(std::memory_order_relaxed); ++n) {
    const std::uint64_t pick = random.Below(series);
    const auto shard = static_cast<ShardId>(pick % wal_->size());
    const SampleEntry sample{static_cast<Ordinal>(pick / wal_->size()), 0, static_cast<Timestamp>(n), random.Uniform()};
    record.clear();
    AppendSamplesRecord({&sample, 1}, &record);
    Check(wal_->Reserve(shard, record.size(), kNoDeadline));
    {
      const MeasuredLock lock(&append_[shard].mu);
      wal_->shard(shard).Append(record, 1);
    }
    if (level == AckLevel::kQueued) {
      wal_->NotifyQueued();
    } else {
      Check(wal_->WaitLogged(wal_->Ticket(), kNoDeadline));
    }
  }
  return n;
}

RunResult RunLog(const ContentionOptions& options, std::uint32_t shards, AckLevel level) {
  const ScratchDirectory directory(options.directory);
  Log log(directory.path() + "/log", shards);
  RunResult result = Compete(
      options.table_threads, options.seconds,
      [&](std::size_t i, const std::atomic<bool>& stop) { return log.Write(level, options.series, i, stop); },
      [&] { log.Drain(); });
  result.lock = log.lock_wait();
  return result;
}

}  // namespace

Table WalTable(const ContentionOptions& options) {
  Table table("The log alone, one record of one sample a write, " + std::to_string(options.table_threads) + " threads",
              {"log", "level", "M writes/s", "x mutex", "us CPU a write", "lock wait s", "lock wait p99 us", "waits a write"});
  struct Variant {
    std::uint32_t shards;  // 0: the global mutex
    AckLevel level;
  };
  const Variant kVariants[] = {{0, AckLevel::kLogged}, {1, AckLevel::kLogged},  {4, AckLevel::kLogged},
                               {8, AckLevel::kLogged}, {16, AckLevel::kLogged}, {1, AckLevel::kQueued},
                               {4, AckLevel::kQueued}, {8, AckLevel::kQueued},  {16, AckLevel::kQueued}};
  std::vector<std::function<RunResult()>> runs;
  for (const Variant& v : kVariants) {
    runs.push_back([&options, v] {
      return v.shards == 0 ? RunGlobalMutexWrites(options, options.table_threads) : RunLog(options, v.shards, v.level);
    });
  }
  const std::vector<RunResult> results = Medians(options.rounds, runs);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const RunResult& r = results[i];
    const auto n = static_cast<double>(r.operations);
    const std::uint32_t shards = kVariants[i].shards;
    table.Add({shards == 0 ? "global mutex" : std::to_string(shards) + (shards == 1 ? " shard" : " shards"),
               std::string(kVariants[i].level == AckLevel::kLogged ? "logged" : "queued"), r.rate() * 1e-6,
               r.rate() / results[0].rate(), r.cpu_seconds * 1e6 / n, r.lock.wait.sum_seconds, r.lock.p99_us(),
               static_cast<double>(r.lock.wait.count) / n});
  }
  return table;
}

}  // namespace chronolith::bench

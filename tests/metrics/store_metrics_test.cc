// The metrics of a real store: a forced lock wait shows, and what a store exposes passes the same checks as the canned figures.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/mutex.h"
#include "chronolith/metrics.h"
#include "chronolith/storage.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kHoldNanos = 20'000'000;

// A clock whose readers wait while it is stopped. The committer reads it once a group: stopping it stops the log.
class StoppableClock : public Clock {
 public:
  std::int64_t NowMs() const override {
    MutexLock lock(&mu_);
    while (stopped_) started_.Wait(&mu_);
    return 1700000000000;
  }
  void Stop() {
    MutexLock lock(&mu_);
    stopped_ = true;
  }
  void Start() {
    MutexLock lock(&mu_);
    stopped_ = false;
    started_.SignalAll();
  }

 private:
  mutable Mutex mu_;
  mutable CondVar started_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

class StoreMetrics : public ::testing::Test {
 protected:
  StoreMetrics() {
    std::string path = ::testing::TempDir() + "chronolith_store_metrics_XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
    Open();
  }
  void Open() {
    Options options;
    options.engine = "memory";
    options.engines = engines_;
    options.shards = 1;
    options.ring_bytes = 64 << 10;
    options.clock = clock_;
    auto opened = Storage::Open(options, directory_ + "/db");
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    if (opened.ok()) store_ = std::move(*opened);
  }
  ~StoreMetrics() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  // More new series than the ring holds, in one call: with a stopped log the call waits for room, holding the lock "series".
  void CreateManySeries() {
    std::vector<Labels> labels;
    const std::string padding(100, 'x');
    for (int i = 0; i < 2000; ++i) labels.push_back({{"padding", padding}, {"series", std::to_string(next_series_++)}});
    std::vector<SeriesRef> refs;
    const WriteResult result = store_->NewAppender()->Refs(labels, &refs);
    EXPECT_TRUE(result.ok()) << result.status.ToString();
  }

  LockStats SeriesLock() const {
    const StorageStats stats = store_->Stats();
    for (const LockStats& lock : stats.shards.at(0).locks) {
      if (lock.name == "series") return lock;
    }
    ADD_FAILURE() << "the store has no lock of this name";
    return {};
  }

  // One creator waits for the other, for kHoldNanos after it was about to ask for the lock.
  void ForceOneWait() {
    const std::uint64_t full_waits = store_->Stats().shards.at(0).ring_full_waits;
    clock_->Stop();
    std::thread holder([this] { CreateManySeries(); });
    while (store_->Stats().shards.at(0).ring_full_waits == full_waits) std::this_thread::yield();
    std::atomic<bool> about_to_lock{false};
    std::thread waiter([&] {
      const std::unique_ptr<Appender> appender = store_->NewAppender();
      about_to_lock.store(true);
      EXPECT_TRUE(appender->Ref({{"waiter", std::to_string(next_waiter_++)}}).ok());
    });
    while (!about_to_lock.load()) std::this_thread::yield();
    for (const std::uint64_t start = NowNanos(); NowNanos() - start < kHoldNanos;) std::this_thread::yield();
    clock_->Start();
    holder.join();
    waiter.join();
  }

  std::string directory_;
  std::shared_ptr<EngineRegistry> engines_ = EngineRegistry::Default();  // the memory engine keeps its stores as long as this lives
  std::shared_ptr<StoppableClock> clock_ = std::make_shared<StoppableClock>();
  std::unique_ptr<Storage> store_;
  int next_series_ = 0;
  int next_waiter_ = 0;
};

double ValueAfter(const std::string& text, const std::string& series) {
  const std::size_t at = text.find(series + " ");
  EXPECT_NE(at, std::string::npos) << series;
  return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 1));
}

TEST_F(StoreMetrics, AForcedLockWaitIsSeenWithItsLength) {
  ASSERT_NE(store_, nullptr);
  const std::string count = R"(chronolith_wal_lock_wait_seconds_count{shard="0",lock="series"})";
  const std::string sum = R"(chronolith_wal_lock_wait_seconds_sum{shard="0",lock="series"})";
  CreateManySeries();
  EXPECT_EQ(ValueAfter(MetricsText(*store_), count), 0) << "nobody waited for a single creator";

  const std::uint64_t start = NowNanos();
  // The waiter may be delayed before it asks for the lock, and then waits for less: again, with new series.
  for (int attempt = 0; attempt < 100 && SeriesLock().wait.sum_seconds * 1e9 < kHoldNanos / 2; ++attempt) ForceOneWait();
  const double elapsed_seconds = static_cast<double>(NowNanos() - start) * 1e-9;

  const std::string text = MetricsText(*store_);
  EXPECT_GE(ValueAfter(text, count), 1);
  EXPECT_GE(ValueAfter(text, sum), kHoldNanos * 1e-9 / 2);
  EXPECT_LE(ValueAfter(text, sum), elapsed_seconds) << "one waited at a time";
  EXPECT_GE(ValueAfter(text, R"(chronolith_wal_ring_full_waits_total{shard="0"})"), 1);
}

TEST_F(StoreMetrics, WritesShowInTheFiguresOfTheirShard) {
  ASSERT_NE(store_, nullptr);
  const TimeSeries up{.labels = {{"__name__", "up"}}, .samples = {{1700000000000, 1}, {1700000001000, 0}}};
  ASSERT_TRUE(store_->Write(up).ok());
  const std::string text = MetricsText(*store_);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_head_appended_samples_total{shard="0"})"), 2);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_series{shard="0"})"), 1);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_wal_write_latency_seconds_count{shard="0",level="logged"})"), 1);
  EXPECT_GE(ValueAfter(text, R"(chronolith_wal_logged_lsn{shard="0"})"), 1);
  EXPECT_GE(ValueAfter(text, "chronolith_wal_group_write_seconds_count"), 1);
}

TEST_F(StoreMetrics, SeriesAreCountedAfterAReopen) {
  ASSERT_NE(store_, nullptr);
  for (const bool checkpoint : {false, true}) {
    SCOPED_TRACE(checkpoint);
    const TimeSeries up{.labels = {{"checkpoint", checkpoint ? "1" : "0"}}, .samples = {{1700000000000, 1}}};
    ASSERT_TRUE(store_->Write(up).ok());
    if (checkpoint) {
      ASSERT_TRUE(store_->Checkpoint().ok());
    }
    ASSERT_TRUE(store_->Close().ok());
    store_.reset();
    Open();
    ASSERT_NE(store_, nullptr);
    EXPECT_EQ(ValueAfter(MetricsText(*store_), R"(chronolith_index_series{shard="0"})"), checkpoint ? 2 : 1);
  }
}

TEST_F(StoreMetrics, NoSeriesAppearsTwice) {
  ASSERT_NE(store_, nullptr);
  std::set<std::string> seen;
  std::istringstream lines(MetricsText(*store_));
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("#") || seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
}

}  // namespace
}  // namespace chronolith

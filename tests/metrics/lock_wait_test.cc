// A lock wait of known length, forced and then seen in the exposition.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/counters.h"
#include "base/mutex.h"
#include "chronolith/metrics.h"
#include "tests/metrics/fake_storage.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kHoldNanos = 20'000'000;

// One writer or reader (`shared`) waits while this thread holds `mu` for kHoldNanos after the other is about to take it. The other
// may be delayed between telling so and asking for the lock: then it met a shorter wait, or none.
void ForceOneWait(MeasuredMutex* mu, bool shared) {
  std::atomic<bool> about_to_lock{false};
  std::thread waiter;
  {
    MeasuredLock hold(mu);
    waiter = std::thread([&] {
      about_to_lock.store(true);
      if (shared) {
        MeasuredReaderLock lock(mu);
      } else {
        MeasuredLock lock(mu);
      }
    });
    while (!about_to_lock.load()) std::this_thread::yield();
    for (const std::uint64_t start = NowNanos(); NowNanos() - start < kHoldNanos;) std::this_thread::yield();
  }
  waiter.join();
}

// Waits until half the holding time was seen in one wait. Returns how often it had to be tried.
int ForceKnownWait(MeasuredMutex* mu, bool shared) {
  for (int attempt = 1; attempt <= 200; ++attempt) {
    ForceOneWait(mu, shared);
    const LockStats stats = shared ? mu->ReadStats("") : mu->WriteStats("");
    if (stats.wait.sum_seconds * 1e9 >= static_cast<double>(kHoldNanos) / 2) return attempt;
  }
  return 0;
}

std::string Exposed(const MeasuredMutex& mu) {
  StorageStats stats;
  stats.shards.resize(1);
  stats.shards[0].locks = {mu.WriteStats("index_write"), mu.ReadStats("index_read")};
  return MetricsText(FakeStorage(stats));
}

double ValueAfter(const std::string& text, const std::string& series) {
  const std::size_t at = text.find(series + " ");
  EXPECT_NE(at, std::string::npos) << series;
  return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 1));
}

TEST(LockWait, AFreeLockShowsAcquisitionsAndNoWait) {
  MeasuredMutex mu;
  for (int i = 0; i < 5; ++i) MeasuredLock lock(&mu);
  const std::string text = Exposed(mu);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_acquisitions_total{shard="0",lock="write"})"), 5);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="write"})"), 0);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="read"})"), 0);
}

TEST(LockWait, AForcedWaitOfAWriterIsSeenWithItsLength) {
  MeasuredMutex mu;
  const int attempts = ForceKnownWait(&mu, /*shared=*/false);
  ASSERT_GT(attempts, 0);
  const std::string text = Exposed(mu);
  EXPECT_GE(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="write"})"), 1);
  EXPECT_GE(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_sum{shard="0",lock="write"})"), 0.010);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="read"})"), 0);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_acquisitions_total{shard="0",lock="write"})"), 2 * attempts);
}

TEST(LockWait, AForcedWaitOfAReaderIsCountedApart) {
  MeasuredMutex mu;
  const int attempts = ForceKnownWait(&mu, /*shared=*/true);
  ASSERT_GT(attempts, 0);
  const std::string text = Exposed(mu);
  EXPECT_GE(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="read"})"), 1);
  EXPECT_GE(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_sum{shard="0",lock="read"})"), 0.010);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_wait_seconds_count{shard="0",lock="write"})"), 0);
  EXPECT_EQ(ValueAfter(text, R"(chronolith_index_lock_acquisitions_total{shard="0",lock="read"})"), attempts);
}

}  // namespace
}  // namespace chronolith

#include "base/counters.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

namespace chronolith {
namespace {

TEST(DurationCell, PutsEachDurationBelowItsBucketsBound) {
  const struct {
    std::uint64_t nanos;
    std::size_t bucket;
  } rows[] = {
      {0, 0},
      {1, 0},
      {255, 0},
      {256, 1},
      {511, 1},
      {512, 2},
      {1023, 2},
      {1024, 3},
      {(256ULL << 10) - 1, 10},
      {256ULL << 10, 11},
      {(256ULL << 31) - 1, 31},
      {256ULL << 31, 31},
      {std::numeric_limits<std::uint64_t>::max() / 4, 31},
  };
  for (const auto& row : rows) {
    DurationCell cell;
    cell.Observe(row.nanos);
    const DurationHistogram h = cell.Snapshot();
    EXPECT_EQ(h.counts[row.bucket], 1U) << row.nanos;
    EXPECT_EQ(h.count, 1U);
    EXPECT_DOUBLE_EQ(h.sum_seconds, static_cast<double>(row.nanos) * 1e-9);
    if (row.bucket + 1 < DurationHistogram::kBuckets) {
      EXPECT_LT(static_cast<double>(row.nanos) * 1e-9, DurationHistogram::UpperBoundSeconds(static_cast<int>(row.bucket)));
    }
    if (row.bucket > 0) {
      EXPECT_GE(static_cast<double>(row.nanos) * 1e-9, DurationHistogram::UpperBoundSeconds(static_cast<int>(row.bucket) - 1));
    }
  }
}

TEST(DurationCell, LosesNothingBetweenThreads) {
  DurationCell cell;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cell, t] {
      for (int i = 0; i < 5000; ++i) cell.Observe(static_cast<std::uint64_t>(1000 * t));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const DurationHistogram h = cell.Snapshot();
  EXPECT_EQ(h.count, 20000U);
  EXPECT_NEAR(h.sum_seconds, 5000 * 6000e-9, 1e-12);
}

TEST(DurationHistogram, QuantileInterpolatesWithinItsBucket) {
  DurationHistogram h;
  EXPECT_EQ(h.Quantile(0.5), 0);
  h.counts[3] = 10;  // 1024..2048 ns
  h.counts[5] = 10;  // 4096..8192 ns
  h.count = 20;
  EXPECT_NEAR(h.Quantile(0.25), 1536e-9, 1e-12);
  EXPECT_NEAR(h.Quantile(0.5), 2048e-9, 1e-12);
  EXPECT_NEAR(h.Quantile(0.75), 6144e-9, 1e-12);
  EXPECT_NEAR(h.Quantile(1), 8192e-9, 1e-12);
  EXPECT_NEAR(h.Quantile(0), 1024e-9, 1e-12);
  EXPECT_EQ(h.Quantile(-1), h.Quantile(0));
  EXPECT_EQ(h.Quantile(7), h.Quantile(1));
}

TEST(DurationHistogram, QuantileNeverFallsAsItsRankRises) {
  DurationHistogram h;
  for (std::size_t i = 0; i < h.counts.size(); ++i) h.count += h.counts[i] = (i * 37) % 11;
  double last = 0;
  for (int i = 0; i <= 1000; ++i) {
    const double q = h.Quantile(i / 1000.0);
    ASSERT_GE(q, last) << i;
    last = q;
  }
  EXPECT_LE(last, DurationHistogram::UpperBoundSeconds(DurationHistogram::kBuckets - 1));
}

TEST(DurationHistogram, AddsBucketByBucket) {
  DurationCell a, b;
  a.Observe(100);
  b.Observe(100);
  b.Observe(1 << 20);
  DurationHistogram sum = a.Snapshot();
  sum.Add(b.Snapshot());
  EXPECT_EQ(sum.count, 3U);
  EXPECT_EQ(sum.counts[0], 2U);
  EXPECT_NEAR(sum.sum_seconds, (200 + (1 << 20)) * 1e-9, 1e-15);
}

}  // namespace
}  // namespace chronolith

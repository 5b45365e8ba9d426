#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "chunk/histogram_chunk.h"
#include "interop/otlp/exponential.h"
#include "interop/value_text.h"

namespace chronolith::interop::otlp {
namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void Fill(pb::ExponentialHistogramDataPoint::Buckets* buckets, std::int32_t offset, std::initializer_list<std::uint64_t> counts) {
  buckets->set_offset(offset);
  for (const std::uint64_t count : counts) buckets->add_bucket_counts(count);
}

pb::ExponentialHistogramDataPoint Point(std::int32_t scale, std::uint64_t count) {
  pb::ExponentialHistogramDataPoint point;
  point.set_scale(scale);
  point.set_count(count);
  point.set_sum(10);
  return point;
}

TEST(NativeHistogram, CountsBucketsByTheirUpperBounds) {
  auto point = Point(0, 7);
  Fill(point.mutable_positive(), 0, {1, 2, 3});  // (1,2], (2,4], (4,8]
  point.set_zero_count(1);
  const auto h = NativeHistogram(point);
  ASSERT_TRUE(h.ok()) << h.status().ToString();
  EXPECT_EQ(h->schema, 0);
  EXPECT_EQ(h->zero_count, 1U);
  EXPECT_EQ(h->zero_threshold, kDefaultZeroThreshold);
  EXPECT_THAT(h->positive_spans, ElementsAre(BucketSpan{1, 3}));
  EXPECT_THAT(h->positive_deltas, ElementsAre(1, 1, 1));
  const auto buckets = HistogramBuckets(Histogram(*h));
  ASSERT_EQ(buckets.size(), 4U);
  EXPECT_EQ(buckets[1].lower, 1);
  EXPECT_EQ(buckets[1].upper, 2);
  EXPECT_EQ(buckets[3].upper, 8);
  EXPECT_EQ(buckets[3].count, 3);
}

TEST(NativeHistogram, DownscalesByMergingNeighbours) {
  auto point = Point(10, 15);
  Fill(point.mutable_positive(), -1, {1, 2, 3, 4, 5});  // indices -1 .. 3; by four: -1, 0
  const auto h = NativeHistogram(point);
  ASSERT_TRUE(h.ok());
  EXPECT_EQ(h->schema, 8);
  EXPECT_THAT(h->positive_spans, ElementsAre(BucketSpan{0, 2}));
  EXPECT_THAT(h->positive_deltas, ElementsAre(1, 13));
}

TEST(NativeHistogram, FillsSmallGapsAndSkipsLargeOnes) {
  auto point = Point(2, 4);
  Fill(point.mutable_negative(), -3, {1, 0, 0, 1, 0, 0, 0, 2, 0});
  const auto h = NativeHistogram(point);
  ASSERT_TRUE(h.ok());
  EXPECT_THAT(h->negative_spans, ElementsAre(BucketSpan{-2, 4}, BucketSpan{3, 1}));
  EXPECT_THAT(h->negative_deltas, ElementsAre(1, -1, 0, 1, 1));
  EXPECT_TRUE(h->positive_spans.empty());
}

TEST(NativeHistogram, TakesTheThresholdAndTheMissingSum) {
  auto point = Point(-4, 0);
  point.clear_sum();
  point.set_zero_threshold(0.25);
  const auto h = NativeHistogram(point);
  ASSERT_TRUE(h.ok());
  EXPECT_EQ(h->schema, -4);
  EXPECT_EQ(h->zero_threshold, 0.25);
  EXPECT_EQ(h->sum, 0);
}

TEST(NativeHistogram, NoRecordedValueIsAStaleMarker) {
  auto point = Point(3, 9);  // whatever else it says
  point.set_flags(pb::DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK);
  const auto h = NativeHistogram(point);
  ASSERT_TRUE(h.ok());
  EXPECT_EQ(std::bit_cast<std::uint64_t>(h->sum), kStaleNaNBits);
  EXPECT_EQ(h->count, 0U);
}

TEST(NativeHistogram, RefusesWhatPrometheusHasNoPlaceFor) {
  const auto refusal = [](const pb::ExponentialHistogramDataPoint& point) {
    const auto h = NativeHistogram(point);
    return h.ok() ? std::string("taken") : h.status().message();
  };
  EXPECT_THAT(refusal(Point(-5, 0)), HasSubstr("below -4"));
  auto wrong_count = Point(0, 3);
  Fill(wrong_count.mutable_positive(), 0, {1, 1});
  EXPECT_THAT(refusal(wrong_count), HasSubstr("count is 3, the buckets hold 2"));
  auto far = Point(0, 1);
  Fill(far.mutable_positive(), std::numeric_limits<std::int32_t>::max() - 1, {1});
  EXPECT_THAT(refusal(far), HasSubstr("32-bit"));
  auto many = Point(0, 1);
  Fill(many.mutable_positive(), 0, {std::numeric_limits<std::uint64_t>::max(), 2});
  EXPECT_THAT(refusal(many), HasSubstr("63 bits"));
  auto half = Point(0, 1ULL << 63);
  Fill(half.mutable_positive(), 0, {1ULL << 63});
  EXPECT_THAT(refusal(half), HasSubstr("63 bits"));
}

// Whatever buckets and scale: each count is found in the bucket of Prometheus that holds the bucket's values, and the store takes
// it.
TEST(NativeHistogram, KeepsEachCountWhereItBelongs) {
  std::mt19937 random(20261122);
  for (int round = 0; round < 300; ++round) {
    const auto scale = std::uniform_int_distribution<std::int32_t>(-4, 20)(random);
    const auto offset = std::uniform_int_distribution<std::int32_t>(-500, 500)(random);
    auto point = Point(scale, 0);
    point.mutable_positive()->set_offset(offset);
    const int shift = std::max(0, scale - 8);
    std::map<std::int64_t, double> expected;  // index of Prometheus -> count
    std::uint64_t total = 0;
    for (int i = 0; i < 160; ++i) {
      const std::uint64_t count = random() % 3 == 0 ? random() % 1000 : 0;
      point.mutable_positive()->add_bucket_counts(count);
      total += count;
      const auto index = static_cast<std::int64_t>(std::floor(std::ldexp(offset + i, -shift))) + 1;
      if (count > 0) expected[index] += static_cast<double>(count);
    }
    point.set_count(total);
    const auto h = NativeHistogram(point);
    ASSERT_TRUE(h.ok()) << h.status().ToString();
    ASSERT_TRUE(ValidateHistogram(Histogram(*h)).ok()) << ValidateHistogram(Histogram(*h)).ToString();
    std::map<std::int64_t, double> found;
    std::int64_t index = 0, count = 0;
    std::size_t next = 0;
    for (const BucketSpan& span : h->positive_spans) {
      index += span.offset;
      for (std::uint32_t i = 0; i < span.length; ++i, ++index) {
        count += h->positive_deltas.at(next++);
        if (count > 0) found[index] = static_cast<double>(count);
      }
    }
    ASSERT_EQ(found, expected) << "round " << round << " scale " << scale << " offset " << offset;
  }
}

}  // namespace
}  // namespace chronolith::interop::otlp

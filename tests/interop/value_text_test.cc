#include "interop/value_text.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "interop/text_scan.h"

namespace chronolith::interop {
namespace {

TEST(FormatValue, WritesWhatParseValueReadsBack) {
  for (const double v : {0.0, -0.0, 1.0, 0.1, 1.0 / 3, 1e300, -5e-324, 123456789.0, std::numeric_limits<double>::infinity(),
                         -std::numeric_limits<double>::infinity(), std::bit_cast<double>(kStaleNaNBits)}) {
    double back = 0;
    ASSERT_TRUE(ParseValue(FormatValue(v), &back)) << FormatValue(v);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(v), std::bit_cast<std::uint64_t>(back)) << FormatValue(v);
  }
  EXPECT_EQ(FormatValue(std::nan("")), "NaN");
  EXPECT_EQ(FormatValue(1.5), "1.5");
}

TEST(FormatHistogram, ListsBucketsWithAbsoluteCounts) {
  IntHistogram h;
  h.schema = 1;
  h.zero_threshold = 0.001;
  h.zero_count = 2;
  h.count = 12;
  h.sum = 18.4;
  h.positive_spans = {{0, 2}, {1, 1}};
  h.positive_deltas = {1, 1, -1};
  h.negative_spans = {{1, 2}};
  h.negative_deltas = {3, 0};
  EXPECT_EQ(FormatHistogram(h),
            "{count:12, sum:18.4, [-2,-1.4142135623730951):3, [-1.4142135623730951,-1):3, [-0.001,0.001]:2, "
            "(0.7071067811865476,1]:1, (1,1.4142135623730951]:2, (2,2.8284271247461903]:1}");
}

TEST(FormatHistogram, UsesCustomBounds) {
  FloatHistogram h;
  h.schema = kCustomBucketsSchema;
  h.count = 6.5;
  h.sum = 2;
  h.positive_spans = {{0, 3}};
  h.positive_counts = {1, 2, 3.5};
  h.custom_values = {0.5, 1};
  EXPECT_EQ(FormatHistogram(h), "{count:6.5, sum:2, (-Inf,0.5]:1, (0.5,1]:2, (1,+Inf]:3.5}");
}

TEST(FormatHistogram, EndsEarlyWhereSpansGoBeyondTheBuckets) {
  FloatHistogram h;
  h.positive_spans = {{0, 4'000'000'000U}};
  h.positive_counts = {1};
  EXPECT_EQ(FormatHistogram(h), "{count:0, sum:0, (0.5,1]:1}");
}

}  // namespace
}  // namespace chronolith::interop

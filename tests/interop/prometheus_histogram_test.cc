#include "interop/prometheus_histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <string>
#include <vector>

#include "tests/chunk/random_histogram.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

IntHistogram Some(std::uint64_t count) {
  IntHistogram h;
  h.schema = 1;
  h.zero_threshold = 0x1p-128;
  h.zero_count = 1;
  h.count = count + 1;
  h.sum = 1.5 * static_cast<double>(count);
  h.positive_spans = {{0, 2}, {3, 1}};
  h.positive_deltas = {static_cast<std::int64_t>(count), -static_cast<std::int64_t>(count), 0};
  return h;
}

FloatHistogram AsFloat(const IntHistogram& from) {
  FloatHistogram h;
  h.reset_hint = from.reset_hint;
  h.schema = from.schema;
  h.zero_threshold = from.zero_threshold;
  h.zero_count = static_cast<double>(from.zero_count);
  h.count = static_cast<double>(from.count);
  h.sum = from.sum;
  h.positive_spans = from.positive_spans;
  double at = 0;
  for (const std::int64_t d : from.positive_deltas) h.positive_counts.push_back(at += static_cast<double>(d));
  return h;
}

std::vector<PrometheusHistogramChunk> Encode(const std::vector<HistogramSample>& samples) {
  PrometheusHistogramEncoder encoder;
  for (const HistogramSample& s : samples) encoder.Add(s.timestamp, s.histogram);
  return encoder.Finish();
}

std::vector<HistogramSample> Decode(const std::vector<PrometheusHistogramChunk>& chunks) {
  std::vector<HistogramSample> samples;
  for (const PrometheusHistogramChunk& c : chunks) {
    const std::size_t before = samples.size();
    EXPECT_EQ(DecodePrometheusHistograms(c.encoding, c.data,
                                         [&](HistogramSample s) { return samples.push_back(std::move(s)), Status::Ok(); }),
              Status::Ok());
    EXPECT_EQ(samples.size() - before, c.samples);
    if (samples.size() == before) continue;
    EXPECT_EQ(samples[before].timestamp, c.min_time);
    EXPECT_EQ(samples.back().timestamp, c.max_time);
  }
  return samples;
}

// Without the hint, and with the sum (which may be a NaN) as bits; of a stale marker only that.
template <typename H>
std::pair<std::uint64_t, Histogram> Meaning(H h) {
  const auto sum = std::bit_cast<std::uint64_t>(h.sum);
  if (sum == kStaleNaNBits) return {sum, H()};
  h.sum = 0;
  h.reset_hint = CounterResetHint::kUnknown;
  return {sum, std::move(h)};
}

TEST(PrometheusHistogram, RandomHistogramsComeBack) {
  std::mt19937_64 rng(TestSeed());
  RandomHistograms random(&rng);
  std::vector<HistogramSample> samples;
  for (Timestamp t = 1; samples.size() < 3000; t += static_cast<Timestamp>(rng() % 100'000)) {
    samples.push_back({t++, random.Next()});
  }
  const std::vector<HistogramSample> back = Decode(Encode(samples));
  ASSERT_EQ(back.size(), samples.size());
  const auto meaning = [](const Histogram& h) { return std::visit([](const auto& x) { return Meaning(x); }, h); };
  for (std::size_t i = 0; i < back.size(); ++i) {
    ASSERT_EQ(back[i].timestamp, samples[i].timestamp) << i;
    ASSERT_EQ(meaning(back[i].histogram), meaning(samples[i].histogram)) << i;
  }
}

TEST(PrometheusHistogram, AChunkEndsWhereLayoutOrCounterAskForIt) {
  IntHistogram finer = Some(30), gauge = Some(50), less_gauge = Some(40), stale, told = Some(90);
  finer.schema = 2;
  gauge.reset_hint = less_gauge.reset_hint = CounterResetHint::kGauge;
  stale.sum = std::bit_cast<double>(kStaleNaNBits);
  told.reset_hint = CounterResetHint::kYes;
  const std::vector<HistogramSample> samples = {
      {1, Some(10)},
      {2, Some(20)},  // 0
      {3, finer},     // 1: another schema
      {4, Some(31)},  // 2
      {5, Some(7)},
      {6, stale},
      {7, stale},    // 3: a reset; markers go with what is before
      {8, Some(8)},  // 4: after a marker
      {9, gauge},
      {10, less_gauge},  // 5: a gauge may fall
      {11, Some(60)},    // 6
      {12, told},        // 7: says that it was reset
      {13, AsFloat(Some(91))},
      {14, AsFloat(Some(92))},  // 8: floats
  };
  const std::vector<PrometheusHistogramChunk> chunks = Encode(samples);
  std::vector<std::uint32_t> sizes;
  std::vector<int> headers;
  for (const auto& c : chunks) {
    sizes.push_back(c.samples);
    headers.push_back(static_cast<unsigned char>(c.data[2]) >> 6);
  }
  EXPECT_THAT(sizes, ::testing::ElementsAre(2u, 1u, 1u, 3u, 1u, 2u, 1u, 1u, 2u));
  EXPECT_THAT(headers, ::testing::ElementsAre(0, 0, 0, 2, 0, 3, 0, 2, 0));
  EXPECT_EQ(chunks[0].encoding, kPrometheusIntHistograms);
  EXPECT_EQ(chunks[8].encoding, kPrometheusFloatHistograms);
  const std::vector<HistogramSample> back = Decode(chunks);
  ASSERT_EQ(back.size(), samples.size());
  EXPECT_EQ(std::get<IntHistogram>(back[1].histogram).reset_hint, CounterResetHint::kNo);
  EXPECT_EQ(std::get<IntHistogram>(back[4].histogram).reset_hint, CounterResetHint::kYes);
  EXPECT_EQ(std::get<IntHistogram>(back[9].histogram).reset_hint, CounterResetHint::kGauge);
}

// Bits, which blanks may divide, as bytes; what is missing of the last is 0.
std::string Packed(std::string_view bits) {
  std::string bytes;
  unsigned n = 0;
  for (const char bit : bits) {
    if (bit == ' ') continue;
    if (n++ % 8 == 0) bytes.push_back('\0');
    if (bit == '1') bytes.back() = static_cast<char>(static_cast<unsigned char>(bytes.back()) | 0x80U >> (n - 1) % 8);
  }
  return bytes;
}

IntHistogram Custom() {
  return {.schema = kCustomBucketsSchema,
          .count = 3,
          .sum = 2,
          .positive_spans = {{0, 2}},
          .positive_deltas = {1, 1},
          .custom_values = {0.5, 1e9}};
}

// Worked out by hand from what Prometheus 3 says of its chunks.
TEST(PrometheusHistogram, BoundsOfCustomBucketsStandBehindTheSpans) {
  const std::string_view bits =
      "0000000000000001 00000000"                                           // samples, header
      "00000000 1110111001011"                                              // zero threshold 0, schema -53
      "10001 10010 0 0"                                                     // a positive span of 2 at 0, no negative one
      "10010 1110111110101"                                                 // two bounds: 501 for 0.5,
      "0 0100000111001101110011010110010100000000000000000000000000000000"  // and 1e9 in full
      "11110001111101000 10011 0"                                           // at 1000: count 3, zero count 0
      "0100000000000000000000000000000000000000000000000000000000000000"    // sum 2
      "10001 10001";                                                        // buckets
  const std::vector<PrometheusHistogramChunk> made = Encode({{1000, Custom()}});
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made[0].encoding, kPrometheusIntHistograms);
  EXPECT_EQ(made[0].data, Packed(bits));
  std::vector<HistogramSample> read;
  ASSERT_EQ(DecodePrometheusHistograms(2, Packed(bits), [&](HistogramSample s) { return read.push_back(s), Status::Ok(); }),
            Status::Ok());
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(std::get<IntHistogram>(read[0].histogram), Custom());
}

TEST(PrometheusHistogram, BoundsOfCustomBucketsComeBackToTheBit) {
  IntHistogram one = Custom(), finer = Custom();
  one.custom_values = {-7.25, -0.0, 0.001, 0.0035, 0.1, 33554.429, 33554.43, 33554.431, 1e300};
  finer.custom_values = {0.5, 1, 1e9};
  const std::vector<HistogramSample> samples = {{1, one}, {2, one}, {3, finer}, {4, Some(10)}};
  const std::vector<PrometheusHistogramChunk> chunks = Encode(samples);
  EXPECT_EQ(chunks.size(), 3u) << "other bounds are another layout";
  const std::vector<HistogramSample> back = Decode(chunks);
  ASSERT_EQ(back.size(), samples.size());
  for (std::size_t i = 0; i < 3; ++i) {
    const auto bits = [](const std::vector<double>& values) {
      std::vector<std::uint64_t> all;
      for (const double v : values) all.push_back(std::bit_cast<std::uint64_t>(v));
      return all;
    };
    EXPECT_EQ(bits(std::get<IntHistogram>(back[i].histogram).custom_values),
              bits(std::get<IntHistogram>(samples[i].histogram).custom_values));
  }
}

TEST(PrometheusHistogram, EveryCutAndEveryFlippedBitIsReadWithoutHarm) {
  for (const HistogramSample& first :
       {HistogramSample{5, Some(3)}, HistogramSample{5, AsFloat(Some(3))}, HistogramSample{5, Custom()}}) {
    const std::vector<PrometheusHistogramChunk> chunks = Encode({first, {15'000, first.histogram}});
    ASSERT_EQ(chunks.size(), 1u);
    const std::string& data = chunks[0].data;
    const auto read = [&](const std::string& bytes, std::size_t* n) {
      return DecodePrometheusHistograms(chunks[0].encoding, bytes, [n](const HistogramSample&) { return ++*n, Status::Ok(); });
    };
    for (std::size_t cut = 0; cut < data.size(); ++cut) {
      std::size_t n = 0;
      ASSERT_EQ(read(data.substr(0, cut), &n).code(), StatusCode::kDataLoss) << cut;
    }
    for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
      std::string flipped = data;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
      std::size_t n = 0;
      const Status s = read(flipped, &n);
      ASSERT_TRUE(s.ok() || s.code() == StatusCode::kDataLoss) << bit;
      ASSERT_LE(n, 65535u);
    }
  }
  const Status other = DecodePrometheusHistograms(9, "abcd", [](const HistogramSample&) { return Status::Ok(); });
  EXPECT_EQ(other.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(other.message(), HasSubstr("encoding is 9"));
}

}  // namespace
}  // namespace chronolith

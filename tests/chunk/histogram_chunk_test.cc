#include "chunk/histogram_chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/chunk/random_histogram.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

std::uint64_t SumBits(const Histogram& h) {
  return std::visit([](const auto& x) { return std::bit_cast<std::uint64_t>(x.sum); }, h);
}

// Equal, with the sum (which may be a NaN) compared by bits.
bool Same(const Histogram& a, const Histogram& b) {
  if (SumBits(a) != SumBits(b)) return false;
  Histogram x = a, y = b;
  std::visit([](auto& h) { h.sum = 0; }, x);
  std::visit([](auto& h) { h.sum = 0; }, y);
  return x == y;
}

void ExpectRoundTrip(const std::vector<HistogramSample>& samples) {
  const std::string chunk = EncodeHistograms(samples);
  Result<std::vector<HistogramSample>> back = DecodeHistograms(chunk);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  ASSERT_EQ(back->size(), samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ((*back)[i].timestamp, samples[i].timestamp) << i;
    ASSERT_TRUE(Same((*back)[i].histogram, samples[i].histogram)) << i;
  }
}

std::vector<HistogramSample> Generate(std::size_t n, std::mt19937_64* rng) {
  RandomHistograms histograms(rng);
  std::vector<HistogramSample> samples;
  std::int64_t t = 1'700'000'000'000;
  for (std::size_t i = 0; i < n; ++i) {
    t = (*rng)() % 30 == 0 ? static_cast<std::int64_t>((*rng)())
                           : static_cast<std::int64_t>(static_cast<std::uint64_t>(t) + 15'000);
    samples.push_back({t, histograms.Next()});
  }
  return samples;
}

IntHistogram SomeInt() {
  IntHistogram h;
  h.schema = 3;
  h.zero_threshold = 0.001;
  h.zero_count = 2;
  h.count = 2 + (1 + 3 + 2) + 4;
  h.sum = 18.5;
  h.positive_spans = {{-2, 2}, {1, 1}};
  h.positive_deltas = {1, 2, -1};
  h.negative_spans = {{0, 1}};
  h.negative_deltas = {4};
  return h;
}

FloatHistogram SomeCustom() {
  FloatHistogram h;
  h.schema = kCustomBucketsSchema;
  h.count = 7;
  h.sum = 3;
  h.positive_spans = {{0, 2}};
  h.positive_counts = {3, 4};
  h.custom_values = {0.5, 1};
  return h;
}

TEST(HistogramChunk, RandomHistogramsComeBack) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 300; ++round) {
    const std::vector<HistogramSample> samples = Generate(rng() % 120, &rng);
    for (const HistogramSample& s : samples) ASSERT_EQ(ValidateHistogram(s.histogram), Status::Ok());
    ASSERT_NO_FATAL_FAILURE(ExpectRoundTrip(samples));
  }
}

TEST(HistogramChunk, ExtremesComeBack) {
  IntHistogram big = SomeInt();
  big.count = big.zero_count = std::numeric_limits<std::uint64_t>::max();
  big.positive_deltas = {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), -1};
  big.sum = std::bit_cast<double>(0x7ff8000000001234ULL);
  IntHistogram small = SomeInt();
  small.positive_deltas = {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(), 1};
  FloatHistogram infinite = SomeCustom();
  infinite.positive_counts = {-0.0, std::numeric_limits<double>::infinity()};
  ExpectRoundTrip({{kMinTimestamp, big}, {kMaxTimestamp, small}, {0, big}, {0, infinite}, {-1, SomeCustom()}, {5, IntHistogram()}});
  ExpectRoundTrip({});
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(c));
    out += two;
  }
  return out;
}

// The bytes of version 1, for ever: what is stored must stay readable.
TEST(HistogramChunk, Version1HasTheseBytes) {
  IntHistogram grown = SomeInt();
  grown.positive_deltas = {1, 3, -2};
  grown.count += 1;
  grown.sum = 20.25;
  grown.reset_hint = CounterResetHint::kNo;
  const std::string chunk = EncodeHistograms({{{1000, SomeInt()}, {2000, grown}, {3000, SomeCustom()}}});
  EXPECT_EQ(Hex(chunk),
            "0103000000010006fca9f1d24d62503f0203020201010001030100d00f1804538032400204010804d00f020052c006000002010000010169000000"
            "000000000001000200020002000000000000e03f000000000000f03f00621c4000620840620840621040");
}

TEST(HistogramChunk, UnchangedBucketsCostNextToNothing) {
  IntHistogram h;
  h.positive_spans = {{0, 160}};
  h.positive_deltas.assign(160, 0);
  h.positive_deltas[0] = 1;
  h.count = 160;
  HistogramAppender a;
  a.Append(0, h);
  a.Append(15'000, h);
  const std::size_t two = a.data().size();
  a.Append(30'000, h);
  EXPECT_LE(a.data().size() - two, 8u);
}

TEST(HistogramAppender, IsAWholeChunkAfterEveryAppendAndWithinItsBound) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<HistogramSample> samples = Generate(100, &rng);
  HistogramAppender a;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t before = a.data().size();
    a.Append(samples[i].timestamp, samples[i].histogram);
    ASSERT_LE(a.data().size() - before, HistogramAppender::MaxBytes(samples[i].histogram));
    ASSERT_EQ(a.count(), i + 1);
    ASSERT_EQ(DecodeHistograms(a.data())->size(), i + 1);
  }
  const std::string chunk = a.Take();
  EXPECT_EQ(a.count(), 0u);
  a.Append(7, SomeInt());
  EXPECT_TRUE(Same((*DecodeHistograms(a.data()))[0].histogram, SomeInt()));
  EXPECT_EQ(DecodeHistograms(chunk)->size(), samples.size());
}

TEST(HistogramAppender, TheLargestValidHistogramFitsAnEnginesValue) {
  IntHistogram h;
  h.positive_deltas.resize(kMaxHistogramBuckets);
  h.positive_spans.assign(kMaxHistogramSpans, {0, kMaxHistogramBuckets / kMaxHistogramSpans});
  for (std::size_t i = 0; i < h.positive_deltas.size(); ++i) h.positive_deltas[i] = i % 2 == 0 ? 1LL << 50 : -(1LL << 50);
  h.count = kMaxHistogramBuckets / 2 * (1ULL << 50);
  ASSERT_EQ(ValidateHistogram(h), Status::Ok());
  EXPECT_LT(HistogramAppender::MaxBytes(h) + kMaxHistogramCustomValues * 8, 60'000u);
  ExpectRoundTrip({{1, h}, {2, h}});
}

TEST(HistogramIterator, EveryCutIsAnErrorThatNamesTheSample) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 20; ++round) {
    const std::vector<HistogramSample> samples = Generate(1 + rng() % 10, &rng);
    const std::string chunk = EncodeHistograms(samples);
    for (std::size_t cut = 0; cut < chunk.size(); ++cut) {
      const std::vector<char> exact(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(cut));
      HistogramIterator it(std::string_view(exact.data(), exact.size()));
      std::size_t n = 0;
      while (it.Next()) {
        ASSERT_TRUE(Same(it.sample().histogram, samples[n].histogram));
        ++n;
      }
      ASSERT_EQ(it.status().code(), StatusCode::kDataLoss) << cut;
      if (cut >= 5) {
        ASSERT_THAT(it.status().message(), HasSubstr("sample " + std::to_string(n) + " of"));
      }
    }
  }
}

TEST(HistogramIterator, MalformedChunksAreErrors) {
  const std::string one("\x01\x01\0\0\0", 5);
  const std::string layout_head = one + std::string("\x01\x00\x00", 3) + std::string(8, '\0');  // tag, kind, schema, zero_threshold
  const struct {
    const char* what;
    std::string chunk;
    StatusCode code;
    const char* says;
  } rows[] = {
      {"nothing", "", StatusCode::kDataLoss, "empty"},
      {"half a header", std::string("\x01\x01", 2), StatusCode::kDataLoss, "header"},
      {"version 0", std::string(5, '\0'), StatusCode::kDataLoss, "version 0"},
      {"a newer version", "\x02" + one.substr(1), StatusCode::kFailedPrecondition, "version 2"},
      {"no layout before the first sample", one + std::string(40, '\0'), StatusCode::kDataLoss, "sample 0"},
      {"unknown tag bits", one + "\x09" + std::string(40, '\0'), StatusCode::kDataLoss, "sample 0"},
      {"unknown kind", one + "\x01\x02" + std::string(40, '\0'), StatusCode::kDataLoss, "sample 0"},
      {"schema over 32 bits", one + std::string("\x01\x00\xff\xff\xff\xff\x7f", 7) + std::string(40, '\0'), StatusCode::kDataLoss,
       "sample 0"},
      {"too many spans", layout_head + "\x81\x08" + std::string(9000, '\0'), StatusCode::kDataLoss, "sample 0"},
      {"span length over 32 bits", layout_head + std::string("\x01\x00", 2) + "\xff\xff\xff\xff\x1f" + std::string(40, '\0'),
       StatusCode::kDataLoss, "sample 0"},
      {"too many buckets", layout_head + std::string(2, '\0') + "\x81\x20" + std::string(9000, '\0'), StatusCode::kDataLoss,
       "sample 0"},
      {"too many custom values", layout_head + std::string(4, '\0') + "\x81\x08" + std::string(9000, '\0'), StatusCode::kDataLoss,
       "sample 0"},
      {"zeros beyond the buckets", layout_head + std::string("\0\0\x02\0\0\0\0\0\0\0\x02", 11) + std::string(9, '\0'),
       StatusCode::kDataLoss, "sample 0"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    Result<std::vector<HistogramSample>> r = DecodeHistograms(row.chunk);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.status().code(), row.code);
    EXPECT_THAT(r.status().message(), HasSubstr(row.says));
  }
  // The same bytes with a run that fits are a chunk.
  EXPECT_TRUE(DecodeHistograms(layout_head + std::string("\0\0\x02\0\0\0\0\0\0\0\x01", 11)).ok());
}

TEST(HistogramIterator, FlippedBytesNeverCrashIt) {
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 1000; ++round) {
    std::string chunk = EncodeHistograms(Generate(rng() % 20, &rng));
    for (int i = 0; i < 3; ++i) chunk[rng() % chunk.size()] ^= static_cast<char>(1 << rng() % 8);
    HistogramIterator it(chunk);
    std::uint32_t n = 0;
    while (it.Next()) ++n;
    EXPECT_LE(n, it.count());
  }
}

TEST(ValidateHistogram, AcceptsWhatPrometheusDoes) {
  EXPECT_EQ(ValidateHistogram(IntHistogram()), Status::Ok());
  EXPECT_EQ(ValidateHistogram(FloatHistogram()), Status::Ok());
  EXPECT_EQ(ValidateHistogram(SomeInt()), Status::Ok());
  EXPECT_EQ(ValidateHistogram(SomeCustom()), Status::Ok());
  IntHistogram nan = SomeInt();  // NaN observations are counted, but are in no bucket
  nan.sum = std::nan("");
  nan.count += 5;
  EXPECT_EQ(ValidateHistogram(nan), Status::Ok());
  IntHistogram stale;
  stale.sum = std::bit_cast<double>(kStaleNaNBits);
  stale.schema = 99;
  EXPECT_EQ(ValidateHistogram(stale), Status::Ok());
}

TEST(ValidateHistogram, NamesTheFieldAtFault) {
  const std::int64_t max = std::numeric_limits<std::int64_t>::max();
  const struct {
    const char* says;
    std::function<void(IntHistogram*)> break_it;
  } int_rows[] = {
      {"schema 9", [](auto* h) { h->schema = 9; }},
      {"schema -5", [](auto* h) { h->schema = -5; }},
      {"positive spans describe 3 buckets, given are 4", [](auto* h) { h->positive_deltas.push_back(0); }},
      {"negative spans describe 1 buckets, given are 0", [](auto* h) { h->negative_deltas.clear(); }},
      {"positive span 1 has the negative offset", [](auto* h) { h->positive_spans[1].offset = -1; }},
      {"positive span 1 ends beyond", [](auto* h) { h->positive_spans[1].offset = std::numeric_limits<std::int32_t>::max(); }},
      {"positive span 0 ends beyond", [](auto* h) { h->positive_spans[0].length = 0xffffffff; }},
      {"positive_deltas[2] makes", [](auto* h) { h->positive_deltas[2] = -4; }},
      {"positive_deltas[1] overflows", [=](auto* h) { h->positive_deltas[1] = max; }},
      {"negative_deltas[0] makes", [](auto* h) { h->negative_deltas[0] = -1; }},
      {"do not fit 64 bits",
       [=](auto* h) {
         h->positive_deltas = {max, 0, 0};
       }},
      {"count is 11, the buckets hold 12", [](auto* h) { h->count = 11; }},
      {"count is 13, the buckets hold 12", [](auto* h) { h->count = 13; }},
      {"count is 11, the buckets hold 12", [](auto* h) { h->count = 11, h->sum = std::nan(""); }},
      {"zero_threshold", [](auto* h) { h->zero_threshold = -1; }},
      {"zero_threshold", [](auto* h) { h->zero_threshold = std::nan(""); }},
      {"custom_values belong to schema -53", [](auto* h) { h->custom_values = {1}; }},
      {"counter reset hint 4", [](auto* h) { h->reset_hint = static_cast<CounterResetHint>(4); }},
      {"4097 buckets, the limit is 4096", [](auto* h) { h->positive_deltas.resize(kMaxHistogramBuckets); }},
      {"1025 spans, the limit is 1024", [](auto* h) { h->positive_spans.resize(kMaxHistogramSpans); }},
  };
  for (const auto& row : int_rows) {
    SCOPED_TRACE(row.says);
    IntHistogram h = SomeInt();
    row.break_it(&h);
    const Status s = ValidateHistogram(h);
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(s.message(), HasSubstr(row.says));
  }
  const struct {
    const char* says;
    std::function<void(FloatHistogram*)> break_it;
  } custom_rows[] = {
      {"custom_values[1] is not above",
       [](auto* h) {
         h->custom_values = {1, 1};
       }},
      {"custom_values[1] is not above",
       [](auto* h) {
         h->custom_values = {1, 0.5};
       }},
      {"custom_values[1] is not finite", [](auto* h) { h->custom_values[1] = std::numeric_limits<double>::infinity(); }},
      {"custom_values[0] is not finite", [](auto* h) { h->custom_values[0] = std::nan(""); }},
      {"negative buckets",
       [](auto* h) {
         h->negative_spans = {{0, 0}};
       }},
      {"zero_count", [](auto* h) { h->zero_count = 1; }},
      {"zero_threshold", [](auto* h) { h->zero_threshold = 1; }},
      {"ends at bucket 4, custom_values allow 3", [](auto* h) { h->positive_spans[0].offset = 2; }},
      {"negative offset", [](auto* h) { h->positive_spans[0].offset = -1; }},
      {"positive_counts[1] is negative", [](auto* h) { h->positive_counts[1] = -0.5; }},
      {"count is negative", [](auto* h) { h->count = -1; }},
      {"1025 custom values", [](auto* h) { h->custom_values.resize(kMaxHistogramCustomValues + 1); }},
  };
  for (const auto& row : custom_rows) {
    SCOPED_TRACE(row.says);
    FloatHistogram h = SomeCustom();
    row.break_it(&h);
    const Status s = ValidateHistogram(h);
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(s.message(), HasSubstr(row.says));
  }
}

}  // namespace
}  // namespace chronolith

// The known bytes were made with Debian's protoc (3.21) from the published field numbers.
#include "interop/remote_write_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "tests/interop/remote_write_decoder.h"
#include "tests/interop/remote_write_encode.h"

namespace chronolith::interop {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[c & 15];
  }
  return hex;
}

// A series with everything, and one with a float histogram of custom buckets.
std::vector<TimeSeries> Everything() {
  IntHistogram ints;
  ints.reset_hint = CounterResetHint::kNo;
  ints.schema = -1;
  ints.zero_threshold = 0.001;
  ints.count = 300;
  ints.sum = 7.5;
  ints.negative_spans = {{-3, 1}};
  ints.negative_deltas = {5};
  ints.positive_spans = {{0, 2}};
  ints.positive_deltas = {1, -300};
  FloatHistogram floats;
  floats.reset_hint = CounterResetHint::kGauge;
  floats.schema = kCustomBucketsSchema;
  floats.zero_count = 0.5;
  floats.sum = 1;
  floats.negative_spans = {{0, 1}};
  floats.negative_counts = {4};
  floats.positive_spans = {{1, 2}};
  floats.positive_counts = {1.5, 2};
  floats.custom_values = {0.1, 1};
  return {{.labels = {{"__name__", "h_bucket"}, {"job", "a"}},
           .samples = {{1000, 1.5}, {-1, -2}},
           .histograms = {{2000, ints}},
           .exemplars = {{.labels = {{"trace_id", "x"}}, .value = 0.25, .timestamp = 999}},
           .metadata = {{.type = MetricType::kHistogram, .unit = "seconds", .help = "Help."}}},
          {.labels = {{"__name__", "f"}}, .histograms = {{3000, floats}}}};
}

using testing::ByReference;
using testing::EncodeRemoteWrite;

TEST(RemoteWriteMessage, Version1IsWhatProtocMakes) {
  EXPECT_EQ(Hex(EncodeRemoteWrite(RemoteWriteVersion::k1, Everything())),
            "0a93010a140a085f5f6e616d655f5f1208685f6275636b65740a080a036a6f62120161120c09000000000000f83f10e80712140900000000000000"
            "c010ffff"
            "ffffffffffffff011a1b0a0d0a0874726163655f696412017811000000000000d03f18e707223008ac02190000000000001e40200129fca9f1d24d"
            "62503f30"
            "004204080510014a010a5a021002620302d704700278d00f0a6c0a0d0a085f5f6e616d655f5f120166225b11000000000000000019000000000000"
            "f03f2069"
            "39000000000000e03f42021001520800000000000010405a04080210026a10000000000000f83f0000000000000040700378b8178201109a999999"
            "9999b93f"
            "000000000000f03f1a150803120168220548656c702e2a077365636f6e6473");
}

TEST(RemoteWriteMessage, Version2IsWhatProtocMakes) {
  EXPECT_EQ(Hex(EncodeRemoteWrite(RemoteWriteVersion::k2, Everything())),
            "220022085f5f6e616d655f5f2208685f6275636b657422036a6f62220161220874726163655f6964220178220548656c702e22077365636f6e6473"
            "2201662a"
            "440a0401020304120c09000000000000f83f10e80712140900000000000000c010ffffffffffffffffff0122100a02050611000000000000d03f18"
            "e7072a06"
            "0803180720082a400a04010203041a3008ac02190000000000001e40200129fca9f1d24d62503f30004204080510014a010a5a021002620302d704"
            "700278d0"
            "0f2a060803180720082a610a0201091a5b11000000000000000019000000000000f03f206939000000000000e03f42021001520800000000000010"
            "405a0408"
            "0210026a10000000000000f83f0000000000000040700378b8178201109a9999999999b93f000000000000f03f");
}

bool SameBits(const std::vector<Sample>& a, const std::vector<Sample>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Sample& x, const Sample& y) {
    return x.timestamp == y.timestamp && std::bit_cast<std::uint64_t>(x.value) == std::bit_cast<std::uint64_t>(y.value);
  });
}

TEST(RemoteWriteMessage, ValuesComeBackBitForBit) {
  const double stale = std::bit_cast<double>(kStaleNaNBits);
  const std::vector<TimeSeries> series = {{.labels = {{"__name__", "x"}},
                                           .samples = {{0, 0.0},
                                                       {1, -0.0},
                                                       {2, stale},
                                                       {3, std::bit_cast<double>(0xfff8000000000123ULL)},
                                                       {kMinTimestamp, std::numeric_limits<double>::infinity()},
                                                       {kMaxTimestamp, std::numeric_limits<double>::denorm_min()}}}};
  const auto one = testing::DecodeRequest1(EncodeRemoteWrite(RemoteWriteVersion::k1, series));
  const auto two = testing::DecodeRequest2(EncodeRemoteWrite(RemoteWriteVersion::k2, series));
  EXPECT_EQ(one.error, "");
  EXPECT_EQ(two.error, "");
  ASSERT_THAT(one.series, SizeIs(1));
  ASSERT_THAT(two.series, SizeIs(1));
  EXPECT_TRUE(SameBits(one.series[0].samples, series[0].samples));
  EXPECT_TRUE(SameBits(two.series[0].samples, series[0].samples));
}

TEST(RemoteWriteMessage, ManyRandomSeriesComeBack) {
  std::mt19937_64 random(20261122);
  const auto word = [&](std::size_t length_max) {
    std::string s(random() % length_max + 1, 'a');
    for (char& c : s) c = static_cast<char>('a' + random() % 26);
    return s;
  };
  std::vector<TimeSeries> series(500);
  for (TimeSeries& s : series) {
    std::vector<std::pair<std::string, std::string>> labels = {{"__name__", word(200)}};
    for (std::size_t i = random() % 5; i > 0; --i) labels.emplace_back("l" + std::to_string(i), word(i == 3 ? 20'000 : 4));
    s.labels = Labels(std::move(labels));
    for (std::size_t i = random() % 40 + 1; i > 0; --i) {
      s.samples.push_back({static_cast<Timestamp>(random()), static_cast<double>(random())});
    }
  }
  for (const auto version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const std::string message = EncodeRemoteWrite(version, series);
    const auto back = version == RemoteWriteVersion::k1 ? testing::DecodeRequest1(message) : testing::DecodeRequest2(message);
    EXPECT_EQ(back.error, "");
    ASSERT_THAT(back.series, SizeIs(series.size()));
    for (std::size_t i = 0; i < series.size(); ++i) {
      EXPECT_EQ(back.series[i].labels, series[i].labels);
      EXPECT_TRUE(SameBits(back.series[i].samples, series[i].samples));
    }
  }
}

TEST(RemoteWriteMessage, MetadataOfVersion1StandsOnceForItsFamily) {
  std::vector<TimeSeries> series;
  for (const char* const name : {"h_bucket", "h_sum", "h_count", "c_total", "h_bucket"}) {
    const bool counter = std::string_view(name) == "c_total";
    series.push_back({.labels = {{"__name__", name}, {"le", std::to_string(series.size())}},
                      .metadata = {{.type = counter ? MetricType::kCounter : MetricType::kHistogram, .unit = "", .help = name}}});
  }
  series.push_back({.labels = {{"no_name", "x"}}, .metadata = {{.type = MetricType::kGauge, .unit = "", .help = "of nothing"}}});
  const auto back = testing::DecodeRequest1(EncodeRemoteWrite(RemoteWriteVersion::k1, series));
  EXPECT_EQ(back.error, "");
  EXPECT_THAT(back.series, IsEmpty());
  ASSERT_THAT(back.families, SizeIs(2));
  EXPECT_EQ(back.families.at("h"), (Metadata{.type = MetricType::kHistogram, .unit = "", .help = "h_bucket"}));
  EXPECT_EQ(back.families.at("c_total"), (Metadata{.type = MetricType::kCounter, .unit = "", .help = "c_total"}));
}

TEST(RemoteWriteMessage, StringsOfVersion2StandOnce) {
  const std::vector<TimeSeries> series = {{.labels = {{"__name__", "a"}, {"a", "__name__"}}, .samples = {{1, 1}}},
                                          {.labels = {{"__name__", "a"}, {"b", "a"}}, .samples = {{1, 1}}}};
  const auto back = testing::DecodeRequest2(EncodeRemoteWrite(RemoteWriteVersion::k2, series));
  EXPECT_EQ(back.error, "");
  EXPECT_THAT(back.symbols, ElementsAre("", "__name__", "a", "b"));
  ASSERT_THAT(back.series, SizeIs(2));
  EXPECT_EQ(back.series[1].labels, series[1].labels);
}

TEST(RemoteWriteMessage, LabelsComeBackFromTheirForm) {
  for (const Labels& labels : {Labels{}, Labels{{"__name__", "up"}}, Labels{{"", "x"}, {"a", ""}, {"b", std::string(300, 'v')}}}) {
    std::string encoded;
    AppendRemoteWriteLabels(labels, &encoded);
    EXPECT_EQ(LabelsOfRemoteWrite(encoded), labels) << labels.ToString();
  }
}

TEST(RemoteWriteMessage, CountsAreThoseOfTheHeaders) {
  EXPECT_EQ(CountsOf(ByReference(Everything()).series()), (RemoteWriteCounts{.samples = 2, .histograms = 2, .exemplars = 1}));
}

}  // namespace
}  // namespace chronolith::interop

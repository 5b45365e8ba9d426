#include "interop/json_lines.h"

#include <gmock/gmock.h>

#include <bit>
#include <limits>

namespace chronolith::interop {
namespace {

using ::testing::HasSubstr;

const double kInf = std::numeric_limits<double>::infinity();

std::string Write(const TimeSeries& series) {
  std::string text;
  JsonLinesWriter writer(&text);
  std::optional<Metadata> metadata;
  if (!series.metadata.empty()) metadata = series.metadata[0];
  writer.BeginSeries(series.labels, metadata);
  for (const Sample sample : series.samples) writer.AddSample(sample);
  for (const HistogramSample& h : series.histograms) writer.AddHistogram(h.timestamp, h.histogram);
  for (const Exemplar& e : series.exemplars) writer.AddExemplar(e);
  writer.EndSeries();
  return text;
}

TEST(JsonLines, WhatIsWrittenIsReadBackBitForBit) {
  TimeSeries series;
  series.labels = Labels{{"__name__", "m"}, {"odd", "a\"b\\c\nd\te\x01 \xc3\xbc"}};
  for (const double v : {0.0, -0.0, 0.1, 1e308, 5e-324, kInf, -kInf, std::bit_cast<double>(kStaleNaNBits),
                         std::bit_cast<double>(0x7ff8000000000001ULL)}) {
    series.samples.push_back({static_cast<Timestamp>(series.samples.size()) - 4, v});
  }
  IntHistogram n;
  n.reset_hint = CounterResetHint::kGauge;
  n.schema = -4;
  n.zero_threshold = 0x1p-128;
  n.zero_count = 3;
  n.count = std::numeric_limits<std::uint64_t>::max();
  n.sum = -kInf;
  n.positive_spans = {{-5, 2}, {3, 1}};
  n.positive_deltas = {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), 0};
  n.negative_spans = {{0, 1}};
  n.negative_deltas = {7};
  FloatHistogram f;
  f.schema = kCustomBucketsSchema;
  f.count = 1.5;
  f.zero_count = 0.25;
  f.sum = std::bit_cast<double>(kStaleNaNBits);
  f.positive_spans = {{0, 2}};
  f.positive_counts = {0.5, 1};
  f.custom_values = {0.1, 2};
  series.histograms = {{10, n}, {20, f}};
  series.exemplars = {{Labels{{"trace_id", "x\"y"}}, 0.5, 7}, {Labels{{"span", "z"}}, -1, 8}};
  series.metadata = {{MetricType::kGaugeHistogram, "seconds", "How \"long\"\n"}};

  const std::string text = Write(series);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  const auto read = ParseJsonSeries(text);
  ASSERT_TRUE(read.ok()) << read.status().ToString() << "\n" << text;
  EXPECT_EQ(read->labels, series.labels);
  ASSERT_EQ(read->samples.size(), series.samples.size());
  for (std::size_t i = 0; i < series.samples.size(); ++i) {
    EXPECT_EQ(read->samples[i].timestamp, series.samples[i].timestamp);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(read->samples[i].value), std::bit_cast<std::uint64_t>(series.samples[i].value)) << i;
  }
  ASSERT_EQ(read->histograms.size(), 2u);
  EXPECT_EQ(read->histograms[0].timestamp, 10);
  EXPECT_EQ(std::get<IntHistogram>(read->histograms[0].histogram), n);
  auto float_read = std::get<FloatHistogram>(read->histograms[1].histogram);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(float_read.sum), kStaleNaNBits);
  float_read.sum = f.sum = 0;
  EXPECT_EQ(float_read, f);
  EXPECT_EQ(read->exemplars, series.exemplars);
  EXPECT_EQ(read->metadata, series.metadata);
}

TEST(JsonLines, ALongSeriesTakesSeveralLinesThatHoldAllOfIt) {
  TimeSeries series;
  series.labels = Labels{{"__name__", "long"}};
  series.metadata = {{MetricType::kGauge, "", "once"}};
  for (Timestamp t = 0; t < 10'000; ++t) series.samples.push_back({t, static_cast<double>(t)});
  std::string text = Write(series);
  std::size_t lines = 0, samples = 0, metadata = 0;
  while (!text.empty()) {
    const auto read = ParseJsonSeries(text.substr(0, text.find('\n')));
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    for (const Sample sample : read->samples) ASSERT_EQ(sample.timestamp, static_cast<Timestamp>(samples++));
    metadata += read->metadata.size();
    ++lines;
    text.erase(0, text.find('\n') + 1);
  }
  EXPECT_GT(lines, 1u);
  EXPECT_EQ(samples, 10'000u);
  EXPECT_EQ(metadata, 1u);
}

TEST(JsonLines, ReadsWhatVictoriaMetricsWritesAndPassesByWhatItDoesNotKnow) {
  const auto read = ParseJsonSeries(
      R"( {"timestamps":[1,2, 3],"x":{"y":[null,{"z":"}"}]},"values":[1.5,null,"Infinity"],"metric":{"b":"c","__name__":"a"}} )");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->labels.ToString(), "a{b=\"c\"}");
  ASSERT_EQ(read->samples.size(), 3u);
  EXPECT_EQ(read->samples[0].value, 1.5);
  EXPECT_NE(read->samples[1].value, read->samples[1].value);
  EXPECT_EQ(read->samples[2].value, kInf);
}

TEST(JsonLines, PassesUnknownMembersByHoweverDeepTheyAre) {
  for (const std::size_t depth : {100, 1'000'000}) {
    const auto read = ParseJsonSeries(R"({"x":)" + std::string(depth, '[') + std::string(depth, ']') +
                                      R"(,"metric":{"a":"b"},"values":[],"timestamps":[]})");
    ASSERT_TRUE(read.ok()) << depth << ": " << read.status().ToString();
    EXPECT_EQ(read->labels.ToString(), "{a=\"b\"}");
  }
}

TEST(JsonLines, SaysWhatIsWrongWithALine) {
  const struct {
    std::string line;
    const char* says;
  } rows[] = {
      {"", "no JSON found"},
      {"up 1 1000", "byte 1: expected an object"},
      {R"({"metric":{"a":"b"},"values":[1],"timestamps":[1]} x)", "ended early"},
      {R"({"metric":{"a":"b"}} {"metric":{"a":"b"}})", "expected the end"},
      {R"({"values":[],"timestamps":[]})", "\"metric\" is missing"},
      {R"({"metric":{},"values":[],"timestamps":[]})", "no label"},
      {R"({"metric":{"a":"b","a":"c"}})", "twice"},
      {R"({"metric":{"a":1}})", "expected a string"},
      {R"({"metric":{"a":"b"},"values":[1,2],"timestamps":[1]})", "2 values, but 1 timestamps"},
      {R"({"metric":{"a":"b"},"values":["x"],"timestamps":[1]})", "value \"x\" is not a number"},
      {R"({"metric":{"a":"b"},"values":[1],"timestamps":[1.5]})", "timestamp \"1.5\" is not a whole number"},
      {R"({"metric":{"a":"b"},"values":[1],"timestamps":[99999999999999999999]})", "not a whole number in range"},
      {R"({"metric":{"a":"b"},"values":[1,],"timestamps":[1]})", "expected value"},
      {R"({"metric":{"a":"b"},"values":[1)", "ended early"},
      {R"({"metric":{"a":"b"},"values":[1}})", "comma"},
      {R"({"metric":{"a":"b"},"histograms":[{"count":-1}]})", "count \"-1\" is not a number"},
      {R"({"metric":{"a":"b"},"histograms":[{"positive_spans":[[1]]}]})", "expected a span"},
      {R"({"metric":{"a":"b"},"histograms":[{"positive_spans":[[1,2,3]]}]})", "expected a span"},
      {R"({"metric":{"a":"b"},"histograms":[{"positive_spans":[1]}]})", "expected a list"},
      {R"({"metric":{"a":"b"},"histograms":[{"reset_hint":"maybe"}]})", "unknown reset hint"},
      {R"({"metric":{"a":"b"},"metadata":{"type":"meter"}})", "unknown type"},
      {R"({"metric":{"a":"b"},"metadata":{"help":"never)", "never closed"},
  };
  for (const auto& row : rows) {
    const auto read = ParseJsonSeries(row.line);
    ASSERT_FALSE(read.ok()) << row.line;
    EXPECT_EQ(read.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(read.status().message(), HasSubstr(row.says)) << row.line;
  }
}

}  // namespace
}  // namespace chronolith::interop

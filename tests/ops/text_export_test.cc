#include "ops/text_export.h"

#include <gmock/gmock.h>

#include <set>
#include <sstream>

#include "interop/json_lines.h"
#include "interop/openmetrics_writer.h"
#include "interop/text_scan.h"
#include "tests/support/engines.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::TempDirectory;

class TextExportTest : public ::testing::TestWithParam<std::string> {
 protected:
  void Open(int shards) {
    Options options;
    options.engine = GetParam();
    options.shards = shards;
    store_ = Storage::Open(options, directory_ / ("db" + std::to_string(++stores_))).value();
  }
  void Write(const TimeSeries& series) { ASSERT_EQ(store_->Write(series).status, Status::Ok()); }
  void WriteMany(int n) {
    for (int i = 0; i < n; ++i) {
      TimeSeries series;
      series.labels = Labels{{"__name__", "m"}, {"i", std::to_string(i * 7919 % 10'007)}};
      for (Timestamp t = 0; t < 5; ++t) series.samples.push_back({t * 1000, i + static_cast<double>(t)});
      Write(series);
    }
  }
  std::string Export(TextExportOptions options, TextExportReport* report) {
    std::string text;
    const Status s = ExportText(
        context_, store_.get(), options, [&](std::string_view piece) { return text.append(piece), Status::Ok(); }, report);
    EXPECT_EQ(s, Status::Ok());
    EXPECT_EQ(report->bytes, text.size());
    return text;
  }

  TempDirectory directory_;
  int stores_ = 0;
  std::unique_ptr<Storage> store_;
  OpsContext context_;
};
INSTANTIATE_TEST_SUITE_P(Engines, TextExportTest, AllEngines(), EngineName);

std::vector<std::string> SeriesOf(const std::string& csv) {
  std::vector<std::string> series;
  std::size_t at = csv.find('\n') + 1;
  while (at < csv.size()) {
    const std::string line = csv.substr(at, csv.find('\n', at) - at);
    const std::string name = line.substr(0, line.find(",", line.find('}')));
    if (series.empty() || series.back() != name) series.push_back(name);
    at += line.size() + 1;
  }
  return series;
}

TEST_P(TextExportTest, PiecesOfAnySizeHoldEachSeriesOnceAndInOrderWithinAPiece) {
  Open(3);
  WriteMany(100);
  TextExportReport whole_report;
  const std::string whole = Export({.form = TextForm::kCsv}, &whole_report);
  EXPECT_EQ(whole_report.series, 100u);
  EXPECT_EQ(whole_report.samples, 500u);
  const std::vector<std::string> in_order = SeriesOf(whole);
  EXPECT_EQ(in_order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(in_order.begin(), in_order.end()));
  for (const std::size_t at_once : {1, 7, 33, 99, 100, 101}) {
    TextExportReport report;
    const std::vector<std::string> pieces = SeriesOf(Export({.form = TextForm::kCsv, .series_at_once = at_once}, &report));
    EXPECT_EQ(pieces.size(), 100u) << at_once;
    EXPECT_EQ(std::set(pieces.begin(), pieces.end()), std::set(in_order.begin(), in_order.end())) << at_once;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const bool piece_ends = (i + 1) % at_once == 0;
      EXPECT_TRUE(piece_ends || pieces[i] < pieces[i + 1]) << at_once << " at " << i;
    }
    EXPECT_EQ(report.samples, 500u);
  }
}

// More than are looked at together, and in the order of labels, which is another than that of ids.
TEST_P(TextExportTest, EachOfManySeriesHasItsOwnMetadataAndExemplars) {
  Open(3);
  for (int i = 0; i < 700; ++i) {
    TimeSeries series;
    const std::string id = std::to_string(i * 7919 % 10'007);
    series.labels = Labels{{"__name__", "m"}, {"i", id}};
    series.samples = {{1000, 1}};
    if (i % 3 == 0) series.metadata = {{MetricType::kGauge, "", "help of " + id}};
    if (i % 50 == 0) series.exemplars = {{Labels{{"trace", id}}, 1, 900}, {Labels{{"late", id}}, 1, 5000}};
    Write(series);
    if (i == 350) {
      ASSERT_EQ(store_->Checkpoint(), Status::Ok());
    }
  }
  TextExportReport report;
  TextExportOptions options{.form = TextForm::kJsonLines, .series_at_once = 300};
  options.range = {0, 2000};
  std::istringstream lines(Export(options, &report));
  EXPECT_EQ(report.series, 700u);
  EXPECT_EQ(report.exemplars, 14u) << "the late ones are beside the range";
  int with_help = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.find(R"("i":")") + 5;
    const std::string id = line.substr(at, line.find('"', at) - at);
    const bool has_help = line.find("help of") != std::string::npos;
    with_help += has_help ? 1 : 0;
    EXPECT_TRUE(!has_help || line.find("help of " + id + "\"") != std::string::npos) << line;
    EXPECT_EQ(line.find("late"), std::string::npos);
    if (line.find("trace") != std::string::npos) {
      EXPECT_NE(line.find(R"("trace":")" + id + "\""), std::string::npos) << line;
    }
  }
  EXPECT_EQ(with_help, 234);
}

TEST_P(TextExportTest, SelectorsAreUnitedAndTheRangeIsHalfOpen) {
  Open(2);
  WriteMany(20);
  TextExportReport report;
  TextExportOptions options{.form = TextForm::kCsv, .selectors = {{Matcher::Equal("i", "0")}, {Matcher::Regex("i", "0|7919")}}};
  options.range = {1000, 3000};
  EXPECT_EQ(Export(options, &report),
            "series,timestamp,value\n\"m{i=\"\"0\"\"}\",1000,1\n\"m{i=\"\"0\"\"}\",2000,2\n"
            "\"m{i=\"\"7919\"\"}\",1000,2\n\"m{i=\"\"7919\"\"}\",2000,3\n");
  EXPECT_EQ(report.series, 2u);
}

TEST_P(TextExportTest, JsonLinesCarryEverythingAndOpenMetricsSaysWhatItLeavesOut) {
  Open(2);
  TimeSeries series;
  series.labels = Labels{{"__name__", "rpc"}};
  series.samples = {{1000, 1}, {2000, std::bit_cast<double>(kStaleNaNBits)}, {3500, 2}};
  IntHistogram h;
  h.count = 3;
  h.sum = 4.5;
  h.positive_spans = {{0, 2}};
  h.positive_deltas = {1, 1};
  series.histograms = {{4000, h}};
  series.exemplars = {{Labels{{"trace", "a"}}, 1, 900}, {Labels{{"trace", "b"}}, 2, 3000}, {Labels{{"trace", "c"}}, 3, 3100}};
  series.metadata = {{MetricType::kGauge, "seconds", "A\n\"b\""}};
  Write(series);
  TimeSeries nameless;
  nameless.labels = Labels{{"job", "x"}};
  nameless.samples = {{1, 1}};
  Write(nameless);

  TextExportReport report;
  const std::string lines = Export({.form = TextForm::kJsonLines}, &report);
  EXPECT_EQ(report.left_out.total(), 0u);
  EXPECT_EQ(report.histograms, 1u);
  EXPECT_EQ(report.exemplars, 3u);
  const std::size_t rpc = lines.find("{\"metric\":{\"__name__\":\"rpc\"");
  const auto read = interop::ParseJsonSeries(lines.substr(rpc, lines.find('\n', rpc) - rpc));
  ASSERT_TRUE(read.ok()) << lines;
  EXPECT_EQ(std::get<IntHistogram>(read->histograms.at(0).histogram), h);
  EXPECT_EQ(read->exemplars, series.exemplars);
  EXPECT_EQ(read->metadata, series.metadata);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(read->samples.at(1).value), kStaleNaNBits);

  TextExportReport lost;
  EXPECT_EQ(Export({.form = TextForm::kOpenMetrics}, &lost),
            "# TYPE rpc gauge\n# UNIT rpc seconds\n# HELP rpc A\\n\\\"b\\\"\n"
            "rpc 1 1 # {trace=\"a\"} 1 0.900\nrpc 2 3.500 # {trace=\"b\"} 2 3\n# EOF\n");
  EXPECT_EQ(lost.left_out.series, 1u);
  EXPECT_EQ(lost.left_out.stale_markers, 1u);
  EXPECT_EQ(lost.left_out.histograms, 1u);
  EXPECT_EQ(lost.left_out.exemplars, 1u);
}

TEST_P(TextExportTest, EndsWhereItIsInterruptedAndPassesErrorsOfTheReceiverOn) {
  Open(2);
  WriteMany(20);
  std::atomic<bool> cancelled{true};
  context_.cancelled = &cancelled;
  TextExportReport report;
  const auto ignore = [](std::string_view) { return Status::Ok(); };
  EXPECT_EQ(ExportText(context_, store_.get(), {}, ignore, &report).code(), StatusCode::kCancelled);
  cancelled = false;
  const auto full = [](std::string_view) { return ResourceExhausted("full"); };
  EXPECT_EQ(ExportText(context_, store_.get(), {}, full, &report).code(), StatusCode::kResourceExhausted);
}

TEST(OpenMetricsWriter, SecondsAreReadBackExactly) {
  for (const Timestamp t :
       {0L, 1L, -1L, 999L, 1000L, -1000L, -1001L, 1700000000123L, -1700000000123L, kMaxTimestamp, kMinTimestamp + 1}) {
    Timestamp read = 0;
    ASSERT_TRUE(interop::ParseSeconds(interop::FormatSeconds(t), &read)) << t;
    EXPECT_EQ(read, t);
  }
}

TEST(OpenMetricsWriter, NamesAFamilyOnceForItsSeries) {
  std::string text;
  interop::OpenMetricsWriter writer(&text);
  const Metadata counter{MetricType::kCounter, "", "Requests."}, histogram{MetricType::kHistogram, "", ""};
  const auto add = [&](const Labels& labels, const std::optional<Metadata>& metadata) {
    EXPECT_TRUE(writer.BeginSeries(labels, metadata));
    EXPECT_TRUE(writer.AddSample({1000, 1}, nullptr));
  };
  add(Labels{{"__name__", "a_total"}, {"x", "1"}}, counter);
  add(Labels{{"__name__", "a_total"}, {"x", "2"}}, counter);
  add(Labels{{"__name__", "h_bucket"}, {"le", "1"}}, histogram);
  add(Labels{{"__name__", "h_count"}}, histogram);
  add(Labels{{"__name__", "plain"}}, std::nullopt);
  EXPECT_FALSE(writer.BeginSeries(Labels{{"__name__", "a b"}}, std::nullopt));
  EXPECT_FALSE(writer.BeginSeries(Labels{{"__name__", "a"}, {"b.c", "d"}}, std::nullopt));
  EXPECT_EQ(text,
            "# TYPE a counter\n# HELP a Requests.\na_total{x=\"1\"} 1 1\na_total{x=\"2\"} 1 1\n"
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1 1\nh_count 1 1\nplain 1 1\n");
}

}  // namespace
}  // namespace chronolith::ops

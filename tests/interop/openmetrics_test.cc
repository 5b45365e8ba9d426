#include "interop/openmetrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/interop/recording_sink.h"

namespace chronolith::interop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

RecordingSink Read(std::string_view text, ParserOptions options = {}) {
  RecordingSink sink;
  ExpositionParser parser(options, &sink);
  (void)parser.Feed(text);
  (void)parser.Finish();
  return sink;
}

ParserOptions Format(TextFormat format) {
  ParserOptions options;
  options.format = format;
  return options;
}

TEST(ExpositionParser, ReadsPrometheusTextWithMilliseconds) {
  const RecordingSink sink = Read(
      "# HELP http_requests_total Requests.\n"
      "# TYPE http_requests_total counter\n"
      "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n"
      "  metric_without_labels 12.47 -5  \n"
      "\n"
      "# just a comment\n"
      "something_weird{problem=\"division by zero\"} +Inf -3982045\n");
  EXPECT_THAT(sink.refused, IsEmpty());
  ASSERT_THAT(sink.samples, SizeIs(3));
  EXPECT_EQ(sink.samples[0].series, R"(http_requests_total{code="200",method="post"})");
  EXPECT_EQ(sink.samples[0].timestamp, 1395066363000);
  EXPECT_EQ(sink.samples[0].value, 1027);
  EXPECT_EQ(sink.samples[0].line, 3U);
  EXPECT_EQ(sink.samples[1].timestamp, -5);
  EXPECT_EQ(sink.samples[2].value, std::numeric_limits<double>::infinity());
}

TEST(ExpositionParser, ReadsOpenMetricsWithSecondsAndExemplars) {
  const RecordingSink sink = Read(
      "# TYPE rpc histogram\n"
      "# UNIT rpc seconds\n"
      "# HELP rpc A \\\"quoted\\\" text\\nof two lines\n"
      "rpc_bucket{le=\"0.1\"} 8 1700000000.123 # {trace_id=\"KOO5S4\"} 0.054 1700000000.1\n"
      "rpc_count 17 1700000000.1239\n"
      "rpc_sum 324789.3 1.7e9 # {} 3\n"
      "# EOF\n");
  EXPECT_THAT(sink.refused, IsEmpty());
  ASSERT_THAT(sink.samples, SizeIs(3));
  EXPECT_EQ(sink.samples[0].timestamp, 1700000000123);
  EXPECT_EQ(sink.samples[1].timestamp, 1700000000123);
  EXPECT_EQ(sink.samples[2].timestamp, 1700000000000);
  ASSERT_THAT(sink.exemplars, SizeIs(2));
  EXPECT_EQ(sink.exemplars[0].first, R"(rpc_bucket{le="0.1"})");
  EXPECT_EQ(sink.exemplars[0].second, (Exemplar{{{"trace_id", "KOO5S4"}}, 0.054, 1700000000100}));
  EXPECT_EQ(sink.exemplars[1].second, (Exemplar{{}, 3, 1700000000000}));
  const Metadata want{MetricType::kHistogram, "seconds", "A \"quoted\" text\nof two lines"};
  EXPECT_EQ(sink.metadata_of.at("rpc_count"), want);
  EXPECT_EQ(sink.metadata_of.at(R"(rpc_bucket{le="0.1"})"), want);
}

TEST(ExpositionParser, UnescapesAndSortsLabelsAndDropsEmptyOnes) {
  const RecordingSink sink =
      Read("m{ z = \"a\\\\b\\\"c\\nd\" , b=\"\\w}\",e=\"\", } 1 1\n{__name__=\"up\", job=\"x\"} 1 2\nn{}3 4\n");
  EXPECT_THAT(sink.refused, IsEmpty());
  ASSERT_THAT(sink.samples, SizeIs(3));
  EXPECT_EQ(sink.samples[0].series, "m{b=\"\\\\w}\",z=\"a\\\\b\\\"c\\nd\"}");
  EXPECT_EQ(sink.samples[1].series, "up{job=\"x\"}");
  EXPECT_EQ(sink.samples[2].series, "n");
}

TEST(ExpositionParser, ToleratesCarriageReturnsTabsAndAMissingLastNewline) {
  const RecordingSink sink = Read("a\t1\t10\r\nb{x=\"y\"}\t2   20\r\n\r\nc 3 30");
  EXPECT_THAT(sink.refused, IsEmpty());
  EXPECT_THAT(sink.samples, SizeIs(3));
}

TEST(ExpositionParser, KeepsSpecialValues) {
  const RecordingSink sink = Read("a NaN 1\na -Inf 2\na StaleNaN 3\na 0x 4\na 1e-400 5\na -0 6\n");
  ASSERT_THAT(sink.samples, SizeIs(5));
  EXPECT_EQ(std::bit_cast<std::uint64_t>(sink.samples[0].value), 0x7ff8000000000001U);
  EXPECT_EQ(sink.samples[1].value, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(std::bit_cast<std::uint64_t>(sink.samples[2].value), kStaleNaNBits);
  EXPECT_EQ(sink.samples[3].value, 0);
  EXPECT_TRUE(std::signbit(sink.samples[4].value));
  EXPECT_THAT(sink.refused, ElementsAre(Pair(4U, HasSubstr("\"0x\""))));
}

struct BadLine {
  const char* line;
  const char* culprit;
};

class BadLines : public ::testing::TestWithParam<BadLine> {};

// Every bad line stands between good ones, which are kept.
TEST_P(BadLines, AreRefusedWithNumberAndCulpritAndOthersKept) {
  const std::string text = "good 1 1\n" + std::string(GetParam().line) + "\ngood 2 2\n";
  const RecordingSink sink = Read(text, Format(TextFormat::kPrometheus));
  EXPECT_THAT(sink.samples, SizeIs(2));
  EXPECT_EQ(sink.announced, 1);  // a bad line leaves no series behind
  EXPECT_THAT(sink.refused, ElementsAre(Pair(2U, HasSubstr(GetParam().culprit))));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadLines,
    ::testing::Values(
        BadLine{"name_only", "value is missing"}, BadLine{"{a=\"b\"} 1 1", "metric name is missing"},
        BadLine{"9lives 1 1", "9lives"}, BadLine{"a-b 1 1", "-b"}, BadLine{"a one 1", "\"one\""}, BadLine{"a 1 now", "\"now\""},
        BadLine{"a 1 1.5", "milliseconds"}, BadLine{"a 1 1e3", "milliseconds"},
        BadLine{"a 1 99999999999999999999", "99999999999999999999"}, BadLine{"a 1 2 3", "\"3\""},
        BadLine{"a 1 2 # {x=\"y\"} 3", "after the timestamp"}, BadLine{"a 1e999 1", "1e999"}, BadLine{"a 1_000 1", "1_000"},
        BadLine{"a 0x10 1", "0x10"}, BadLine{"a +-1 1", "+-1"}, BadLine{"a nan(1) 1", "nan(1)"}, BadLine{"a 1", "no timestamp"},
        BadLine{"a{b=\"c\" 1 1", "expected ',' or '}'"}, BadLine{"a{b=\"c\"", "closing '}'"}, BadLine{"a{", "closing '}'"},
        BadLine{"a{b=\"c 1 1", "closing quote"}, BadLine{"a{b=c} 1 1", "double quotes"}, BadLine{"a{b='c'} 1 1", "double quotes"},
        BadLine{"a{b} 1 1", "expected '='"}, BadLine{"a{=\"c\"} 1 1", "label name"}, BadLine{"a{1b=\"c\"} 1 1", "label name"},
        BadLine{"a{b:c=\"d\"} 1 1", "expected '='"}, BadLine{"a{b=\"c\"d=\"e\"} 1 1", "expected ',' or '}'"},
        BadLine{"a{b=\"c\",,} 1 1", "label name"}, BadLine{"a{b=\"c\",b=\"d\"} 1 1", "\"b\" is there twice"},
        BadLine{"a{__name__=\"b\"} 1 1", "\"__name__\" is there twice"}, BadLine{"a{b=\"\xff\"} 1 1", "UTF-8"},
        BadLine{"a{b=\"\xc0\x80\"} 1 1", "UTF-8"}, BadLine{"a{b=\"\xed\xa0\x80\"} 1 1", "UTF-8"}, BadLine{"a{b=\"c\"}} 1 1", "}"},
        BadLine{"# TYPE a sometype", "sometype"}, BadLine{"# TYPE 9a counter", "9a"}, BadLine{"# HELP", "metric name"},
        BadLine{"# HELP a \xff", "UTF-8"}, BadLine{"\xef\xbb\xbf", "xef"}, BadLine{"= 1 1", "="}));

TEST(ExpositionParser, RefusesABadExemplarButKeepsItsSample) {
  const char* const kBad[] = {"# {x=\"y\"} one",   "# {x=\"y\"}", "# x 1", "# {x=\"y\"} 1 now",
                              "# {x=\"y\"} 1 2 3", "# {x=\"y\"",  "#"};
  for (const char* exemplar : kBad) {
    const RecordingSink sink = Read(std::string("a 1 1 ") + exemplar + "\n# EOF\n");
    EXPECT_THAT(sink.samples, SizeIs(1)) << exemplar;
    EXPECT_THAT(sink.exemplars, IsEmpty()) << exemplar;
    EXPECT_THAT(sink.refused, SizeIs(1)) << exemplar;
  }
  const RecordingSink sink = Read("a 1 1 # {x=\"" + std::string(128, 'y') + "\"} 1\n# EOF\n");
  EXPECT_THAT(sink.refused, ElementsAre(Pair(1U, HasSubstr("129 characters"))));
  EXPECT_THAT(sink.samples, SizeIs(1));
}

TEST(ExpositionParser, GivesTheDefaultTimestampToSamplesWithoutOne) {
  ParserOptions options;
  options.default_timestamp = 42;
  const RecordingSink sink = Read("a 1\nb 2 7\n", options);
  ASSERT_THAT(sink.samples, SizeIs(2));
  EXPECT_EQ(sink.samples[0].timestamp, 42);
  EXPECT_EQ(sink.samples[1].timestamp, 7);
}

TEST(ExpositionParser, StopsAtTheFirstBadLineWhenStrict) {
  RecordingSink sink;
  ParserOptions options;
  options.strict = true;
  options.format = TextFormat::kPrometheus;
  ExpositionParser parser(options, &sink);
  const Status s = parser.Feed("a 1 1\nb\nc 1 1\n");
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(s.message(), HasSubstr("line 2: value is missing"));
  EXPECT_EQ(parser.Feed("d 1 1\n"), s);
  EXPECT_EQ(parser.Finish(), s);
  EXPECT_THAT(sink.samples, SizeIs(1));
}

TEST(ExpositionParser, RefusesALineBeyondTheBoundWithoutHoldingIt) {
  ParserOptions options = Format(TextFormat::kPrometheus);
  options.max_line_bytes = 100;
  RecordingSink sink;
  ExpositionParser parser(options, &sink);
  EXPECT_TRUE(parser.Feed("a 1 1\n").ok());
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(parser.Feed("bbbbbbbbbb").ok());
  EXPECT_TRUE(parser.Feed("\nc 1 1\n").ok());
  EXPECT_TRUE(parser.Feed("d{x=\"" + std::string(200, 'y') + "\"} 1 1\ne 1 1\n").ok());
  EXPECT_TRUE(parser.Finish().ok());
  ASSERT_THAT(sink.samples, SizeIs(3));
  EXPECT_EQ(sink.samples[1].line, 3U);
  EXPECT_THAT(sink.refused,
              ElementsAre(Pair(2U, HasSubstr("longer than 100 bytes")), Pair(4U, HasSubstr("longer than 100 bytes"))));
}

TEST(ExpositionParser, RemembersSeriesAcrossLinesAndInputs) {
  RecordingSink sink;
  ExpositionParser parser(Format(TextFormat::kPrometheus), &sink);
  for (int input = 0; input < 3; ++input) {
    EXPECT_TRUE(parser.Feed("a 1 1\na{x=\"y\"} 2 1\nab 3 1\na {x=\"y\"} 4 1\na 5 2\na{x=\"y\"} 6 2\n").ok());
    EXPECT_TRUE(parser.Finish().ok());
  }
  EXPECT_EQ(sink.announced, 4);  // "a {x=" is other text of the same series
  ASSERT_THAT(sink.samples, SizeIs(18));
  EXPECT_EQ(sink.samples[15].series, "a{x=\"y\"}");
  EXPECT_EQ(sink.samples[15].line, 4U);
  EXPECT_EQ(sink.samples[14].series, "ab");
}

TEST(ExpositionParser, BoundsTheSeriesItRemembers) {
  ParserOptions options = Format(TextFormat::kPrometheus);
  options.series_cache_bytes = 4096;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "m{i=\"" + std::to_string(i) + "\"} " + std::to_string(i) + " 1\n";
  const RecordingSink sink = Read(text, options);
  EXPECT_THAT(sink.samples, SizeIs(1000));
  EXPECT_GT(sink.forgotten, 10);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(sink.samples[static_cast<std::size_t>(i)].series, "m{i=\"" + std::to_string(i) + "\"}");
  }
}

TEST(ExpositionParser, TellsMetadataOnceAndAgainWhereItChanges) {
  const RecordingSink same = Read("# TYPE a counter\n# HELP a x\na 1 1\n# TYPE a counter\n# HELP a x\na 2 2\na 2 3\n");
  EXPECT_EQ(same.announced, 1);
  EXPECT_EQ(same.metadata_told, 1);
  const RecordingSink other = Read("# TYPE a counter\na 1 1\n# TYPE a gauge\n# HELP a x\na 2 2\na 2 3\n");
  EXPECT_EQ(other.announced, 1);
  EXPECT_EQ(other.metadata_told, 2);
  EXPECT_EQ(other.metadata_of.at("a"), (Metadata{MetricType::kGauge, "", "x"}));
  const RecordingSink braces = Read("{__name__=\"a\"} 1 1\n# TYPE a gauge\nb 1 1\n{__name__=\"a\"} 2 2\n");
  EXPECT_EQ(braces.metadata_of.at("a").type, MetricType::kGauge);
  EXPECT_EQ(braces.metadata_told, 1);
  const RecordingSink late = Read("a 1 1\n# TYPE a gauge\na 2 2\n");
  EXPECT_EQ(late.metadata_of.at("a").type, MetricType::kGauge);
}

// Go's exporters have such families: "alloc_bytes" is a gauge, "alloc_bytes_total" a counter of family "alloc_bytes".
TEST(ExpositionParser, KeepsTheMetadataOfTwoFamiliesOfOneNameApart) {
  std::string text;
  for (int scrape = 0; scrape < 3; ++scrape)
    text += "# TYPE a gauge\na 1 1\n# TYPE b gauge\nb 1 1\n# TYPE a counter\na_total 1 1\n";
  const RecordingSink sink = Read(text);
  EXPECT_EQ(sink.announced, 3);
  EXPECT_EQ(sink.metadata_told, 3);
  EXPECT_EQ(sink.metadata_of.at("a").type, MetricType::kGauge);
  EXPECT_EQ(sink.metadata_of.at("a_total").type, MetricType::kCounter);
}

TEST(ExpositionParser, TakesConcatenatedScrapes) {
  const RecordingSink sink = Read("a 1 1\n# EOF\na 2 2\n# EOF\n");
  EXPECT_THAT(sink.samples, SizeIs(2));
  EXPECT_THAT(sink.refused, IsEmpty());
}

TEST(ExpositionParser, TellsAnInputThatWasCutOff) {
  RecordingSink sink;
  ExpositionParser parser(Format(TextFormat::kOpenMetrics), &sink);
  EXPECT_TRUE(parser.Feed("a 1 1\n# EOF\n").ok());
  EXPECT_TRUE(parser.Finish().ok());
  EXPECT_TRUE(parser.eof_seen());
  EXPECT_TRUE(parser.Feed("a 1 1\n").ok());
  EXPECT_TRUE(parser.Finish().ok());
  EXPECT_FALSE(parser.eof_seen());
  EXPECT_TRUE(parser.Finish().ok());
  EXPECT_FALSE(parser.eof_seen());
}

TEST(DetectTextFormat, DecidesByWhatOnlyOneFormatHas) {
  using enum TextFormat;
  struct Row {
    const char* text;
    bool complete;
    TextFormat want;
  };
  const Row kRows[] = {
      {"", true, kPrometheus},
      {"a 1 1000\n", true, kPrometheus},
      {"a 1 1000\n# EOF", true, kOpenMetrics},
      {"a 1 1000\n", false, kOpenMetrics},
      {"a 1 1700000000\n", false, kOpenMetrics},
      {"a 1 1700000000000\n", false, kPrometheus},
      {"a 1 1.5\n", true, kOpenMetrics},
      {"a{b=\"} 1 1.5\"} 1 1700000000000\n", false, kPrometheus},
      {"# UNIT a seconds\n", false, kOpenMetrics},
      {"# TYPE a untyped\na 1 5\n", false, kPrometheus},
      {"# TYPE a unknown\na 1 5\n", true, kOpenMetrics},
      {"# TYPE a counter\na_total 1 5 # {} 3\n", true, kOpenMetrics},
      {"# TYPE a counter\na_total 1\n", false, kPrometheus},
      {"a 1 17000", false, kPrometheus},  // cut off: nothing is known yet
      {"garbage # {\n", true, kPrometheus},
      {"a{ 1 1700000000000\n", true, kPrometheus},
  };
  for (const Row& row : kRows) EXPECT_EQ(DetectTextFormat(row.text, row.complete), row.want) << row.text;
}

TEST(ExpositionParser, ReportsAnEofThatContradictsTheDetectedFormat) {
  std::string text;
  while (text.size() < 300'000) text += "a 1 1700000000000\n";
  const RecordingSink sink = Read(text + "# EOF\n");
  ASSERT_THAT(sink.refused, SizeIs(1));
  EXPECT_THAT(sink.refused[0].second, HasSubstr("milliseconds"));
}

std::string Gunzip(const std::string& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return text;
  char buffer[65536];
  for (int n; (n = gzread(file, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  gzclose(file);
  return text;
}

TEST(ExpositionParser, ReadsTheRecordedNodeExporterCaptureWhole) {
  const std::string text = Gunzip(CHRONOLITH_TEST_DATA "/node_exporter.om.gz");
  ASSERT_GT(text.size(), 100'000U);
  const RecordingSink sink = Read(text);
  EXPECT_THAT(sink.refused, IsEmpty());
  EXPECT_THAT(sink.samples, SizeIs(2145));  // as promtool counts them
  EXPECT_EQ(sink.announced, 429);
  EXPECT_EQ(sink.metadata_of.at("node_load1").type, MetricType::kGauge);
}

}  // namespace
}  // namespace chronolith::interop

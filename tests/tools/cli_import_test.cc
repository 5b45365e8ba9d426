#include <gmock/gmock.h>

#include <algorithm>

#include "interop/openmetrics.h"
#include "interop/value_text.h"
#include "tests/interop/recording_sink.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CliImport : public CliTest {};

std::string Gunzip(const std::string& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  char buffer[65536];
  for (int n; file != nullptr && (n = gzread(file, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  if (file != nullptr) gzclose(file);
  return text;
}

// RFC 4180, as a reader would do it.
std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// Off a terminal; the line comes after ten seconds, while there is still something to read.
TEST_F(CliImport, SaysHowFarItIsInALineNowAndThen) {
  Subprocess import(Command({"import", "--db", db_, "--input-format", "prometheus", "-"}));
  ASSERT_TRUE(import.Write("a 1 1700000000000\n" + std::string(1 << 20, '\n')));
  EXPECT_TRUE(import.WaitUntil([](const std::string&, const std::string& err) { return err.ends_with("/s\n"); })) << import.err();
  EXPECT_THAT(import.err(), HasSubstr("import: "));
  EXPECT_THAT(import.err(), HasSubstr("iB, "));
  EXPECT_EQ(import.err().find('\r'), std::string::npos) << "no bar";
  import.CloseInput();
  EXPECT_EQ(import.Wait().exit_code, kOk);
}

TEST_F(CliImport, ADryRunCountsAndNamesBadLinesAndMakesNoDatabase) {
  const ProcessResult dry = Import("a 1 1000\nb{ 2 1000\na 3 2000\n", {"--input-format", "prometheus", "--dry-run"});
  EXPECT_EQ(dry.exit_code, kProblems);
  EXPECT_EQ(Json(dry)["dry_run"], true);
  EXPECT_EQ(Json(dry)["samples"], 2);
  EXPECT_EQ(Json(dry)["refused"], 1);
  EXPECT_THAT(dry.err, HasSubstr("stdin:2: "));
  EXPECT_FALSE(std::filesystem::exists(db_));
  ASSERT_EQ(Import("a 1 1000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  EXPECT_EQ(Import("a 3 2000\n", {"--input-format", "prometheus", "--dry-run"}).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("a,1000,1"));
}

// Each series takes some 300 bytes where it is in memory: they do not fit what the store gets of this limit.
TEST_F(CliImport, MoreSeriesThanTheMemoryLimitHoldsAreTaken) {
  constexpr int kSeries = 200'000;
  std::string text;
  for (int i = 0; i < kSeries; ++i) text += "m{i=\"" + std::to_string(i) + "\"} " + std::to_string(i) + " 1000\n";
  const ProcessResult imported = Import(text, {"--input-format", "prometheus", "--memory-limit", "64MiB", "--shards", "4"});
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_EQ(Json(imported)["new_series"], kSeries);
  EXPECT_EQ(Json(imported)["refused"], 0);
  EXPECT_THAT(Query("{i=\"77\"}"), SizeIs(1));
  EXPECT_EQ(Json(Import(text, {"--input-format", "prometheus", "--memory-limit", "64MiB"}))["new_series"], 0);
  EXPECT_THAT(Cli({"import", "--help"}).out, HasSubstr("(256MiB)"));
}

TEST_F(CliImport, RealScrapesComeBackWhole) {
  const std::string capture = CHRONOLITH_TEST_DATA "/node_exporter.om.gz";
  const ProcessResult imported = Import("", {capture});
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  EXPECT_EQ(Json(imported)["samples"], 2145);
  EXPECT_EQ(Json(imported)["new_series"], 429);
  EXPECT_EQ(Json(imported)["refused"], 0);

  interop::RecordingSink sink;
  interop::ExpositionParser parser({}, &sink);
  ASSERT_TRUE(parser.Feed(Gunzip(capture)).ok());
  ASSERT_TRUE(parser.Finish().ok());
  std::vector<std::string> want;
  for (const auto& s : sink.samples) {
    want.push_back(CsvField(s.series) + "," + std::to_string(s.timestamp) + "," + interop::FormatValue(s.value));
  }
  std::sort(want.begin(), want.end());
  std::vector<std::string> got = Query("{}");
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, want);

  // The same again changes nothing.
  const ProcessResult again = Import("", {capture});
  EXPECT_EQ(again.exit_code, kOk) << again.err;
  EXPECT_EQ(Json(again)["new_series"], 0);
  EXPECT_THAT(Query("{}"), SizeIs(2145));
}

TEST_F(CliImport, TakesSeveralFilesStdinAndGzip) {
  const std::string plain = WriteFile("a.prom", "a 1 1000\n");
  const std::string zipped = WriteGzip("b.gz", "b 2 2000\n");
  EXPECT_EQ(Import("", {plain, zipped}).exit_code, kOk);
  EXPECT_EQ(Import("c 3 3000\n", {"-"}).exit_code, kOk);
  EXPECT_EQ(Import("d 4 4000\n").exit_code, kOk);
  EXPECT_EQ(Import(ReadFile(WriteGzip("e.gz", "e 5 5000\n"))).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("a,1000,1", "b,2000,2", "c,3000,3", "d,4000,4", "e,5000,5"));
}

TEST_F(CliImport, ReadsSecondsInOpenMetricsAndMillisecondsInPrometheusText) {
  EXPECT_EQ(Import("", {WriteFile("o.txt", "o 1 1000\n# EOF\n")}).exit_code, kOk);
  EXPECT_EQ(Import("", {WriteFile("p.txt", "p 1 1000\n")}).exit_code, kOk);
  EXPECT_EQ(Import("f 1 1000\n", {"--input-format", "openmetrics"}).exit_code, kOk);
  EXPECT_EQ(Import("g 1 1000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  std::string big;
  while (big.size() < 600'000) big += "q{pad=\"" + std::string(100, 'x') + "\"} 1 1000\n";
  EXPECT_EQ(Import("", {WriteFile("q.txt", big)}).exit_code, kOk);
  EXPECT_EQ(Import("", {WriteFile("r.txt", "r 1 1000\n" + big + "# EOF\n")}).exit_code, kOk);
  EXPECT_THAT(Query("{__name__=~\"[fgopr]\"}"), ElementsAre("f,1000000,1", "g,1000,1", "o,1000000,1", "p,1000,1", "r,1000000,1"));
}

TEST_F(CliImport, KeepsGoodLinesAndReportsBadOnesByFileAndNumber) {
  const std::string file = WriteFile("mixed.prom", "good 1 1000\nbad one 1000\ngood 2 2000\nworse{ 1 1\nnotime 1\ngood 3 3000\n");
  const ProcessResult result = Import("", {file});
  EXPECT_EQ(result.exit_code, kProblems);
  EXPECT_THAT(result.err, HasSubstr(file + ":2: value \"one\" is not a number"));
  auto json = Json(result);
  EXPECT_EQ(json["samples"], 3);
  EXPECT_EQ(json["refused"], 3);
  ASSERT_EQ(json["refusals"].size(), 3U);
  EXPECT_EQ(json["refusals"][1]["file"], file);
  EXPECT_EQ(json["refusals"][1]["line"], 4);
  EXPECT_EQ(json["refusals"][2]["line"], 5);
  EXPECT_EQ(json["series"], 1);
  EXPECT_THAT(Query("{}"), SizeIs(3));
}

TEST_F(CliImport, ReportsWhatTheStoreRefusesByLine) {
  std::string many = "many{";
  for (int i = 0; i < 40; ++i) many += "l" + std::to_string(i) + "=\"x\",";
  const std::string file = WriteFile("refused.prom", "good 1 1000\n" + many + "} 1 1\nlong{l=\"" + std::string(5000, 'x') +
                                                         "\"} 1 1\nlong{l=\"" + std::string(5000, 'x') + "\"} 2 2\ngood 2 2000\n");
  const ProcessResult result = Import("", {file});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  auto json = Json(result);
  EXPECT_EQ(json["samples"], 2);
  EXPECT_EQ(json["refused"], 3);
  ASSERT_EQ(json["refusals"].size(), 3U);
  EXPECT_EQ(json["refusals"][0]["line"], 2);
  EXPECT_EQ(json["refusals"][1]["line"], 3);
  EXPECT_EQ(json["refusals"][2]["line"], 4);
  EXPECT_THAT(Query("{}"), ElementsAre("good,1000,1", "good,2000,2"));
}

TEST_F(CliImport, BoundsTheReportButCountsAll) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "bad\n";
  const ProcessResult result = Import(text + "good 1 1\n", {"--max-errors", "5"});
  EXPECT_EQ(result.exit_code, kProblems);
  EXPECT_EQ(Json(result)["refused"], 100);
  EXPECT_EQ(Json(result)["refusals"].size(), 5U);
  EXPECT_LE(Lines(result.err).size(), 7U);
}

TEST_F(CliImport, StopsAtTheFirstBadLineWhenStrict) {
  const ProcessResult result = Import("a 1 1\nb\nc 1 1\n", {"--strict"});
  EXPECT_EQ(result.exit_code, kProblems);
  EXPECT_THAT(result.err, HasSubstr("line 2"));
  EXPECT_THAT(Query("{}"), ElementsAre("a,1,1"));
}

TEST_F(CliImport, GivesATimestampToSamplesWithoutOne) {
  EXPECT_EQ(Import("a 1\n").exit_code, kProblems);
  EXPECT_EQ(Import("a 1\nb 2 7\n", {"--timestamp", "2023-11-14T22:13:20Z"}).exit_code, kOk);
  EXPECT_EQ(Import("a 3\n", {"--timestamp", "1700000001000"}).exit_code, kOk);
  EXPECT_THAT(Query("{}"), ElementsAre("a,1700000000000,1", "a,1700000001000,3", "b,7,2"));
}

TEST_F(CliImport, NamesFilesItCannotReadAndImportsTheOthers) {
  std::filesystem::create_directory(Path("folder"));
  const std::string whole = ReadFile(WriteGzip("whole.gz", "z 1 1\n" + std::string(100'000, '\n')));
  const std::string cut = WriteFile("cut.gz", whole.substr(0, whole.size() / 2));
  const std::string good = WriteFile("good.prom", "good 1 1\n");
  const ProcessResult result = Import("", {Path("nowhere.prom"), Path("folder"), cut, good});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr("nowhere.prom"));
  EXPECT_THAT(result.err, HasSubstr("folder is a directory"));
  EXPECT_THAT(result.err, HasSubstr("cut.gz is damaged or cut off"));
  EXPECT_EQ(Json(result)["failed_files"].size(), 3U);
  EXPECT_THAT(Query("good"), SizeIs(1));
}

TEST_F(CliImport, KeepsSpecialValuesExemplarsAndMetadata) {
  const ProcessResult result = Import(
      "# TYPE rpc histogram\n# UNIT rpc seconds\n# HELP rpc How long, \"quoted\".\n"
      "rpc_bucket{le=\"+Inf\"} 8 10 # {trace_id=\"KOO5S4\"} 0.054 9.5\n"
      "v NaN 1\nv +Inf 2\nv -Inf 3\nv StaleNaN 4\nv 0.1 5\n# EOF\n");
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(Json(result)["exemplars"], 1);
  EXPECT_THAT(Query("v"), ElementsAre("v,1000,NaN", "v,2000,+Inf", "v,3000,-Inf", "v,4000,StaleNaN", "v,5000,0.1"));

  auto query = Json(Cli({"query", "--db", db_, "--format", "json", "--exemplars", "rpc_bucket"}));
  EXPECT_EQ(query["series"][0]["samples"], nlohmann::json::parse(R"([[10000,"8"]])"));
  EXPECT_EQ(query["series"][0]["exemplars"],
            nlohmann::json::parse(R"([{"timestamp":9500,"value":"0.054","labels":{"trace_id":"KOO5S4"}}])"));
  auto series = Json(Cli({"series", "--db", db_, "--format", "json", "--metadata", "rpc_bucket"}));
  EXPECT_EQ(series["series"][0]["type"], "histogram");
  EXPECT_EQ(series["series"][0]["unit"], "seconds");
  EXPECT_EQ(series["series"][0]["help"], "How long, \"quoted\".");
}

TEST_F(CliImport, AnEmptyInputIsNoError) {
  EXPECT_EQ(Import("").exit_code, kOk);
  EXPECT_EQ(Import("\n\n# nothing\n").exit_code, kOk);
  EXPECT_THAT(Query("{}"), IsEmpty());
}

TEST_F(CliImport, EveryLevelStoresTheSame) {
  for (const char* level : {"queued", "logged", "synced"}) {
    EXPECT_EQ(Import(std::string(level) + " 1 1\n", {"--level", level}).exit_code, kOk);
  }
  EXPECT_THAT(Query("{}"), ElementsAre("logged,1,1", "queued,1,1", "synced,1,1"));
}

TEST_F(CliImport, ManySmallBatchesLoseNothing) {
  std::string text;
  for (int t = 0; t < 20; ++t) {
    for (int s = 0; s < 500; ++s)
      text += "m{s=\"" + std::to_string(s) + "\"} " + std::to_string(s * 1000 + t) + " " + std::to_string(t) + "\n";
  }
  EXPECT_EQ(Json(Import(text, {"--batch", "7"}))["samples"], 10'000);
  EXPECT_THAT(Query("{}"), SizeIs(10'000));
  EXPECT_THAT(Query("m{s=\"123\"}", {"--start", "5", "--end", "7"}),
              ElementsAre("\"m{s=\"\"123\"\"}\",5,123005", "\"m{s=\"\"123\"\"}\",6,123006"));
}

}  // namespace
}  // namespace chronolith::testing

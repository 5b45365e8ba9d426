#include <gmock/gmock.h>

#include <algorithm>

#include "chronolith/storage.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CliRead : public CliTest {
 protected:
  CliRead() {
    std::string text;
    for (int t = 1; t <= 5; ++t) {
      for (const char* job : {"api", "db", "web"}) {
        text += "up{job=\"" + std::string(job) + "\",zone=\"a\"} 1 " + std::to_string(t * 1000) + "\n";
      }
    }
    text += "load{host=\"x,\\\"y\\\"\"} 0.5 1000\n";
    EXPECT_EQ(Import(text).exit_code, kOk);
  }
  std::vector<std::string> Print(std::vector<std::string> args) const {
    args.insert(args.begin() + 1, {"--db", db_});
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Lines(result.out);
  }
};

TEST_F(CliRead, QueryPrintsForPeopleByDefault) {
  EXPECT_THAT(Print({"query", "up{job=\"db\"}", "--limit", "2"}),
              ElementsAre("up{job=\"db\",zone=\"a\"}", "  1970-01-01T00:00:01.000Z  1", "  1970-01-01T00:00:02.000Z  1"));
}

TEST_F(CliRead, QueryPrintsJsonAndCsv) {
  auto json = Json(Cli({"query", "--db", db_, "--format", "json", "{host!=\"\"}"}));
  EXPECT_EQ(json,
            nlohmann::json::parse(
                R"({"series":[{"labels":{"__name__":"load","host":"x,\"y\""},"samples":[[1000,"0.5"]]}],"truncated":false})"));
  EXPECT_THAT(Print({"query", "load", "--format", "csv"}),
              ElementsAre("series,timestamp,value", "\"load{host=\"\"x,\\\"\"y\\\"\"\"\"}\",1000,0.5"));
}

TEST_F(CliRead, QueryEndsBeforeTheEndOfTheRange) {
  EXPECT_THAT(Query("up{job=\"db\"}", {"--start", "2000", "--end", "4000"}), SizeIs(2));
  EXPECT_THAT(Query("up{job=\"db\"}", {"--start", "1970-01-01T00:00:05Z"}), SizeIs(1));
  EXPECT_THAT(Query("up{job=\"db\"}", {"--start", "-1h"}), IsEmpty());
  EXPECT_THAT(Query("up", {"--start", "3000", "--end", "3000"}), IsEmpty());
}

TEST_F(CliRead, EveryMatcherWorks) {
  EXPECT_THAT(Query("up"), SizeIs(15));
  EXPECT_THAT(Query("up{job=~\"a.*|web\"}"), SizeIs(10));
  EXPECT_THAT(Query("up{job!~\"a.*\"}"), SizeIs(10));
  EXPECT_THAT(Query("up{job!=\"api\",zone=\"a\"}"), SizeIs(10));
  EXPECT_THAT(Query("{host=\"\"}"), SizeIs(15));
  EXPECT_THAT(Query("up{job=\"nothing\"}"), IsEmpty());
}

TEST_F(CliRead, ABadRegularExpressionIsAUsageErrorThatNamesIt) {
  for (const char* command : {"query", "series", "labels"}) {
    const ProcessResult result = Cli({command, "--db", db_, "up{job=~\"(\"}"});
    EXPECT_EQ(result.exit_code, kUsage) << command;
    EXPECT_THAT(result.err, HasSubstr("("));
  }
}

TEST_F(CliRead, ALimitIsToldNotSilent) {
  const ProcessResult query = Cli({"query", "--db", db_, "up", "--limit", "7", "--format", "json"});
  EXPECT_EQ(Json(query)["truncated"], true);
  EXPECT_THAT(query.err, HasSubstr("truncated"));
  EXPECT_EQ(Json(query)["series"].size(), 2U);
  const ProcessResult whole = Cli({"query", "--db", db_, "up", "--limit", "15", "--format", "json"});
  EXPECT_EQ(Json(whole)["truncated"], false);
  EXPECT_THAT(whole.err, IsEmpty());

  const ProcessResult series = Cli({"series", "--db", db_, "--limit", "2", "--format", "json"});
  EXPECT_EQ(Json(series)["series"].size(), 2U);
  EXPECT_EQ(Json(series)["truncated"], true);
  EXPECT_THAT(series.err, HasSubstr("truncated"));
  EXPECT_EQ(Json(Cli({"values", "--db", db_, "job", "--limit", "3", "--format", "json"}))["truncated"], false);
}

TEST_F(CliRead, ASmallMemoryLimitGivesTheSameInSmallerPieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "wide{id=\"" + std::to_string(10'000 + i) + "\"} 1 1000\n";
  ASSERT_EQ(Import(text).exit_code, kOk);
  const std::vector<std::vector<std::string>> reads = {
      {"query", "wide", "--format", "csv"}, {"series", "wide"}, {"labels"}, {"values", "id"}, {"values", "id", "wide", "up"}};
  for (std::vector<std::string> args : reads) {
    std::vector<std::string> whole = Print(args);
    args.insert(args.end(), {"--memory-limit", "1MiB"});
    std::vector<std::string> pieces = Print(args);
    if (args[0] == "query" || args[0] == "series") {
      EXPECT_FALSE(std::is_sorted(pieces.begin(), pieces.end())) << args[0] << ": 256 at a time are sorted";
      std::sort(whole.begin(), whole.end());
      std::sort(pieces.begin(), pieces.end());
    }
    EXPECT_EQ(pieces, whole) << args[0];
    args.back() = "much";
    args.insert(args.begin() + 1, {"--db", db_});
    EXPECT_EQ(Cli(args).exit_code, kUsage) << args[0];
  }
}

TEST_F(CliRead, ListsSeriesLabelsAndValues) {
  EXPECT_THAT(Print({"series", "up{job=~\"api|db\"}"}), ElementsAre("up{job=\"api\",zone=\"a\"}", "up{job=\"db\",zone=\"a\"}"));
  EXPECT_THAT(Print({"series", "up{job=\"web\"}", "load", "up{job=\"web\"}"}),
              ElementsAre("load{host=\"x,\\\"y\\\"\"}", "up{job=\"web\",zone=\"a\"}"));
  EXPECT_THAT(Print({"labels"}), ElementsAre("__name__", "host", "job", "zone"));
  EXPECT_THAT(Print({"labels", "up"}), ElementsAre("__name__", "job", "zone"));
  EXPECT_THAT(Print({"values", "__name__"}), ElementsAre("load", "up"));
  EXPECT_THAT(Print({"values", "job", "up{job!=\"db\"}", "--format", "csv"}), ElementsAre("values", "api", "web"));
  EXPECT_THAT(Print({"values", "nothing"}), IsEmpty());
  EXPECT_EQ(Json(Cli({"labels", "--db", db_, "load", "--format", "json"}))["labels"],
            nlohmann::json::parse(R"(["__name__","host"])"));
}

// More than come in one piece.
TEST_F(CliRead, ManySeriesComePieceByPiece) {
  constexpr std::size_t kMany = 70'000;
  std::string text;
  std::vector<std::string> names, rows;
  for (std::size_t i = 0; i < kMany; ++i) {
    const std::string name = "many{i=\"" + std::to_string(100'000 + i) + "\"}";
    text.append(name).append(" ").append(std::to_string(i)).append(" 1000\n");
    names.push_back(name);
    rows.push_back(std::to_string(i));
  }
  ASSERT_EQ(Import(text).exit_code, kOk);
  std::vector<std::string> listed = Print({"series", "many"});
  EXPECT_FALSE(std::is_sorted(listed.begin(), listed.end()));
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(listed, names);

  const nlohmann::json json = Json(Cli({"query", "--db", db_, "many", "--format", "json"}));
  EXPECT_EQ(json["truncated"], false);
  std::vector<std::string> values;
  for (const auto& series : json["series"]) values.push_back(series["samples"][0][1]);
  std::sort(values.begin(), values.end());
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(values, rows);

  const nlohmann::json limited = Json(Cli({"query", "--db", db_, "many", "--limit", "69999", "--format", "json"}));
  EXPECT_EQ(limited["truncated"], true);
  EXPECT_EQ(limited["series"].size(), kMany - 1);
  EXPECT_EQ(Json(Cli({"series", "--db", db_, "many", "--limit", "69999", "--format", "json"}))["truncated"], true);
}

TEST_F(CliRead, StatShowsEveryShard) {
  auto json = Json(Cli({"stat", "--db", db_, "--format", "json"}));
  EXPECT_EQ(json["shards"].size(), 16U);
  EXPECT_EQ(json["series"], 4);
  EXPECT_EQ(json["engine"], "rocksdb");
  EXPECT_EQ(json["log_failed"], false);
  std::uint64_t sum = 0;
  for (const auto& shard : json["shards"]) sum += shard["series"].get<std::uint64_t>();
  EXPECT_EQ(sum, 4U);
  EXPECT_THAT(Print({"stat", "--format", "csv"}), SizeIs(17));
  EXPECT_GT(Print({"stat"}).size(), 18U);
}

TEST_F(CliRead, ReadingChangesNothingOnDisk) {
  const auto listing = [this] {
    std::vector<std::pair<std::string, std::uintmax_t>> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(db_)) {
      if (entry.is_regular_file()) files.emplace_back(entry.path().string(), entry.file_size());
    }
    std::sort(files.begin(), files.end());
    return files;
  };
  const auto before = listing();
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Query("{}"), SizeIs(16));
  Print({"stat"});
  EXPECT_EQ(listing(), before);
}

TEST_F(CliRead, AFullDiskUnderStdoutIsAFailure) {
  const ProcessResult result =
      RunProcess({"/bin/sh", "-c", std::string("exec '") + CHRONOLITH_CLI + "' query --db '" + db_ + "' '{}' > /dev/full"});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr("stdout"));
}

TEST_F(CliRead, ADamagedShardIsNamedAndCanBeLeftOut) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "many{i=\"" + std::to_string(i) + "\"} 1 1000\n";
  ASSERT_EQ(Import(text).exit_code, kOk);
  ASSERT_TRUE(Storage::Open({}, db_).value()->Checkpoint().ok());  // what an import logged lies in files only then
  // A table file of one shard: its family's name stands in it.
  std::string victim;
  for (const auto& entry : std::filesystem::directory_iterator(db_ + "/data")) {
    if (entry.path().extension() != ".sst") continue;
    const std::string bytes = ReadFile(entry.path());
    if (bytes.find("index.3") != std::string::npos && bytes.find("epoch/") == std::string::npos) victim = entry.path();
  }
  ASSERT_NE(victim, "");
  std::filesystem::remove(victim);
  const std::string name = std::filesystem::path(victim).filename();
  const ProcessResult stat = Cli({"stat", "--db", db_, "--format", "json"});
  EXPECT_EQ(stat.exit_code, kProblems);
  EXPECT_THAT(stat.err, HasSubstr(name));
  EXPECT_THAT(Json(stat)["shards"][3]["quarantine"].get<std::string>(), HasSubstr(name));
  EXPECT_EQ(Json(stat)["shards"][4]["quarantine"], "");
  const std::vector<std::vector<std::string>> reads = {{"query", "many"}, {"series", "many"}, {"labels"}, {"values", "i"}};
  for (std::vector<std::string> args : reads) {
    args.insert(args.begin() + 1, {"--db", db_});
    const ProcessResult refused = Cli(args);
    EXPECT_EQ(refused.exit_code, kFailure) << args[0];
    EXPECT_THAT(refused.err, HasSubstr("shard 3 is quarantined"));
    args.push_back("--skip-damaged");
    const ProcessResult partly = Cli(args);
    EXPECT_EQ(partly.exit_code, kProblems) << args[0];
    EXPECT_THAT(partly.err, HasSubstr("partial"));
    EXPECT_GE(Lines(partly.out).size(), args[0] == "labels" ? 2U : 100U);
    EXPECT_LT(Lines(partly.out).size(), args[0] == "query" ? 400U : 200U);
  }
}

}  // namespace
}  // namespace chronolith::testing

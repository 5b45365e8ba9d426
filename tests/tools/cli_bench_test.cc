#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

class CliBench : public CliTest {
 protected:
  std::string SeriesFile(int n) const {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += R"({"__name__":"m","i":")" + std::to_string(i) + "\",\"namespace\":\"n" + std::to_string(i % 5) + "\"}\n";
    return WriteFile("series.json", text);
  }
};

TEST_F(CliBench, WriteReportsWhatItWroteAndReadFindsIt) {
  for (const std::string values : {"counter", "walk"}) {
    for (const std::string level : {"queued", "logged", "synced"}) {
      const std::string db = db_ + values + level;
      const ProcessResult wrote =
          Cli({"bench", "write", "--db", db, "--series-file", SeriesFile(300), "--series", "250", "--scrapes", "130", "--threads",
               "2", "--batch", "100", "--level", level, "--values", values, "--json"});
      ASSERT_EQ(wrote.exit_code, kOk) << wrote.err;
      auto json = Json(wrote);
      EXPECT_EQ(json["samples"], 250 * 130);
      EXPECT_EQ(json["series"], 250);
      EXPECT_EQ(json["level"], level);
      EXPECT_EQ(json["values"], values);
      for (const char* figure : {"samples_per_second", "seconds", "peak_rss_bytes", "wal_bytes_per_sample",
                                 "chunk_bytes_per_sample", "disk_bytes_after_checkpoint"}) {
        EXPECT_GT(json[figure].get<double>(), 0) << figure;
      }
      EXPECT_GE(json["cpu_seconds"].get<double>(), 0);
      EXPECT_TRUE(json.contains("checkpoints"));
      auto read = Json(Cli({"bench", "read", "--db", db, "--json", "--repeat", "2"}));
      EXPECT_EQ(read["samples"], 250 * 130);
      EXPECT_EQ(read["series"], 250);
      auto chunks = Json(Cli({"bench", "read", "--db", db, "--json", "--chunks"}));
      EXPECT_EQ(chunks["samples"], 250 * 130);
      EXPECT_GT(chunks["chunk_bytes"].get<std::uint64_t>(), 0U);
    }
  }
}

// The values and times of `promtool tsdb bench write`, as far as order goes.
TEST_F(CliBench, WriteCountsUpByAThousandEveryThirtySeconds) {
  ASSERT_EQ(
      Cli({"bench", "write", "--db", db_, "--series", "3", "--scrapes", "250", "--batch", "2", "--block-scrapes", "100"}).exit_code,
      kOk);
  const auto rows = Query("{__name__=\"container_cpu_usage_seconds_total\"}");
  ASSERT_EQ(rows.size(), 250U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_THAT(rows[i],
                ::testing::EndsWith("," + std::to_string(30'000 * (i + 1)) + "," + std::to_string(123456789 + 1000 * (i + 1))));
  }
}

TEST_F(CliBench, WriteStopsAfterItsDuration) {
  auto json = Json(Cli({"bench", "write", "--db", db_, "--series", "100", "--duration", "0.3", "--json"}));
  EXPECT_GE(json["seconds"].get<double>(), 0.3);
  EXPECT_EQ(Json(Cli({"bench", "read", "--db", db_, "--json"}))["samples"], json["samples"]);
}

TEST_F(CliBench, WriteRefusesBadInput) {
  struct Row {
    std::vector<std::string> args;
    const char* culprit;
  };
  const std::string bad = WriteFile("bad.json", "{\"__name__\":\"a\"}\n\n{\"__name__\":7}\n");
  const Row kRows[] = {
      {{"--series-file", Path("nowhere.json")}, "nowhere.json"},
      {{"--series-file", bad}, "bad.json:3: byte 13"},
      {{"--series-file", SeriesFile(5), "--series", "6"}, "fewer"},
      {{"--series-file", WriteFile("empty.json", "")}, "no label set"},
      {{"--series-file", WriteFile("long.json", "{\"a\":\"" + std::string(5000, 'x') + "\"}")}, "a"},
      {{"--series", "10", "--engine", "abacus"}, "abacus"},
  };
  int i = 0;
  for (const Row& row : kRows) {
    std::vector<std::string> args = {"bench", "write", "--db", db_ + std::to_string(i++), "--scrapes", "3", "--json"};
    args.insert(args.end(), row.args.begin(), row.args.end());
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kFailure) << row.culprit;
    EXPECT_THAT(result.err, HasSubstr(row.culprit));
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(CliBench, WriteLeavesAnExistingDatabaseAlone) {
  ASSERT_EQ(Import("a 1 1\n").exit_code, kOk);
  const ProcessResult result = Cli({"bench", "write", "--db", db_, "--series", "5"});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr(db_));
  EXPECT_THAT(Query("{}"), ::testing::ElementsAre("a,1,1"));
}

TEST_F(CliBench, WalWritesAtEveryLevel) {
  int i = 0;
  const std::vector<std::vector<std::string>> kVariants = {{"--level", "queued"},
                                                           {"--level", "logged"},
                                                           {"--level", "synced"},
                                                           {"--level", "logged", "--outstanding", "16"},
                                                           {"--labels", "--level", "queued"}};
  for (const auto& variant : kVariants) {
    const std::string db = db_ + std::to_string(i++);
    std::vector<std::string> args = {"bench", "wal",        "--db", db,       "--threads", "4", "--series",
                                     "100",   "--duration", "0.2",  "--json", "--shards",  "4"};
    args.insert(args.end(), variant.begin(), variant.end());
    const ProcessResult result = Cli(args);
    ASSERT_EQ(result.exit_code, kOk) << result.err;
    auto json = Json(result);
    EXPECT_GT(json["writes"].get<std::uint64_t>(), 0U);
    EXPECT_EQ(json["shards"], 4);
    EXPECT_GE(Json(Cli({"bench", "read", "--db", db, "--json"}))["samples"].get<std::uint64_t>(),
              json["writes"].get<std::uint64_t>());
  }
}

TEST_F(CliBench, IndexMeasuresEveryLookUp) {
  ASSERT_EQ(Cli({"bench", "write", "--db", db_, "--series-file", SeriesFile(100), "--scrapes", "2"}).exit_code, kOk);
  const ProcessResult result = Cli({"bench", "index", "--db", db_, "--labels", "namespace,i", "--repeat", "2", "--json"});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  for (const char* figure :
       {"ids_cold_p50_ms", "ids_cached_p99_ms", "labels_cached_mean_ms", "label_values_p50_ms", "ids_regex_prefix_p50_ms"}) {
    EXPECT_GT(Json(result)[figure].get<double>(), 0) << figure;
  }
  EXPECT_EQ(Json(result)["label_values_results_mean"], 100);
  EXPECT_EQ(Cli({"bench", "index", "--db", db_, "--labels", "nothing"}).exit_code, kFailure);
}

}  // namespace
}  // namespace chronolith::testing

// inspect --what keys: rows by kind and decoded keys of stores whose content the test knows.
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kStart = 1'700'006'400'000;  // the start of a window of two hours
constexpr int kShards = 4;
constexpr int kPods = 40;
constexpr int kHours = 6;
const std::vector<std::string> kOfStore = {"--shards", "4", "--input-format", "prometheus"};

class CliInspectKeys : public CliTest {
 protected:
  // requests{pod} for each pod, a sample each hour.
  static std::string Text() {
    std::string text = "# HELP requests all of them\n# TYPE requests gauge\n";
    for (int i = 0; i < kHours; ++i) {
      for (int p = 0; p < kPods; ++p) {
        text += "requests{pod=\"p" + std::to_string(p) + "\"} " + std::to_string(i + p) + " " + std::to_string(kStart + i * kHour) +
                "\n";
      }
    }
    return text;
  }
  void Log(const std::string& text = Text()) const {
    const ProcessResult import = Import(text, kOfStore);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
  void Store(const std::string& text = Text()) const {
    Log(text);
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  }
  ProcessResult Keys(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"inspect", db_, "--what", "keys", "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  nlohmann::json Sound(std::vector<std::string> more = {}) const {
    const ProcessResult result = Keys(std::move(more));
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    nlohmann::json json = Json(result);
    EXPECT_EQ(json["complete"], true);
    return json;
  }
  static nlohmann::json Family(const nlohmann::json& keys, const std::string& name) {
    for (const auto& family : keys["families"]) {
      if (family["family"] == name) return family;
    }
    ADD_FAILURE() << "no family " << name;
    return nlohmann::json::object();
  }
  // One of "rows", "key_bytes", "value_bytes" of one kind, or of all.
  static std::uint64_t Sum(const nlohmann::json& family, const char* what, const std::string& kind = "") {
    std::uint64_t sum = 0;
    for (const auto& one : family["kinds"]) sum += kind.empty() || one["kind"] == kind ? one[what].get<std::uint64_t>() : 0;
    return sum;
  }
  static std::uint64_t Chunks(const nlohmann::json& family) {
    return Sum(family, "rows", "chunk") + Sum(family, "rows", "packed chunk");
  }
  nlohmann::json OfShards(std::vector<std::string> args) const {
    args.insert(args.begin() + 1, db_);
    args.insert(args.end(), {"--format", "json"});
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Json(result)["shards"];
  }
};

TEST_F(CliInspectKeys, RowsAreAsManyAsInspectAndVerifyFind) {
  Store();
  ASSERT_EQ(Cli({"delete", "--db", db_, "--match", "requests{pod=\"p7\"}", "--end", "2023-11-15T01:30:00Z", "--yes"}).exit_code,
            kOk);
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  const nlohmann::json keys = Sound();
  const nlohmann::json inspected = OfShards({"inspect"});
  const nlohmann::json verified = OfShards({"verify"});
  ASSERT_EQ(inspected.size(), std::size_t{kShards});
  ASSERT_EQ(verified.size(), std::size_t{kShards});
  std::uint64_t series = 0, tombstones = 0;
  for (int shard = 0; shard < kShards; ++shard) {
    const nlohmann::json index = Family(keys, "index." + std::to_string(shard));
    const nlohmann::json chunk = Family(keys, "chunk." + std::to_string(shard));
    EXPECT_EQ(Chunks(chunk), inspected[shard]["chunks"]);
    EXPECT_EQ(Sum(chunk, "value_bytes", "chunk") + Sum(chunk, "value_bytes", "packed chunk"), inspected[shard]["chunk_bytes"]);
    EXPECT_EQ(Sum(chunk, "key_bytes", "chunk") + Sum(chunk, "key_bytes", "packed chunk"), 26 * Chunks(chunk));
    EXPECT_EQ(Sum(chunk, "rows", "tombstone"), inspected[shard]["tombstones"]);
    EXPECT_EQ(Sum(index, "rows", "labels"), inspected[shard]["series"]);
    EXPECT_EQ(Sum(index, "rows", "metadata"), inspected[shard]["series"]);
    EXPECT_EQ(Sum(index, "rows", "state"), 1U);
    EXPECT_EQ(Sum(chunk, "rows", "state"), 1U);
    EXPECT_EQ(Sum(index, "rows") + Sum(chunk, "rows"), verified[shard]["rows"]);
    series += Sum(index, "rows", "labels");
    tombstones += Sum(chunk, "rows", "tombstone");
  }
  EXPECT_EQ(series, std::uint64_t{kPods});
  EXPECT_EQ(tombstones, 1U);
}

TEST_F(CliInspectKeys, RowsOfTheLogAreThoseThatInspectFinds) {
  Log();
  const nlohmann::json inspected = OfShards({"inspect"});
  const nlohmann::json keys = Sound({"--limit", "0"});
  for (int shard = 0; shard < kShards; ++shard) {
    const nlohmann::json family = Family(keys, "wal." + std::to_string(shard));
    EXPECT_EQ(family["instance"], "log");
    EXPECT_EQ(family["shard"], shard);
    ASSERT_GT(Sum(family, "rows", "log row"), 0U);
    EXPECT_EQ(Sum(family, "rows", "log row"), inspected[shard]["log_rows"]);
    EXPECT_EQ(Sum(family, "key_bytes", "log row") + Sum(family, "value_bytes", "log row"), inspected[shard]["log_bytes"]);
    EXPECT_EQ(family["keys"][0], (nlohmann::json{{"kind", "log row"},
                                                 {"value_bytes", family["keys"][0]["value_bytes"]},
                                                 {"key", {{"lsn", inspected[shard]["first_lsn"]}}}}));
    EXPECT_EQ(Sum(Family(keys, "chunk." + std::to_string(shard)), "rows"), 0U) << "nothing is stored yet";
  }
}

TEST_F(CliInspectKeys, EachKeyIsToldByItsFields) {
  Store();
  const nlohmann::json keys = Sound({"--limit", "0"});
  std::map<std::string, int> pairs;
  std::map<std::int64_t, int> windows;
  for (const auto& family : keys["families"]) {
    std::map<std::string, std::uint64_t> rows, bytes;
    std::set<std::string> chunks;
    EXPECT_EQ(family["not_listed"], 0);
    for (const auto& row : family["keys"]) {
      const std::string kind = row["kind"];
      const nlohmann::json& key = row["key"];
      ++rows[kind];
      bytes[kind] += row["value_bytes"].get<std::uint64_t>();
      if (kind == "postings") {
        ++pairs[key["name"].get<std::string>() + "=" + key["value"].get<std::string>()];
        EXPECT_EQ(key["ordinal_high"], 0);
      } else if (kind == "labels" || kind == "metadata") {
        EXPECT_EQ(key["part"], 0);
        EXPECT_EQ(key["ordinal"], rows[kind] - 1) << "dense, in order";
      } else if (kind == "labels hash") {
        EXPECT_EQ(key["hash"].get<std::string>().size(), 16U);
      }
      if (!kind.ends_with("chunk")) continue;
      ++windows[key["window_ms"].get<std::int64_t>()];
      EXPECT_GT(key["lsn"], 0);
      EXPECT_LT(key["ordinal"], kPods);
      EXPECT_TRUE(chunks.insert(key.dump()).second) << "no key is there twice";
      EXPECT_EQ(key["type"], "float");
    }
    ASSERT_EQ(family["kinds"].size(), rows.size());
    for (const auto& kind : family["kinds"]) {
      EXPECT_EQ(kind["rows"], rows[kind["kind"]]);
      EXPECT_EQ(kind["value_bytes"], bytes[kind["kind"]]);
    }
  }
  EXPECT_EQ(windows, (std::map<std::int64_t, int>{{kStart, kPods}, {kStart + 2 * kHour, kPods}, {kStart + 4 * kHour, kPods}}));
  EXPECT_EQ(pairs.size(), 2U + kPods);
  EXPECT_EQ(pairs["="], kShards) << "every series of a shard";
  EXPECT_EQ(pairs["__name__=requests"], kShards);
  EXPECT_EQ(pairs["pod=p7"], 1);
}

TEST_F(CliInspectKeys, ALabelThatAKeyDoesNotHoldIsToldByWhatItBeginsWith) {
  const std::string value(700, 'v');
  Store("# TYPE odd gauge\nodd{long=\"" + value + "\"} 1 " + std::to_string(kStart) + "\n");
  int found = 0;
  const nlohmann::json keys = Sound({"--limit", "0"});
  for (const auto& family : keys["families"]) {
    for (const auto& row : family["keys"]) {
      if (!row["key"].contains("value_begins")) continue;
      ++found;
      EXPECT_EQ(row["key"]["name"], "long");
      EXPECT_THAT(value, ::testing::StartsWith(row["key"]["value_begins"].get<std::string>()));
      EXPECT_GT(row["key"]["value_begins"].get<std::string>().size(), 500U);
    }
  }
  EXPECT_EQ(found, 1);
}

TEST_F(CliInspectKeys, FamiliesAndShardsAreChosenAndKeysLimited) {
  Store();
  const auto names = [](const nlohmann::json& keys) {
    std::vector<std::string> all;
    for (const auto& family : keys["families"])
      all.push_back(family["instance"].get<std::string>() + " " + family["family"].get<std::string>());
    return all;
  };
  EXPECT_EQ(names(Sound()).size(), 2U + 3 * kShards);
  EXPECT_EQ(names(Sound({"--family", "meta"})), (std::vector<std::string>{"data meta", "log meta"}));
  EXPECT_EQ(names(Sound({"--family", "wal.2", "--family", "chunk.0"})), (std::vector<std::string>{"data chunk.0", "log wal.2"}));
  EXPECT_EQ(names(Sound({"--shard", "3"})), (std::vector<std::string>{"data index.3", "data chunk.3", "log wal.3"}));

  const nlohmann::json all = Family(Sound({"--family", "index.1", "--limit", "0"}), "index.1");
  ASSERT_GT(all["keys"].size(), 20U);
  for (const std::size_t limit : {std::size_t{20}, std::size_t{3}}) {
    std::vector<std::string> args = {"--family", "index.1"};
    if (limit != 20) args.insert(args.end(), {"--limit", std::to_string(limit)});
    const nlohmann::json some = Family(Sound(args), "index.1");
    ASSERT_EQ(some["keys"].size(), limit) << "20 where none is given";
    EXPECT_EQ(some["keys"][limit - 1], all["keys"][limit - 1]);
    EXPECT_EQ(some["not_listed"], all["keys"].size() - limit);
    EXPECT_EQ(some["kinds"], all["kinds"]) << "all rows are counted";
  }
}

TEST_F(CliInspectKeys, TablesAndCsvHoldTheSame) {
  Store();
  const nlohmann::json json = Family(Sound({"--family", "chunk.1", "--limit", "2"}), "chunk.1");
  const std::string ordinal = std::to_string(json["keys"][0]["key"]["ordinal"].get<int>());
  const std::string lsn = std::to_string(json["keys"][0]["key"]["lsn"].get<int>());
  const std::string sequence = std::to_string(json["keys"][0]["key"]["sequence"].get<int>());
  const std::string key =
      "window=2023-11-15T00:00:00.000Z ordinal=" + ordinal + " lsn=" + lsn + " sequence=" + sequence + " type=\"float\"";
  const ProcessResult table = Cli({"inspect", db_, "--what", "keys", "--family", "chunk.1", "--limit", "2"});
  ASSERT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_THAT(table.out, HasSubstr("chunk.1 of the data\n"));
  EXPECT_THAT(table.out, HasSubstr(key + "\n"));
  EXPECT_THAT(table.out, HasSubstr("and " + std::to_string(json["not_listed"].get<int>()) + " more\n"));
  EXPECT_THAT(table.out, HasSubstr("value bytes"));
  EXPECT_THAT(table.out, Not(HasSubstr("index.1")));

  const ProcessResult csv = Cli({"inspect", db_, "--what", "keys", "--family", "chunk.1", "--limit", "2", "--format", "csv"});
  ASSERT_EQ(csv.exit_code, kOk) << csv.err;
  const std::vector<std::string> lines = Lines(csv.out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], "family,instance,kind,value bytes,key");
  EXPECT_TRUE(lines[1].starts_with("chunk.1,data," + json["keys"][0]["kind"].get<std::string>() + "," +
                                   std::to_string(json["keys"][0]["value_bytes"].get<int>()) + ",\"window=2023-11-15T"))
      << lines[1];
}

TEST_F(CliInspectKeys, WhatIsNotThereOrDoesNotFitIsAWrongArgument) {
  Store();
  struct Row {
    std::vector<std::string> args;
    const char* culprit;
  };
  const Row kRows[] = {
      {{"--what", "keys", "--family", "chunk.4"}, "no family 'chunk.4'"},
      {{"--what", "keys", "--family", "chunk"}, "no family 'chunk'"},
      {{"--what", "keys", "--family", "chunk.1", "--family", "default"}, "no family 'default'"},
      {{"--what", "keys", "--shard", "4"}, "no shard 4"},
      {{"--what", "keys", "--shard", "1", "--family", "chunk.2"}, "none of the families"},
      {{"--what", "keys", "--limit", "few"}, "--limit"},
      {{"--what", "keys", "--fast"}, "--fast"},
      {{"--what", "keys", "--html", Path("page.html")}, "--html"},
      {{"--family", "chunk.1"}, "--what keys"},
      {{"--what", "all", "--limit", "3"}, "--what keys"},
      {{"--what", "pins", "--shard", "1"}, "--what keys"},
  };
  for (const Row& row : kRows) {
    for (const char* format : {"table", "json", "csv"}) {
      std::vector<std::string> args = {"inspect", db_, "--format", format};
      args.insert(args.end(), row.args.begin(), row.args.end());
      const ProcessResult result = Cli(args);
      EXPECT_EQ(result.exit_code, kUsage) << row.culprit << result.err;
      EXPECT_THAT(result.err, HasSubstr(row.culprit));
      EXPECT_EQ(result.out, "") << row.culprit << ", " << format;
    }
  }
  EXPECT_FALSE(std::filesystem::exists(Path("page.html")));
}

TEST_F(CliInspectKeys, AFamilyThatCannotBeReadIsNamedAndTheOthersAreTold) {
  Store();
  for (const bool gone : {false, true}) {
    if (gone) {
      for (const std::string& table : TablesOf(db_, "chunk.1")) std::filesystem::remove(table);
    } else {
      for (const std::string& table : TablesOf(db_, "chunk.1")) FlipByte(table, 0.02);  // in its first block
    }
    const ProcessResult result = Keys();
    EXPECT_EQ(result.exit_code, kProblems) << result.err;
    EXPECT_THAT(result.err, HasSubstr("family chunk.1: "));
    const nlohmann::json keys = Json(result);
    EXPECT_EQ(keys["complete"], false);
    EXPECT_EQ(keys["problems"].size(), 1U);
    ASSERT_EQ(keys["families"].size(), 2U + 3 * kShards);
    for (const auto& family : keys["families"]) {
      const bool damaged = family["family"] == "chunk.1";
      EXPECT_EQ(family["complete"], !damaged);
      EXPECT_EQ(family["error"] == "", !damaged);
    }
    EXPECT_GT(Chunks(Family(keys, "chunk.2")), 0U);
    EXPECT_EQ(Keys({"--family", "chunk.2"}).exit_code, kOk);
    const ProcessResult table = Cli({"inspect", db_, "--what", "keys", "--shard", "1"});
    EXPECT_EQ(table.exit_code, kProblems);
    EXPECT_THAT(table.out, HasSubstr("not complete: "));
    EXPECT_THAT(table.out, HasSubstr("lower bounds"));
  }
}

TEST_F(CliInspectKeys, WithoutOneOfTheInstancesTheOtherIsTold) {
  Store();
  const struct {
    const char* lost;
    const char* left;
  } kRows[] = {{"log", "data"}, {"data", "log"}};
  for (const auto& row : kRows) {
    std::filesystem::rename(db_ + "/" + row.lost, Path("aside"));
    const ProcessResult result = Keys();
    EXPECT_EQ(result.exit_code, kProblems) << result.err;
    const nlohmann::json keys = Json(result);
    EXPECT_EQ(keys["problems"].size(), 1U) << "once, not for each family: " << keys["problems"];
    for (const auto& family : keys["families"]) {
      EXPECT_EQ(family["complete"], family["instance"] == row.left);
      EXPECT_EQ(Sum(family, "rows") > 0, family["instance"] == row.left) << family["family"];
    }
    std::filesystem::rename(Path("aside"), db_ + "/" + row.lost);
  }
  Sound();
}

TEST_F(CliInspectKeys, WorksBesideAWriterAndChangesNothing) {
  Store();
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "# TYPE live gauge\n";
  for (int i = 0; i < 400; ++i) text += "live{i=\"" + std::to_string(i) + "\"} 1 " + std::to_string(kStart) + "\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // it reads in blocks
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 200; })) << writer.err();
  std::uint64_t rows = 0;
  const nlohmann::json keys = Sound();
  for (const auto& family : keys["families"]) {
    if (family["family"].get<std::string>().starts_with("wal.")) rows += Sum(family, "rows", "log row");
  }
  EXPECT_GT(rows, 0U);
  EXPECT_EQ(writer.Wait().exit_code, kOk);
  EXPECT_EQ(Cli({"verify", db_}).exit_code, kOk);
}

}  // namespace
}  // namespace chronolith::testing

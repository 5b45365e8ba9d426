// replay and dump-wal: the log of a database whose content the test knows, as a user reads it.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kStart = 1'700'000'000'000;

class CliReplay : public CliTest {
 protected:
  static constexpr int kSeries = 30;
  static constexpr int kTimes = 20;
  static constexpr std::uint64_t kSamples = std::uint64_t{kSeries} * kTimes;

  // Everything is in the log; a third of the samples come late.
  void Fill(const std::string& db) const {
    std::string text = "# TYPE n gauge\n# HELP n what it counts\n";
    for (int i = 0; i < kTimes; ++i) {
      const int t = (i * 7) % kTimes;
      for (int s = 0; s < kSeries; ++s) {
        text += "n{s=\"" + std::to_string(s) + "\",odd=\"" + std::to_string(s % 2) + "\"} " + std::to_string(t * 100 + s) + " " +
                std::to_string(kStart + t * 1000) + "\n";
      }
    }
    const ProcessResult import = Cli({"import", "--db", db, "--input-format", "prometheus", "--shards", "4", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
  ProcessResult Replay(std::vector<std::string> more) const {
    more.insert(more.begin(), {"replay", db_, "--format", "json"});
    return Cli(more);
  }
  std::vector<nlohmann::json> Dump(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"dump-wal", db_, "--format", "json"});
    const ProcessResult result = Cli(more);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    std::vector<nlohmann::json> records;
    for (const std::string& line : Lines(result.out)) records.push_back(nlohmann::json::parse(line));
    return records;
  }
  static std::map<std::string, std::string> FilesOf(const std::string& directory) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
      if (entry.is_regular_file()) files[entry.path()] = ReadFile(entry.path());
    }
    return files;
  }
  static std::uint64_t Sum(const std::vector<nlohmann::json>& records, const char* key) {
    std::uint64_t sum = 0;
    for (const auto& record : records) sum += record.value(key, std::uint64_t{0});
    return sum;
  }
};

TEST_F(CliReplay, NullCountsWhatTheLogHoldsAndChangesNothing) {
  Fill(db_);
  const auto before = FilesOf(db_);
  const ProcessResult result = Replay({});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(FilesOf(db_), before);
  const nlohmann::json json = Json(result);
  EXPECT_EQ(json["samples"], kSamples);
  EXPECT_EQ(json["sent"], json["items"]);
  EXPECT_EQ(json["refused"], 0);
  EXPECT_EQ(json["complete"], true);
  ASSERT_EQ(json["shards"].size(), 4U);
  std::uint64_t samples = 0;
  for (const auto& shard : json["shards"]) {
    samples += shard["samples"].get<std::uint64_t>();
    EXPECT_EQ(shard["first_lsn"].get<std::uint64_t>() + shard["records"].get<std::uint64_t>(),
              shard["last_lsn"].get<std::uint64_t>() + 1);
  }
  EXPECT_EQ(samples, kSamples);

  const ProcessResult table = Cli({"replay", "--db", db_, "--target", "null"});
  EXPECT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_THAT(table.out, HasSubstr(std::to_string(kSamples) + " samples"));
}

TEST_F(CliReplay, ADryRunSaysWhatWouldBeSentAndTouchesNothing) {
  Fill(db_);
  const auto before = FilesOf(directory_);
  for (const std::string& target : {"db:" + Path("copy"), "jsonl:" + Path("log.jsonl"), std::string("jsonl:-"), std::string("null"),
                                    std::string("remote-write:http://127.0.0.1:1/never")}) {
    const bool resumable = target != "jsonl:-";
    std::vector<std::string> args = {"--target", target, "--dry-run"};
    if (resumable) args.insert(args.end(), {"--cursor", Path("cursor")});
    const ProcessResult result = Replay(args);
    ASSERT_EQ(result.exit_code, kOk) << target << result.err;
    EXPECT_EQ(FilesOf(directory_), before) << target;
    const nlohmann::json json = Json(result);
    EXPECT_EQ(json["dry_run"], true);
    EXPECT_EQ(json["target"], target);
    EXPECT_EQ(json["samples"], kSamples);
    EXPECT_EQ(json["series"], kSeries);
    EXPECT_EQ(json["first_ms"], kStart);
    EXPECT_EQ(json["last_ms"], kStart + (kTimes - 1) * 1000);
    ASSERT_EQ(json["shards"].size(), 4U);
    std::uint64_t samples = 0;
    for (const auto& shard : json["shards"]) samples += shard["samples"].get<std::uint64_t>();
    EXPECT_EQ(samples, kSamples);
  }
  const ProcessResult table = Cli({"replay", db_, "--target", "db:" + Path("copy"), "--dry-run"});
  EXPECT_THAT(table.out, HasSubstr("would send to db:" + Path("copy") + ": " + std::to_string(kSamples) + " samples"));
  EXPECT_THAT(table.out, HasSubstr("from 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:39.000Z"));
  EXPECT_EQ(Cli({"replay", db_, "--target", "nowhere", "--dry-run"}).exit_code, kUsage);
}

TEST_F(CliReplay, ADryRunBeginsWhereTheCursorStands) {
  Fill(db_);
  const std::vector<std::string> args = {"--target", "db:" + Path("copy"), "--cursor", Path("cursor")};
  std::vector<std::string> dry = args;
  dry.emplace_back("--dry-run");
  ASSERT_EQ(Replay(args).exit_code, kOk);
  ASSERT_EQ(Import("later 7 1700000100000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  const auto before = FilesOf(directory_);
  const nlohmann::json planned = Json(Replay(dry));
  EXPECT_EQ(FilesOf(directory_), before);
  EXPECT_EQ(planned["samples"], 1);
  EXPECT_EQ(planned["series"], 1);
  EXPECT_EQ(planned["first_ms"], 1'700'000'100'000);
  const nlohmann::json sent = Json(Replay(args));
  EXPECT_EQ(sent["sent"], planned["would_send"]);
  EXPECT_EQ(Json(Replay(dry))["would_send"], 0);
  // A cursor of something else is refused as ever.
  const ProcessResult other = Replay({"--target", "db:" + Path("other"), "--cursor", Path("cursor"), "--dry-run"});
  EXPECT_EQ(other.exit_code, kFailure);
  EXPECT_THAT(other.err, HasSubstr("belongs to the target"));
}

TEST_F(CliReplay, LinesOfJsonMakeTheSameDatabase) {
  Fill(db_);
  const ProcessResult result = Replay({"--target", "jsonl:" + Path("log.jsonl")});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(Json(result)["sent"], Json(result)["items"]);
  const ProcessResult import = Cli({"import", "jsonl", "--db", Path("copy"), Path("log.jsonl")});
  ASSERT_EQ(import.exit_code, kOk) << import.err;
  const auto rows = [&](const std::string& db) { return Cli({"query", "--db", db, "{}", "--format", "csv"}).out; };
  EXPECT_EQ(rows(Path("copy")), rows(db_));
  EXPECT_EQ(Lines(rows(db_), 1).size(), kSamples);
  const auto metadata = [&](const std::string& db) { return Cli({"series", "--db", db, "{}", "--metadata"}).out; };
  EXPECT_EQ(metadata(Path("copy")), metadata(db_));
  EXPECT_THAT(metadata(db_), HasSubstr("what it counts"));

  EXPECT_EQ(Replay({"--target", "jsonl:" + Path("log.jsonl")}).exit_code, kFailure) << "the file is there";
  EXPECT_EQ(Replay({"--target", "jsonl:" + Path("log.jsonl"), "--overwrite"}).exit_code, kOk);

  const ProcessResult out = Cli({"replay", db_, "--target", "jsonl:-"});
  EXPECT_EQ(out.exit_code, kOk) << out.err;
  EXPECT_THAT(out.err, HasSubstr("refused 0"));
  for (const std::string& line : Lines(out.out)) EXPECT_FALSE(nlohmann::json::parse(line, nullptr, false).is_discarded()) << line;
}

TEST_F(CliReplay, OpenMetricsIsReadBack) {
  Fill(db_);
  const ProcessResult result = Replay({"--target", "openmetrics:" + Path("log.txt")});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  const ProcessResult import = Cli({"import", "--db", Path("copy"), Path("log.txt")});
  ASSERT_EQ(import.exit_code, kOk) << import.err;
  const auto rows = [&](const std::string& db) { return Cli({"query", "--db", db, "{}", "--format", "csv"}).out; };
  EXPECT_EQ(rows(Path("copy")), rows(db_));
}

TEST_F(CliReplay, FiltersChooseSamples) {
  Fill(db_);
  const auto samples = [&](std::vector<std::string> flags) {
    return Json(Replay(std::move(flags)))["samples"].get<std::uint64_t>();
  };
  const auto at = [](int i) { return std::to_string(kStart + i * 1000); };
  EXPECT_EQ(samples({"--match", "n{odd=\"1\"}"}), kSamples / 2);
  EXPECT_EQ(samples({"--match", "n{s=\"3\"}", "--match", "n{s=\"4\"}"}), 2U * kTimes);
  EXPECT_EQ(samples({"--since", at(5), "--until", at(8)}), 3U * kSeries);
  EXPECT_EQ(samples({"--written-since", "-1h"}), kSamples);
  EXPECT_EQ(samples({"--written-until", "-1h"}), 0U);
  std::uint64_t sum = 0;
  for (const char* shard : {"0", "1", "2", "3"}) sum += samples({"--shard", shard});
  EXPECT_EQ(sum, kSamples);
  EXPECT_EQ(samples({"--shard", "1", "--to", "1:1"}), 0U) << "the first record opens the epoch";
}

TEST_F(CliReplay, WrongArgumentsAreNamed) {
  Fill(db_);
  const std::pair<std::vector<std::string>, const char*> kCases[] = {
      {{"--target", "kafka:x"}, "kafka:x"},
      {{"--target", "jsonl:"}, "jsonl:FILE"},
      {{"--from", "12"}, "SHARD:LSN"},
      {{"--from", "1:x"}, "SHARD:LSN"},
      {{"--from", "1:2", "--from", "1:3"}, "twice"},
      {{"--shard", "9"}, "no shard 9"},
      {{"--match", "n{"}, "n{"},
      {{"--match", "n{a=~\"(\"}"}, "a=~"},
      {{"--since", "now", "--until", "-1h"}, "--since lies behind"},
      {{"--since", "whenever"}, "--since"},
  };
  for (const auto& [flags, why] : kCases) {
    const ProcessResult result = Replay(flags);
    EXPECT_EQ(result.exit_code, kUsage) << why << result.err;
    EXPECT_THAT(result.err, HasSubstr(why));
    EXPECT_EQ(result.out, "");
  }
  const ProcessResult missing = Cli({"replay", Path("nothing")});
  EXPECT_EQ(missing.exit_code, kFailure);
  EXPECT_THAT(missing.err, HasSubstr("nothing"));
}

TEST_F(CliReplay, ADamagedLogIsRefusedWithWhatToDo) {
  Fill(db_);
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(db_ + "/log")) {
    const std::string path = entry.path();
    if (path.ends_with(".log") && (log.empty() || entry.file_size() > std::filesystem::file_size(log))) log = path;
  }
  std::string bytes = ReadFile(log);
  bytes[bytes.size() / 3] ^= 0x10;
  std::ofstream(log, std::ios::binary) << bytes;
  for (const char* command : {"replay", "dump-wal"}) {
    const ProcessResult result = Cli({command, db_});
    EXPECT_EQ(result.exit_code, kFailure) << result.out;
    EXPECT_THAT(result.err, HasSubstr(db_ + "/log"));
    EXPECT_THAT(result.err, HasSubstr("chronolith recover"));
  }
}

TEST_F(CliReplay, WorksBesideAWriterAndSeesWhatItHasLogged) {
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "# TYPE n gauge\n";
  for (int i = 0; i < 300; ++i) text += "n " + std::to_string(i) + " " + std::to_string(kStart + i) + "\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // it reads in blocks
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 299; })) << writer.err();
  const ProcessResult result = Replay({});
  EXPECT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_GE(Json(result)["samples"], 299);
  EXPECT_GE(Sum(Dump(), "samples"), 299U);
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

TEST_F(CliReplay, CtrlCLeavesNoHalfFile) {
  Fill(db_);
  Subprocess replay(Command({"replay", db_, "--target", "jsonl:" + Path("half"), "--rate-limit", "1"}));
  ASSERT_TRUE(
      replay.WaitUntil([](const std::string&, const std::string& err) { return err.find("only queued") != std::string::npos; }));
  replay.Kill(SIGINT);
  const ProcessResult result = replay.Wait();
  EXPECT_EQ(result.exit_code, kFailure) << result.err;
  EXPECT_THAT(result.err, HasSubstr("interrupted"));
  EXPECT_FALSE(std::filesystem::exists(Path("half")));
  EXPECT_FALSE(std::filesystem::exists(Path("half.partial")));
}

TEST_F(CliReplay, DumpShowsEachRecordWithItsPlaceAndContent) {
  Fill(db_);
  const auto records = Dump();
  EXPECT_EQ(Sum(records, "samples"), kSamples);
  std::map<int, std::uint64_t> last;
  for (const auto& record : records) {
    EXPECT_EQ(record["lsn"], ++last[record["shard"].get<int>()]) << record;
    EXPECT_GT(record["written_ms"], kStart);
    EXPECT_GE(record["epoch"], 1);
  }
  EXPECT_EQ(last.size(), 4U);
  EXPECT_EQ(records[0]["type"], "epoch");

  std::uint64_t with_labels = 0;
  for (const auto& record : Dump({"--records", "--match", "n{s=\"3\"}"})) {
    for (const auto& item : record["content"]) {
      EXPECT_EQ(item["labels"]["s"], "3") << item;
      with_labels += item.contains("value") ? 1 : 0;
    }
  }
  EXPECT_EQ(with_labels, std::uint64_t{kTimes});

  const ProcessResult limited = Cli({"dump-wal", "--db", db_, "--limit", "5", "--records"});
  EXPECT_EQ(limited.exit_code, kOk);
  EXPECT_THAT(limited.err, HasSubstr("--limit 5"));
  EXPECT_THAT(limited.out, HasSubstr("opens epoch"));
  EXPECT_THAT(limited.out, Not(HasSubstr("\033")));
  EXPECT_EQ(Cli({"dump-wal", db_, "--format", "csv"}).exit_code, kUsage);
  const auto one = Dump({"--shard", "2", "--from", "2:2", "--to", "2:3"});
  ASSERT_EQ(one.size(), 2U);
  EXPECT_EQ(one[0]["lsn"], 2);
}

}  // namespace
}  // namespace chronolith::testing

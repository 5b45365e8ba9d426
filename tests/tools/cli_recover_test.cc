#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CliRecover : public CliTest {
 protected:
  // Each sample is a write of its own; the writer is killed when all are logged, so that there is something to replay.
  void Fill() {
    Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1",
                               "--level", "synced", "--shards", "2", "-"}));
    std::string text = "# TYPE n gauge\n";
    for (int i = 0; i < 400; ++i)
      text += "n{i=\"" + std::to_string(i % 20) + "\"} " + std::to_string(i) + " " + std::to_string(1'700'000'000'000 + i) + "\n";
    text += "# TYPE last gauge\nlast 1 1700000000000\n";      // the importer writes a sample when it has seen the next
    for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // and reads in blocks
    ASSERT_TRUE(writer.Write(text));
    ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 400; }))
        << writer.err();
    writer.Kill(SIGKILL);
    EXPECT_EQ(writer.Wait().signal, SIGKILL);
  }
  void FlipInTheMiddleOfTheLog() {
    std::string log;
    for (const auto& entry : std::filesystem::directory_iterator(db_ + "/log")) {
      const std::string path = entry.path();
      if (path.ends_with(".log") && (log.empty() || entry.file_size() > std::filesystem::file_size(log))) log = path;
    }
    std::string bytes = ReadFile(log);
    ASSERT_GT(bytes.size(), 20'000U);
    bytes[bytes.size() * 3 / 4] ^= 0x10;
    std::ofstream(log, std::ios::binary) << bytes;
    log_ = log;
  }
  ProcessResult Recover(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"recover", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // Every byte and time of the database.
  std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> Tree() const {
    std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> tree;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(db_)) {
      tree[entry.path()] = {entry.is_regular_file() ? ReadFile(entry.path()) : "", entry.last_write_time()};
    }
    tree["."] = {"", std::filesystem::last_write_time(db_)};
    return tree;
  }
  // A dry run, which changes nothing and leaves nothing among temporary files.
  ProcessResult DryRun(std::vector<std::string> more = {}) {
    const std::string temporary = Path("tmp");
    std::filesystem::create_directory(temporary);
    setenv("TMPDIR", temporary.c_str(), 1);
    const auto before = Tree();
    more.push_back("--dry-run");
    ProcessResult result = Recover(std::move(more));
    unsetenv("TMPDIR");
    EXPECT_TRUE(Tree() == before) << result.err;
    EXPECT_TRUE(std::filesystem::is_empty(temporary));
    EXPECT_THAT(result.out + result.err, Not(HasSubstr(temporary))) << "names of the copy";
    return result;
  }
  // What stays the same where a recovery is done again, of each shard.
  static nlohmann::json Shards(const ProcessResult& result) { return Json(result)["shards"]; }

  std::string log_;
};

TEST_F(CliRecover, AWholeLogIsReplayedAndStored) {
  Fill();
  const ProcessResult first = Recover();
  EXPECT_EQ(first.exit_code, kOk) << first.err;
  std::uint64_t records = 0;
  const nlohmann::json first_shards = Json(first)["shards"];
  for (const auto& shard : first_shards) records += shard["replayed_records"].get<std::uint64_t>();
  EXPECT_GE(records, 400U);
  const ProcessResult second = Recover();
  EXPECT_EQ(second.exit_code, kOk) << second.err;
  const nlohmann::json second_shards = Json(second)["shards"];
  for (const auto& shard : second_shards) {
    EXPECT_LT(shard["replayed_records"].get<std::uint64_t>(), 4U) << "what was stored is not replayed again";
    EXPECT_EQ(shard["quarantine"], "");
    EXPECT_TRUE(shard["lost"].empty());
  }
  EXPECT_EQ(Query("n").size(), 400U);
  const ProcessResult table = Cli({"recover", "--db", db_});
  EXPECT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_THAT(table.out, HasSubstr("replayed records"));
}

TEST_F(CliRecover, ALossIsRefusedUntilItIsAcceptedAndThenTold) {
  Fill();
  FlipInTheMiddleOfTheLog();
  const ProcessResult refused = Recover();
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr(log_ + ", bytes "));
  EXPECT_THAT(refused.err, HasSubstr("LSN "));
  EXPECT_THAT(refused.err, HasSubstr("chronolith recover --accept-data-loss " + db_));
  EXPECT_TRUE(refused.out.empty());

  const ProcessResult unsure = Cli({"recover", "--accept-data-loss", db_});
  EXPECT_EQ(unsure.exit_code, kUsage) << "nobody can be asked";
  EXPECT_THAT(unsure.err, HasSubstr("--yes"));
  const ProcessResult accepted = Cli({"recover", "--accept-data-loss", "--yes", db_, "--format", "json"});
  EXPECT_EQ(accepted.exit_code, kProblems) << accepted.err;
  std::size_t lost = 0;
  const nlohmann::json accepted_shards = Json(accepted)["shards"];
  for (const auto& shard : accepted_shards) {
    for (const auto& range : shard["lost"]) lost += range["last"].get<std::uint64_t>() - range["first"].get<std::uint64_t>() + 1;
  }
  EXPECT_EQ(lost, 1U);
  EXPECT_THAT(accepted.err, HasSubstr(" lost"));
  EXPECT_THAT(accepted.err, HasSubstr("damaged-"));
  EXPECT_EQ(Query("n").size(), 399U);
  EXPECT_EQ(Recover().exit_code, kOk) << "nothing is left to accept";
  EXPECT_EQ(Recover({"--accept-data-loss", "--yes"}).exit_code, kOk);
  EXPECT_EQ(Query("n").size(), 399U);
}

TEST_F(CliRecover, ADryRunSaysWhatWouldBeGivenUpAndChangesNothing) {
  Fill();
  FlipInTheMiddleOfTheLog();
  const ProcessResult refused = DryRun();
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_EQ(Lines(refused.err).back(), Lines(Recover().err).back()) << "the refusal of a recovery";

  const ProcessResult dry = DryRun({"--accept-data-loss"});
  EXPECT_EQ(dry.exit_code, kProblems) << dry.err;
  EXPECT_EQ(Json(dry)["dry_run"], true);
  EXPECT_EQ(Json(dry)["would_rewrite"], nlohmann::json::array({log_}));
  EXPECT_THAT(dry.err, HasSubstr("dry run, on a copy: "));
  EXPECT_THAT(dry.err, HasSubstr(log_));
  const ProcessResult table = Cli({"recover", db_, "--accept-data-loss", "--dry-run"});
  EXPECT_EQ(table.exit_code, kProblems) << table.err;
  EXPECT_THAT(table.out, HasSubstr("would be rewritten without what is damaged: " + log_));
  EXPECT_THAT(table.out, HasSubstr("Nothing was changed"));

  const ProcessResult accepted = Recover({"--accept-data-loss", "--yes"});
  EXPECT_EQ(accepted.exit_code, kProblems) << accepted.err;
  EXPECT_FALSE(Json(accepted).contains("dry_run"));
  EXPECT_EQ(Shards(accepted), Shards(dry));
}

TEST_F(CliRecover, ADryRunOfAWholeLogFindsNothingToGiveUp) {
  Fill();
  const ProcessResult dry = DryRun({"--accept-data-loss"});
  EXPECT_EQ(dry.exit_code, kOk) << dry.err;
  EXPECT_TRUE(Json(dry)["would_rewrite"].empty());
  const ProcessResult done = Recover();
  EXPECT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Shards(done), Shards(dry));
  EXPECT_EQ(DryRun().exit_code, kOk) << "of what is stored in tables";
  EXPECT_EQ(Query("n").size(), 400U);
}

TEST_F(CliRecover, ADryRunAsksForRoomBeforehand) {
  Fill();
  const std::string large = db_ + "/log/000001.old";
  std::ofstream(large) << "x";
  std::filesystem::resize_file(large, 1ULL << 42);  // with nothing in it
  const ProcessResult refused = Cli({"recover", db_, "--dry-run"});
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr("this needs 8796"));
  EXPECT_THAT(refused.err, HasSubstr("bytes among temporary files"));
  EXPECT_THAT(refused.err, HasSubstr("TMPDIR"));
}

TEST_F(CliRecover, WhatAKilledDryRunLeftGoesWithTheNext) {
  Fill();
  const std::string temporary = Path("tmp");
  std::filesystem::create_directory(temporary);
  bool left = false;
  for (int i = 0; i < 50 && !left; ++i) {  // it may have come to its end before the kill
    setenv("TMPDIR", temporary.c_str(), 1);
    Subprocess dry(Command({"recover", db_, "--dry-run", "-v"}));
    unsetenv("TMPDIR");
    ASSERT_TRUE(dry.WaitUntil([](const std::string&, const std::string& err) { return err.find("on a copy") != err.npos; }))
        << dry.err();
    dry.Kill(SIGKILL);
    (void)dry.Wait();
    left = !std::filesystem::is_empty(temporary);
  }
  ASSERT_TRUE(left);
  EXPECT_THAT(std::filesystem::directory_iterator(temporary)->path().filename().string(), HasSubstr("chronolith-recover-"));
  EXPECT_EQ(DryRun().exit_code, kOk) << "and looks that nothing is left";
}

TEST_F(CliRecover, ADryRunTakesALogOfAnotherPlace) {
  Fill();
  FlipInTheMiddleOfTheLog();
  const std::string log = Path("log");
  std::filesystem::rename(db_ + "/log", log);
  const ProcessResult dry = DryRun({"--accept-data-loss", "--log-dir", log});
  EXPECT_EQ(dry.exit_code, kProblems) << dry.err;
  EXPECT_THAT(dry.err, HasSubstr(log + "/"));
  EXPECT_EQ(Json(dry)["would_rewrite"][0], log + log_.substr(log_.rfind('/')));
}

TEST_F(CliRecover, ADryRunIsRefusedBesideAWriterAndWithoutADatabase) {
  EXPECT_EQ(Cli({"recover", db_, "--dry-run"}).exit_code, kFailure);
  EXPECT_FALSE(std::filesystem::exists(db_));
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "n 1 1700000000000\nn 2 1700000001000\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 1; })) << writer.err();
  const ProcessResult refused = Cli({"recover", db_, "--dry-run"});
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr("writes to " + db_));
  writer.CloseInput();
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

TEST_F(CliRecover, ReadersNameTheDamagedFileOfALog) {
  Fill();
  FlipInTheMiddleOfTheLog();
  const std::vector<std::vector<std::string>> commands = {
      {"query", "--db", db_, "n"}, {"stat", db_}, {"replay", db_}, {"dump-wal", db_}, {"inspect", db_}};  // the last shows the data
  for (const std::vector<std::string>& command : commands) {
    const auto before = Tree();
    const ProcessResult result = Cli(command);
    EXPECT_EQ(result.exit_code, command[0] == "inspect" ? kProblems : kFailure) << command[0];
    EXPECT_THAT(result.err, HasSubstr("its log is damaged in " + log_ + ", bytes ")) << command[0];
    EXPECT_TRUE(Tree() == before) << command[0];
  }
}

TEST_F(CliRecover, AShardWithoutItsFilesIsNamedAndTheRestIsStored) {
  Fill();
  ASSERT_EQ(Recover().exit_code, kOk);
  for (const std::string& table : TablesOf(db_, "chunk.1")) std::filesystem::remove(table);
  const ProcessResult dry = DryRun({"--accept-data-loss"});
  EXPECT_EQ(dry.exit_code, kProblems) << dry.err;
  const ProcessResult result = Recover({"--accept-data-loss", "--yes"});
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  EXPECT_EQ(Shards(result), Shards(dry));
  const nlohmann::json shards = Json(result)["shards"];
  EXPECT_EQ(shards[0]["quarantine"], "");
  EXPECT_THAT(shards[1]["quarantine"].get<std::string>(), HasSubstr("shard 1 is quarantined"));
  EXPECT_THAT(result.err, HasSubstr("shard 1 is quarantined"));
}

}  // namespace
}  // namespace chronolith::testing

// replay with a cursor: killed at several places and run again, it comes to what one run would have made.
#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kStart = 1'700'000'000'000;

class CliReplayResume : public CliTest {
 protected:
  static constexpr int kSeries = 50;
  static constexpr int kTimes = 2000;

  // In small writes, so that there are many records; a third of them late, one a value that is replaced.
  void Fill() const {
    std::string text = "# TYPE n gauge\n";
    for (int i = 0; i < kTimes; ++i) {
      const int t = i % 3 == 0 ? i : i / 2;
      for (int s = 0; s < kSeries; s += 5) {
        text += "n{s=\"" + std::to_string((s + i) % kSeries) + "\"} " + std::to_string(i) + " " +
                std::to_string(kStart + t * 1000) + "\n";
      }
    }
    const ProcessResult import =
        Cli({"import", "--db", db_, "--input-format", "prometheus", "--shards", "4", "--batch", "20", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
  static std::string Rows(const std::string& db) { return Cli({"query", "--db", db, "{}", "--format", "csv"}).out; }

  std::vector<std::string> ReplayTo(const std::string& target, bool slow) const {
    std::vector<std::string> args = {
        "replay", db_,          "--target", target,     "--cursor", Path("cursor"), "--cursor-interval",
        "1ms",    "--progress", "plain",    "--format", "json"};
    if (slow) args.insert(args.end(), {"--rate-limit", "4000"});
    return args;
  }
  // Kills it after each of the first saves of its cursor that say something was sent, then lets it come to its end.
  void KillAgainAndAgain(const std::string& target) {
    int kills = 0;
    for (const std::size_t saves : {1, 2, 1, 3, 2}) {
      Subprocess replay(Command(ReplayTo(target, true)));
      const bool saved = replay.WaitUntil([&](const std::string&, const std::string& err) {
        std::size_t n = 0;
        for (std::size_t at = err.find("synced "); at != std::string::npos; at = err.find("synced ", at + 1)) {
          n += err.compare(at, 9, "synced 0\n") == 0 ? 0 : 1;
        }
        return n >= saves;
      });
      if (!saved) break;  // it is done
      replay.Kill(SIGKILL);
      kills += replay.Wait().signal == SIGKILL ? 1 : 0;
    }
    EXPECT_GT(kills, 1);
    const ProcessResult last = Cli(ReplayTo(target, false));
    ASSERT_EQ(last.exit_code, kOk) << last.err;
    const nlohmann::json json = Json(last);
    EXPECT_EQ(json["complete"], true);
    std::uint64_t resumed = 0;
    for (const auto& shard : json["shards"]) {
      resumed += shard["resumed_after"].get<std::uint64_t>();
      EXPECT_GE(shard["delivered_lsn"], shard["last_lsn"]);
    }
    EXPECT_GT(resumed, 0U);
  }
};

TEST_F(CliReplayResume, ADatabaseComesOutLikeTheSource) {
  Fill();
  KillAgainAndAgain("db:" + Path("copy"));
  EXPECT_EQ(Rows(Path("copy")), Rows(db_));
  EXPECT_GT(Lines(Rows(db_)).size(), 1000U);
  const ProcessResult idle = Cli(ReplayTo("db:" + Path("copy"), false));
  EXPECT_EQ(idle.exit_code, kOk) << idle.err;
  EXPECT_EQ(Json(idle)["sent"], 0);
}

TEST_F(CliReplayResume, ACursorOfADatabaseThatIsGoneOrAnotherIsRefused) {
  Fill();
  const std::string target = "db:" + Path("copy");
  ASSERT_EQ(Cli(ReplayTo(target, false)).exit_code, kOk);
  std::filesystem::rename(Path("copy"), Path("first"));
  const ProcessResult gone = Cli(ReplayTo(target, false));
  EXPECT_EQ(gone.exit_code, kFailure);
  EXPECT_THAT(gone.err, HasSubstr("the target that the cursor belongs to"));
  EXPECT_FALSE(std::filesystem::exists(Path("copy"))) << "none is made in its place";
  ASSERT_EQ(Cli({"import", "--db", Path("copy"), "--input-format", "prometheus", "-"}, "n 1 1\n").exit_code, kOk);
  const ProcessResult other = Cli(ReplayTo(target, false));
  EXPECT_EQ(other.exit_code, kFailure);
  EXPECT_THAT(other.err, HasSubstr("is another database"));
  std::filesystem::remove_all(Path("copy"));
  std::filesystem::rename(Path("first"), Path("copy"));
  EXPECT_EQ(Cli(ReplayTo(target, false)).exit_code, kOk);
}

TEST_F(CliReplayResume, AFileHoldsEachItemOnce) {
  Fill();
  KillAgainAndAgain("jsonl:" + Path("log.jsonl"));
  std::size_t samples = 0;
  for (const std::string& line : Lines(ReadFile(Path("log.jsonl")))) {
    const nlohmann::json series = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(series.is_discarded()) << line;
    samples += series["values"].size();
  }
  EXPECT_EQ(samples, std::size_t{kTimes} * kSeries / 5);
  ASSERT_EQ(Cli({"import", "jsonl", "--db", Path("copy"), Path("log.jsonl")}).exit_code, kOk);
  // Between shards there is no order, within a series there is: of two values at one time the later has won.
  EXPECT_EQ(Rows(Path("copy")), Rows(db_));
}

TEST_F(CliReplayResume, WhatDoesNotFitTheCursorIsRefusedByName) {
  Fill();
  ASSERT_EQ(Cli(ReplayTo("null", false)).exit_code, kOk);
  const auto refused = [&](std::vector<std::string> args, const char* why) {
    const ProcessResult result = Cli(std::move(args));
    EXPECT_EQ(result.exit_code, kFailure) << result.out;
    EXPECT_THAT(result.err, HasSubstr(why));
    EXPECT_THAT(result.err, HasSubstr(Path("cursor")));
  };
  refused(ReplayTo("db:" + Path("copy"), false), "the target null");
  EXPECT_FALSE(std::filesystem::exists(Path("copy")));
  auto filtered = ReplayTo("null", false);
  filtered.insert(filtered.end(), {"--shard", "1"});
  refused(filtered, "shard=1");

  ASSERT_EQ(Cli({"import", "--db", db_, "--input-format", "prometheus", "-"}, "# TYPE n gauge\nn{s=\"1\"} 1 1\n").exit_code, kOk);
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);  // stores the log and trims it
  refused(ReplayTo("null", false), "has been trimmed up to LSN");

  std::filesystem::remove(Path("cursor"));
  EXPECT_EQ(Cli(ReplayTo("null", false)).exit_code, kOk);
  WriteFile("cursor", "chronolith replay cursor 1\nnonsense\n");
  refused(ReplayTo("null", false), "damaged");
  EXPECT_EQ(Cli(ReplayTo("jsonl:-", false)).exit_code, kUsage);
}

TEST_F(CliReplayResume, TheSourceItselfAndALockedDatabaseAreNoTargets) {
  Fill();
  const ProcessResult self = Cli({"replay", db_, "--target", "db:" + db_});
  EXPECT_NE(self.exit_code, kOk);
  EXPECT_THAT(self.err, HasSubstr("the target is the database that is read"));
  Subprocess writer(
      Command({"import", "--db", Path("copy"), "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"}));
  std::string text = "# TYPE n gauge\nn 1 1\nn 2 2\n";
  for (int i = 0; i < 200'000; ++i) text += "# nothing\n";  // it reads in blocks
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 1; })) << writer.err();
  const ProcessResult locked = Cli({"replay", db_, "--target", "db:" + Path("copy")});
  EXPECT_EQ(locked.exit_code, kFailure);
  EXPECT_THAT(locked.err, HasSubstr("copy"));
}

}  // namespace
}  // namespace chronolith::testing

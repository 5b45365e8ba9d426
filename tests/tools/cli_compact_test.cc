#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <thread>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;

class CliCompact : public CliTest {
 protected:
  static constexpr std::int64_t kWindow = 2 * 60 * 60 * 1000;
  static constexpr std::int64_t kT = 1'699'999'200'000;  // where a window begins
  static constexpr int kSeries = 40;
  static constexpr int kWindows = 5;

  // Minutes of five windows; the second time those in between, so that there is something to merge. All is stored, and closed.
  void Fill() {
    for (const std::int64_t shift : {0, 30'000}) {
      std::string text;
      for (std::int64_t t = kT; t < kT + kWindows * kWindow; t += 60'000) {
        for (int i = 0; i < kSeries; ++i)
          text += "n{i=\"" + std::to_string(i) + "\"} " + std::to_string(t / 60'000 * 7919 % 61 + i) + " " +
                  std::to_string(t + shift) + "\n";
      }
      const ProcessResult result = Import(text, {"--input-format", "prometheus", "--shards", "2"});
      ASSERT_EQ(result.exit_code, kOk) << result.err;
    }
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);  // stores what the log holds
    content_ = Query("n");
    ASSERT_EQ(content_.size(), 2U * kSeries * kWindows * 120);
  }
  ProcessResult Compact(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"compact", "--db", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // The names and sizes of all that the database consists of, but for what the engine notes down about itself.
  std::map<std::string, std::uintmax_t> Files() const {
    std::map<std::string, std::uintmax_t> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(db_)) {
      if (entry.is_regular_file()) files[entry.path()] = entry.file_size();
    }
    return files;
  }
  // Runs one that never comes to its end by itself, and kills it when it has done something.
  ProcessResult CompactUntilKilledBy(int signal, const std::vector<std::string>& more = {"--format", "json"}) const {
    std::vector<std::string> args = {"compact", db_, "--io-limit", "1", "--progress", "plain"};
    args.insert(args.end(), more.begin(), more.end());
    Subprocess slow(Command(args));
    EXPECT_TRUE(slow.WaitUntil([](const std::string&, const std::string& err) {
      return err.find("done 1 of ") != std::string::npos;
    })) << slow.err();
    slow.Kill(signal);
    return slow.Wait();
  }

  std::vector<std::string> content_;
};

TEST_F(CliCompact, SaysForEachShardWhatItHasSavedAndTheDryRunSaysItBefore) {
  Fill();
  const auto files = Files();
  const ProcessResult looked = Compact({"--dry-run"});
  ASSERT_EQ(looked.exit_code, kOk) << looked.err;
  EXPECT_EQ(Files(), files) << "a dry run changes nothing";
  const nlohmann::json dry = Json(looked);
  const ProcessResult done = Compact();
  ASSERT_EQ(done.exit_code, kOk) << done.err;
  const nlohmann::json real = Json(done);
  EXPECT_EQ(dry["dry_run"], true);
  EXPECT_EQ(real["dry_run"], false);
  EXPECT_EQ(real["complete"], true);
  ASSERT_EQ(dry["shards"].size(), 2U);
  ASSERT_EQ(real["shards"].size(), 2U);
  const char* const kSame[] = {"row_bytes_before", "row_bytes_after", "row_bytes_written", "chunks_before",
                               "chunks_after",     "windows",         "samples_deleted",   "series_removed"};
  std::map<std::string, std::uint64_t> sums;
  for (std::size_t k = 0; k < 2; ++k) {
    const nlohmann::json& shard = real["shards"][k];
    EXPECT_EQ(shard["shard"], k);
    EXPECT_EQ(shard["damage"], "");
    EXPECT_LT(shard["chunks_after"], shard["chunks_before"]);
    EXPECT_LT(shard["row_bytes_after"], shard["row_bytes_before"]);
    EXPECT_LT(shard["disk_bytes_after"], shard["disk_bytes_before"]);
    EXPECT_GT(shard["disk_bytes_after"], 0);
    for (const char* name : kSame) {
      EXPECT_EQ(shard[name], dry["shards"][k][name]) << name << " of shard " << k;
      sums[name] += shard[name].get<std::uint64_t>();
    }
    sums["disk_bytes_after"] += shard["disk_bytes_after"].get<std::uint64_t>();
  }
  for (const auto& [name, sum] : sums) EXPECT_EQ(real["total"][name], sum) << name;
  EXPECT_EQ(Query("n"), content_);
  const nlohmann::json inspected = Json(Cli({"inspect", db_, "--format", "json"}));
  for (std::size_t k = 0; k < 2; ++k) EXPECT_EQ(inspected["shards"][k]["table_bytes"], real["shards"][k]["disk_bytes_after"]);
  const nlohmann::json again = Json(Compact());
  EXPECT_EQ(again["total"]["chunks_before"], real["total"]["chunks_after"]);
  EXPECT_EQ(again["total"]["chunks_after"], real["total"]["chunks_after"]);
}

TEST_F(CliCompact, OnlyTheShardsThatAreNamed) {
  Fill();
  const ProcessResult none = Compact({"--shard", "2"});
  EXPECT_EQ(none.exit_code, kUsage);
  EXPECT_THAT(none.err, HasSubstr("no shard 2"));
  const nlohmann::json one = Json(Compact({"--shard", "1"}));
  ASSERT_EQ(one["shards"].size(), 1U);
  EXPECT_EQ(one["shards"][0]["shard"], 1);
  const ProcessResult csv = Cli({"compact", db_, "--shard", "0", "--shard", "1", "--dry-run", "--format", "csv"});
  EXPECT_EQ(csv.exit_code, kOk) << csv.err;
  const std::vector<std::string> lines = Lines(csv.out);
  ASSERT_EQ(lines.size(), 3U) << csv.out;
  EXPECT_EQ(lines[0],
            "shard,row bytes before,row bytes after,saved,chunks before,chunks after,samples deleted,series removed,samples in "
            "log,state");
  std::uint64_t saved[2] = {0, 0};
  for (std::size_t k = 0; k < 2; ++k) {
    std::uint64_t shard = 9, before = 0, after = 0;
    ASSERT_EQ(std::sscanf(lines[k + 1].c_str(), "%lu,%lu,%lu,%lu,", &shard, &before, &after, &saved[k]), 4) << lines[k + 1];
    EXPECT_EQ(shard, k);
    EXPECT_EQ(saved[k], before - after);
  }
  EXPECT_GT(saved[0], 0U) << "nothing of it has been merged yet";
  EXPECT_EQ(saved[1], 0U) << "nothing of it is left to be saved";
  const ProcessResult table = Cli({"compact", db_, "--priority", "normal"});
  EXPECT_EQ(table.exit_code, kOk) << table.err;
  EXPECT_THAT(table.out, HasSubstr("disk bytes before"));
  EXPECT_THAT(table.out, HasSubstr("as `inspect` shows them"));
  EXPECT_THAT(table.out, HasSubstr("total"));
  EXPECT_EQ(Query("n"), content_);
}

// Of a thread; 0: the one that asks.
struct Priority {
  int nice = 0;
  long io = 0;
  static Priority Of(pid_t thread) {
    return {getpriority(PRIO_PROCESS, static_cast<id_t>(thread)), syscall(SYS_ioprio_get, 1L, static_cast<long>(thread))};
  }
  friend bool operator==(const Priority&, const Priority&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Priority& p) { return out << "nice " << p.nice << ", io " << p.io; }
};

TEST_F(CliCompact, ItsPriorityIsLowUnlessNormalIsAskedFor) {
  Fill();
  // What the system makes of it here, for a thread of this program.
  const Priority normal = Priority::Of(0);
  Priority low;
  std::thread([&low] {
    (void)setpriority(PRIO_PROCESS, 0, 10);
    (void)syscall(SYS_ioprio_set, 1L, 0L, (2L << 13) | 7);  // best effort, the last of its levels
    low = Priority::Of(0);
  }).join();
  const struct {
    std::vector<std::string> flags;
    Priority wanted;
  } kRows[] = {{{}, low}, {{"--priority", "low"}, low}, {{"--priority", "normal"}, normal}};
  for (const auto& row : kRows) {
    std::vector<std::string> args = {"compact", db_, "--io-limit", "1", "--progress", "plain"};
    args.insert(args.end(), row.flags.begin(), row.flags.end());
    Subprocess slow(Command(args));  // never comes to its end by itself
    ASSERT_TRUE(slow.WaitUntil([](const std::string&, const std::string& err) {
      return err.find("done 1 of ") != std::string::npos;
    })) << slow.err();
    EXPECT_EQ(Priority::Of(slow.pid()), row.wanted);
    std::size_t like_it = 0;
    for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(slow.pid()) + "/task")) {
      like_it += Priority::Of(std::stoi(thread.path().filename())) == row.wanted ? 1 : 0;
    }
    EXPECT_GT(like_it, 1U) << "the threads of the store, too";
    slow.Kill(SIGKILL);
    EXPECT_EQ(slow.Wait().signal, SIGKILL);
  }
  EXPECT_EQ(Query("n"), content_);
}

TEST_F(CliCompact, BesideAWriterItIsRefusedAndNamesTheLockButADryRunWorks) {
  Subprocess writer(Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--shards", "2", "-"}));
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += "n{i=\"" + std::to_string(i % 50) + "\"} 1 " + std::to_string(kT + i) + "\n";
  ASSERT_TRUE(writer.Write(text));
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 10'000; }))
      << writer.err();
  const ProcessResult refused = Compact();
  EXPECT_EQ(refused.exit_code, kFailure);
  EXPECT_THAT(refused.err, HasSubstr(db_));
  EXPECT_THAT(refused.err, HasSubstr("lock"));
  EXPECT_EQ(refused.out, "");
  const ProcessResult dry = Compact({"--dry-run"});
  EXPECT_EQ(dry.exit_code, kOk) << dry.err;
  EXPECT_EQ(Json(dry)["shards"].size(), 2U);
  EXPECT_EQ(writer.Wait().exit_code, kOk);
  EXPECT_EQ(Query("n").size(), 50'000U);
}

TEST_F(CliCompact, KilledInTheMiddleItIsSimplyRunAgain) {
  Fill();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(CompactUntilKilledBy(SIGKILL).signal, SIGKILL);
    EXPECT_EQ(Query("n"), content_);
  }
  const ProcessResult done = Compact();
  EXPECT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Query("n"), content_);
  const nlohmann::json rest = Json(Compact({"--dry-run"}));
  EXPECT_EQ(rest["total"]["chunks_after"], rest["total"]["chunks_before"]);
}

TEST_F(CliCompact, InterruptedItSaysWhatItHasDoneAndHowToGoOn) {
  Fill();
  for (const int signal : {SIGINT, SIGTERM}) {
    const ProcessResult result = CompactUntilKilledBy(signal);
    EXPECT_EQ(result.exit_code, kFailure) << result.err;
    EXPECT_THAT(result.err, HasSubstr("interrupted"));
    const nlohmann::json json = Json(result);
    EXPECT_EQ(json["complete"], false);
    EXPECT_EQ(json["total"]["windows"], 1);
    EXPECT_EQ(json["total"]["state"], "interrupted");
    for (const auto& shard : json["shards"]) EXPECT_EQ(shard["state"], "interrupted");
    EXPECT_EQ(Query("n"), content_);
  }
  const ProcessResult done = Compact();
  EXPECT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Json(done)["total"]["windows"], 2 * kWindows);
  EXPECT_EQ(Query("n"), content_);
}

TEST_F(CliCompact, AnInterruptedDryRunCallsNothingOk) {
  Fill();
  const ProcessResult table = CompactUntilKilledBy(SIGINT, {"--dry-run"});
  EXPECT_EQ(table.exit_code, kFailure) << table.err;
  EXPECT_THAT(table.out, HasSubstr("interrupted"));
  EXPECT_THAT(table.out, ::testing::Not(HasSubstr(" ok")));
  const nlohmann::json json = Json(CompactUntilKilledBy(SIGTERM, {"--dry-run", "--format", "json"}));
  EXPECT_EQ(json["total"]["state"], "interrupted");
  EXPECT_EQ(json["total"]["complete"], false);
  for (const auto& shard : json["shards"]) EXPECT_EQ(shard["complete"], false);
}

TEST_F(CliCompact, ADryRunSaysWhatOnlyTheLogHoldsAndItsFiguresLeaveOut) {
  Import("n 1 1700000000000\nn 2 1700000060000\nm 3 1700000000000\n", {"--input-format", "prometheus", "--shards", "2"});
  const ProcessResult before = Compact({"--dry-run"});
  EXPECT_EQ(before.exit_code, kOk) << before.err;
  EXPECT_THAT(before.err, HasSubstr("3 samples are only in the log"));
  EXPECT_THAT(before.err, HasSubstr("compact stores them first"));
  const nlohmann::json looked = Json(before);
  EXPECT_EQ(looked["total"]["chunks_before"], 0);
  EXPECT_EQ(looked["total"]["samples_in_log"], 3);
  std::uint64_t in_shards = 0;
  for (const auto& shard : looked["shards"]) in_shards += shard["samples_in_log"].get<std::uint64_t>();
  EXPECT_EQ(in_shards, 3U);
  for (const char* const shard : {"0", "1"}) {
    const nlohmann::json one = Json(Compact({"--dry-run", "--shard", shard}));
    EXPECT_EQ(one["total"]["samples_in_log"], looked["shards"][std::stoul(shard)]["samples_in_log"]) << "of the shards named only";
  }
  EXPECT_THAT(Cli({"compact", db_, "--dry-run"}).out, HasSubstr("samples in log"));
  const nlohmann::json done = Json(Compact());
  EXPECT_FALSE(done["total"].contains("samples_in_log"));
  EXPECT_EQ(done["total"]["chunks_before"], 2) << "it stores them first";
  const ProcessResult after = Compact({"--dry-run"});
  EXPECT_EQ(after.err, "");
  EXPECT_EQ(Json(after)["total"]["chunks_before"], 2);
  EXPECT_EQ(Json(after)["total"]["samples_in_log"], 0);
}

TEST_F(CliCompact, RetentionIsAskedForAndStays) {
  Fill();
  // Of five windows, the newest sample is in the last one; more than one window behind it is old.
  const nlohmann::json looked = Json(Compact({"--retention", "2h", "--dry-run"}));
  EXPECT_GT(looked["total"]["samples_deleted"], 0);
  EXPECT_EQ(Query("n"), content_);
  const ProcessResult unsure = Compact({"--retention", "2h"});
  EXPECT_EQ(unsure.exit_code, kUsage) << "nobody can be asked";
  EXPECT_THAT(unsure.err, HasSubstr("--yes"));
  EXPECT_EQ(Query("n"), content_);
  // Asked on a terminal.
  const std::string command = std::string(CHRONOLITH_CLI) + " compact " + db_ + " --retention 2h";
  const ProcessResult no = RunProcess({"/usr/bin/script", "-qec", command, "/dev/null"}, "no\n");
  EXPECT_EQ(no.exit_code, kFailure) << no.out;
  EXPECT_THAT(no.out, HasSubstr("[y/N]"));
  EXPECT_EQ(Query("n"), content_);
  const ProcessResult done = Compact({"--retention", "2h", "--yes"});
  ASSERT_EQ(done.exit_code, kOk) << done.err;
  EXPECT_EQ(Json(done)["total"]["samples_deleted"], looked["total"]["samples_deleted"]);
  const std::vector<std::string> left = Query("n");
  EXPECT_EQ(left.size(), content_.size() - looked["total"]["samples_deleted"].get<std::size_t>());
  EXPECT_LT(left.size(), content_.size() / 2);
  EXPECT_GT(left.size(), content_.size() / 10);
  EXPECT_EQ(Import("n{i=\"0\"} 1 " + std::to_string(kT) + "\n", {"--input-format", "prometheus"}).exit_code, kProblems)
      << "what is that old is refused from then on";
  EXPECT_EQ(Compact({"--retention", "soon"}).exit_code, kUsage);
  EXPECT_EQ(Compact({"--retention", "0s"}).exit_code, kUsage);
}

TEST_F(CliCompact, ADatabaseThatIsNotThereIsNotMade) {
  const ProcessResult result = Compact();
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr(db_));
  EXPECT_FALSE(std::filesystem::exists(db_));
}

TEST_F(CliCompact, ADamagedShardIsNamedAndTheOthersAreCompacted) {
  Fill();
  for (const std::string& table : TablesOf(db_, "chunk.1")) std::filesystem::remove(table);
  const ProcessResult result = Compact();
  EXPECT_EQ(result.exit_code, kProblems) << result.err;
  EXPECT_THAT(result.err, HasSubstr("shard 1"));
  const nlohmann::json json = Json(result);
  EXPECT_EQ(json["complete"], true);
  EXPECT_EQ(json["shards"][0]["damage"], "");
  EXPECT_LT(json["shards"][0]["chunks_after"], json["shards"][0]["chunks_before"]);
  EXPECT_THAT(json["shards"][1]["damage"].get<std::string>(), HasSubstr("quarantined"));
}

}  // namespace
}  // namespace chronolith::testing

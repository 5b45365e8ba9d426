// A log archive through the program: writers that keep one, kill -9 of writers and restores, refusals, damage.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}
// Spins until the clock shows another millisecond: what is written then is later than the time returned.
std::int64_t Moment() {
  const std::int64_t now = NowMs();
  while (NowMs() <= now) std::this_thread::yield();
  return now;
}

class CliArchive : public CliTest {
 protected:
  // Samples of so many series, all with this value.
  void Write(int value, int series = 5) {
    std::string text;
    for (int s = 0; s < series; ++s) {
      text +=
          "m{s=\"" + std::to_string(s) + "\"} " + std::to_string(value) + " " + std::to_string(1'700'000'000'000 + value) + "\n";
    }
    const ProcessResult written = Import(text, {"--archive", Path("archive")});
    ASSERT_EQ(written.exit_code, kOk) << written.err;
  }
  std::string Backup() const {
    const ProcessResult made = Cli({"backup", "--db", db_, "--to", Path("backups"), "--format", "json"});
    EXPECT_EQ(made.exit_code, kOk) << made.err;
    return Json(made)["path"];
  }
  std::vector<std::string> RestoreArgs(const std::string& to, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"restore", "--from", Path("backups"), "--archive", Path("archive"),
                                     "--to",    to,       "--format",      "json"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  static std::vector<std::string> Samples(const std::string& db) {
    const ProcessResult result = Cli({"query", "--db", db, "--format", "csv", "{}"});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Lines(result.out, 1);
  }
  static void FlipByte(const std::string& path, std::uint64_t at) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good());
  }
  std::string Segment() const { return Path("archive/segment-0000000001"); }
};

TEST_F(CliArchive, RestoresWhatHadBeenWrittenByThen) {
  Write(1);
  Backup();
  std::vector<std::int64_t> moments;
  for (int value = 2; value <= 5; ++value) {
    Moment();
    Write(value, 5 + value);  // new series, too
    moments.push_back(Moment());
  }
  Write(6);
  std::size_t samples = 5;
  for (int value = 2; value <= 5; ++value) {
    samples += static_cast<std::size_t>(5 + value);
    const std::string to = Path("copy" + std::to_string(value));
    const std::string time = std::to_string(moments[static_cast<std::size_t>(value - 2)]);
    const ProcessResult restored = Cli(RestoreArgs(to, {"--to-time", time}));
    ASSERT_EQ(restored.exit_code, kOk) << restored.err;
    EXPECT_EQ(std::to_string(Json(restored)["reached_ms"].get<std::int64_t>()), time);
    EXPECT_GT(Json(restored)["archived_rows"].get<int>(), 0);
    EXPECT_EQ(Samples(to).size(), samples) << time;
  }
  const ProcessResult all = Cli(RestoreArgs(Path("all")));
  ASSERT_EQ(all.exit_code, kOk) << all.err;
  EXPECT_EQ(Samples(Path("all")), Samples(db_));
  // What was restored takes writes, in an archive of its own.
  const ProcessResult mixed = Cli({"import", "--db", Path("all"), "--archive", Path("archive"), "-"}, "m 1\n");
  EXPECT_EQ(mixed.exit_code, kFailure);
  EXPECT_THAT(mixed.err, HasSubstr("name a new directory"));
  EXPECT_EQ(Cli({"import", "--db", Path("all"), "--archive", Path("other"), "-"}, "m 1 1700000000000\n").exit_code, kOk);
}

TEST_F(CliArchive, TellsWhatCannotBeHad) {
  const std::int64_t before = Moment();
  Write(1);
  Backup();
  Write(2);
  const ProcessResult late = Cli(RestoreArgs(Path("copy"), {"--to-time", "now"}));
  EXPECT_EQ(late.exit_code, kFailure);
  EXPECT_THAT(late.err, HasSubstr("does not go as far"));
  const ProcessResult early = Cli(RestoreArgs(Path("copy"), {"--to-time", std::to_string(before)}));
  EXPECT_EQ(early.exit_code, kFailure);
  EXPECT_THAT(early.err, HasSubstr("all backups in"));
  EXPECT_EQ(Cli(RestoreArgs(Path("copy"), {"--to-time", "yesterday"})).exit_code, kUsage);
  EXPECT_EQ(Cli({"restore", "--from", Path("backups"), "--to", Path("copy"), "--to-time", "now"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"archive", "list", Path("none")}).exit_code, kFailure);
  EXPECT_FALSE(fs::exists(Path("copy")));
  const ProcessResult dry = Cli(RestoreArgs(Path("copy"), {"--dry-run"}));
  EXPECT_EQ(dry.exit_code, kOk) << dry.err;
  EXPECT_TRUE(Json(dry)["dry_run"].get<bool>());
  EXPECT_FALSE(fs::exists(Path("copy")));
  const ProcessResult allowed = Cli(RestoreArgs(Path("copy"), {"--to-time", "now", "--allow-earlier"}));
  EXPECT_EQ(allowed.exit_code, kProblems);
  EXPECT_EQ(Json(allowed)["archived_rows"], Json(dry)["archived_rows"]);
  EXPECT_NE(Json(allowed)["shortfall"], "");
  EXPECT_EQ(Samples(Path("copy")), Samples(db_));
}

// The data is gone, the log is not: nothing that was logged is lost.
TEST_F(CliArchive, WhatOnlyTheLogHasIsAddedAfterADisaster) {
  ASSERT_EQ(RunProcess({CHRONOLITH_CHECKPOINTING_WRITER, db_, "1000", Path("archive")}).exit_code, 0);
  Backup();
  std::uint64_t logged = 0;
  {
    Subprocess writer({CHRONOLITH_CHECKPOINTING_WRITER, db_, "0", Path("archive")});
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= 43'000; }))
        << writer.err();
    const ProcessResult busy = Cli({"archive", "add-log", Path("archive"), "--db", db_});
    EXPECT_EQ(busy.exit_code, kFailure) << "the writer archives by itself";
    writer.Kill(SIGKILL);
    logged = LastLogged(writer.Wait().err);
  }
  // The kill may have come when all was archived; this is not: no checkpoint follows it.
  const ProcessResult last = Import("last 1 1700000000000\n");
  ASSERT_EQ(last.exit_code, kOk) << last.err;
  const auto expected = Samples(db_);
  fs::remove_all(db_ + "/data");
  const ProcessResult added = Cli({"archive", "add-log", Path("archive"), "--db", db_, "--format", "json"});
  ASSERT_EQ(added.exit_code, kOk) << added.err;
  EXPECT_GT(Json(added)["rows"].get<int>(), 0);
  EXPECT_EQ(Cli({"archive", "add-log", Path("archive"), "--db", db_}).exit_code, kOk) << "again";
  const ProcessResult restored = Cli(RestoreArgs(Path("copy")));
  ASSERT_EQ(restored.exit_code, kOk) << restored.err;
  EXPECT_EQ(Samples(Path("copy")), expected);
  EXPECT_GE(expected.size(), logged);
}

TEST_F(CliArchive, DamageIsFoundAndNamed) {
  Write(1);
  Backup();
  const auto at = fs::file_size(Segment()) + 30;
  Write(2);
  FlipByte(Segment(), at);
  const ProcessResult listed = Cli({"archive", "list", Path("archive"), "--format", "json"});
  EXPECT_EQ(listed.exit_code, kProblems);
  ASSERT_EQ(Json(listed)["problems"].size(), 1U);
  EXPECT_THAT(Json(listed)["problems"][0].get<std::string>(), HasSubstr(Segment()));
  const ProcessResult restored = Cli(RestoreArgs(Path("copy")));
  EXPECT_EQ(restored.exit_code, kFailure);
  EXPECT_THAT(restored.err, HasSubstr(Segment()));
  const ProcessResult written = Cli({"import", "--db", db_, "--archive", Path("archive"), "-"}, "m 1\n");
  EXPECT_EQ(written.exit_code, kFailure) << "nothing is appended to it";
  EXPECT_THAT(written.err, HasSubstr(Segment()));
}

TEST_F(CliArchive, ListAndPrune) {
  Write(1);
  Write(2);
  const ProcessResult listed = Cli({"archive", "list", Path("archive"), "--format", "json"});
  ASSERT_EQ(listed.exit_code, kOk) << listed.err;
  const auto list = Json(listed);
  EXPECT_EQ(list["files"], 1);
  EXPECT_EQ(list["runs"].size(), 16U);
  for (const auto& run : list["runs"]) EXPECT_EQ(run["first_lsn"], 1);
  EXPECT_GT(list["restorable_to_ms"].get<std::int64_t>(), list["runs"][0]["first_ms"].get<std::int64_t>());
  EXPECT_THAT(Cli({"archive", "list", Path("archive")}).out, HasSubstr("restores go to"));
  const ProcessResult pruned = Cli({"archive", "prune", Path("archive"), "--before", "now", "--yes", "--format", "json"});
  EXPECT_EQ(pruned.exit_code, kOk) << pruned.err;
  EXPECT_EQ(Json(pruned)["files_removed"], 0) << "the newest file stays";
  EXPECT_EQ(Cli({"archive", "prune", Path("archive")}).exit_code, kUsage);
}

// Whatever writes, and whatever a delete hides.
TEST_F(CliArchive, EveryWriterGivesItItsRecords) {
  Write(1);
  Backup();
  const std::string block = std::string(CHRONOLITH_TEST_DATA) + "/../golden/prometheus_block";
  const ProcessResult imported = Cli({"import", "prometheus", "--db", db_, "--archive", Path("archive"), block});
  ASSERT_EQ(imported.exit_code, kOk) << imported.err;
  const ProcessResult deleted = Cli({"delete", "--db", db_, "--match", "m{s=\"0\"}", "--archive", Path("archive"), "--yes"});
  ASSERT_EQ(deleted.exit_code, kOk) << deleted.err;
  const std::vector<std::string> wanted = Samples(db_);
  EXPECT_GT(wanted.size(), 5U);
  const ProcessResult restored = Cli(RestoreArgs(Path("copy")));
  ASSERT_EQ(restored.exit_code, kOk) << restored.err;
  EXPECT_EQ(Samples(Path("copy")), wanted);
}

// Its first file cannot be made: something else has the name under which it is written.
TEST_F(CliArchive, WritersFailWhereItHasNotTakenAll) {
  Write(1);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(Path("archive"))) {
    if (entry.path().filename() != "LOCK") files.push_back(entry.path().filename());
  }
  ASSERT_EQ(files.size(), 1U);
  const std::string full = Path("full");
  const std::string in_the_way = full + "/" + files[0].string() + ".tmp";
  fs::create_directories(in_the_way);
  db_ = Path("db2");
  const std::string text = WriteFile("m.om", "m 1 1700000000\n# EOF\n");
  const std::vector<std::vector<std::string>> commands = {
      {"import", "--db", db_, "--archive", full, text},
      {"delete", "--db", db_, "--match", "m", "--end", "1600000000000", "--yes", "--archive", full},
      {"compact", "--db", db_, "--archive", full},
      {"recover", "--db", db_, "--archive", full}};
  for (const std::vector<std::string>& command : commands) {
    const ProcessResult failed = Cli(command);
    EXPECT_EQ(failed.exit_code, kFailure) << command[0] << ": " << failed.out;
    EXPECT_THAT(failed.err, HasSubstr("the archive " + full + " has not taken ")) << command[0];
    EXPECT_THAT(failed.err, HasSubstr(in_the_way)) << command[0] << " says why";
  }
  EXPECT_EQ(Samples(db_).size(), 1U) << "what was written is there all the same";
  fs::remove(in_the_way);
  const ProcessResult gone_on = Cli(commands.back());
  EXPECT_EQ(gone_on.exit_code, kOk) << gone_on.err;
  EXPECT_TRUE(fs::exists(full + "/" + files[0].string()));
}

TEST_F(CliArchive, RecoverTellsOfDamageWhereItHasNotTakenAll) {
  ASSERT_EQ(
      Import("m{s=\"0\"} 1 1700000000000\nm{s=\"1\"} 1 1700000000000\nm{s=\"2\"} 1 1700000000000\n", {"--shards", "2"}).exit_code,
      kOk);
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  for (const std::string& table : TablesOf(db_, "chunk.1")) fs::remove(table);
  const std::string full = Path("full");
  fs::create_directories(full + "/segment-0000000001.tmp");
  const ProcessResult both = Cli({"recover", db_, "--archive", full, "--format", "json"});
  EXPECT_EQ(both.exit_code, kProblems) << both.err;
  EXPECT_THAT(Json(both)["shards"][1]["quarantine"].get<std::string>(), HasSubstr("shard 1 is quarantined"));
  EXPECT_THAT(both.err, HasSubstr("the archive " + full + " has not taken "));
}

TEST_F(CliArchive, WhoWroteWithoutItLeavesAHoleThatIsNamed) {
  Write(1);
  ASSERT_EQ(Import("m{s=\"0\"} 2 1700000000002\n").exit_code, kOk);
  ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);  // trims what no archive has
  Write(3);
  const ProcessResult listed = Cli({"archive", "list", Path("archive")});
  EXPECT_EQ(listed.exit_code, kProblems);
  EXPECT_THAT(listed.err, HasSubstr("a process wrote to the database without this archive"));
}

// Killed at any moment, a writer leaves an archive that goes on, and loses nothing of it.
TEST_F(CliArchive, KilledWritersLeaveAWholeArchive) {
  const std::vector<std::string> command = {CHRONOLITH_CHECKPOINTING_WRITER, db_, "0", Path("archive")};
  ASSERT_EQ(RunProcess({CHRONOLITH_CHECKPOINTING_WRITER, db_, "1000", Path("archive")}).exit_code, 0);
  Backup();
  std::uint64_t logged = 1000;  // each writer writes the same samples from the beginning
  for (const std::uint64_t until : {30'000U, 45'000U, 61'000U, 83'000U}) {
    Subprocess writer(command);
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= until; }))
        << writer.err();
    writer.Kill(SIGKILL);
    const ProcessResult ended = writer.Wait();
    EXPECT_EQ(ended.signal, SIGKILL) << ended.err;
    logged = std::max(logged, LastLogged(ended.err));
    EXPECT_EQ(Cli({"archive", "list", Path("archive")}).exit_code, kOk);
  }
  ASSERT_EQ(Cli({"recover", "--db", db_, "--archive", Path("archive")}).exit_code, kOk);  // the log's end is archived
  const ProcessResult restored = Cli(RestoreArgs(Path("copy")));
  ASSERT_EQ(restored.exit_code, kOk) << restored.err;
  const auto samples = Samples(Path("copy"));
  EXPECT_GE(samples.size(), logged);
  EXPECT_EQ(samples, Samples(db_));
}

TEST_F(CliArchive, KilledRestoresAreDoneAgain) {
  Write(1, 2000);
  Backup();
  for (int value = 2; value < 12; ++value) Write(value, 2000);
  const auto expected = Samples(db_);
  const auto files = [&] {
    std::size_t count = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator it(Path("copy"), error), end; !error && it != end; it.increment(error)) ++count;
    return count;
  };
  std::size_t killed = 0;
  std::size_t most = 0;
  constexpr std::size_t kRounds = 100;
  for (std::size_t at = 2; !fs::exists(Path("copy/STORE")); at += 40) {
    ASSERT_LT(at, 2 + 40 * kRounds) << "restores did not come to their end; most files seen: " << most;
    Subprocess program(Command(RestoreArgs(Path("copy"))));
    std::size_t seen = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while ((seen = files()) < at && !fs::exists(Path("copy/STORE"))) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "neither " << at << " files nor a database, but " << seen;
      std::this_thread::yield();
    }
    program.Kill(SIGKILL);
    const bool done = program.Wait().signal != SIGKILL;
    most = std::max(most, seen);
    if (fs::exists(Path("copy/STORE"))) break;
    ASSERT_FALSE(done);
    ++killed;
    EXPECT_EQ(Cli({"query", "--db", Path("copy"), "{}"}).exit_code, kFailure) << "there is no database yet";
  }
  EXPECT_GE(killed, 3U) << most;
  const ProcessResult restored = fs::exists(Path("copy/.restore")) || fs::exists(Path("copy/.restored"))
                                     ? Cli(RestoreArgs(Path("copy")))
                                     : ProcessResult{.exit_code = kOk};
  EXPECT_EQ(restored.exit_code, kOk) << restored.err;
  EXPECT_EQ(Samples(Path("copy")), expected);
  EXPECT_FALSE(fs::exists(Path("copy/.restore")));
  EXPECT_FALSE(fs::exists(Path("copy/.restored")));
}

}  // namespace
}  // namespace chronolith::testing

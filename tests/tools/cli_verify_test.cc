// verify: what a user sees of sound databases, also beside a writer that checkpoints and compacts all the time, and of damaged
// files.
#include <gmock/gmock.h>

#include <csignal>
#include <map>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CliVerify : public CliTest {
 protected:
  void Store(std::uint64_t samples = 50'000) const {
    const ProcessResult written = RunProcess({CHRONOLITH_CHECKPOINTING_WRITER, db_, std::to_string(samples)});
    ASSERT_EQ(written.exit_code, 0) << written.err;
  }
  ProcessResult Verify(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"verify", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // The kinds of what was found; the exit code agrees.
  std::multiset<std::string> Kinds(std::vector<std::string> more = {}) const {
    const ProcessResult result = Verify(std::move(more));
    std::multiset<std::string> kinds;
    const nlohmann::json report = Json(result);
    for (const auto& problem : report["problems"]) {
      kinds.insert(problem["kind"].get<std::string>());
      EXPECT_FALSE(problem["what"].get<std::string>().empty());
      EXPECT_FALSE(problem["do"].get<std::string>().empty());
    }
    EXPECT_EQ(result.exit_code, kinds.empty() ? kOk : kProblems) << result.out << result.err;
    return kinds;
  }
  std::map<std::string, std::pair<std::uint64_t, fs::file_time_type>> Tree() const {
    std::map<std::string, std::pair<std::uint64_t, fs::file_time_type>> files;
    for (const auto& entry : fs::recursive_directory_iterator(db_)) {
      if (entry.is_regular_file()) files[entry.path()] = {entry.file_size(), entry.last_write_time()};
    }
    return files;
  }
};

TEST_F(CliVerify, ASoundDatabaseIsReadWholeAndNotTouched) {
  Store();
  const auto before = Tree();
  const ProcessResult result = Verify();
  EXPECT_EQ(result.exit_code, kOk) << result.out << result.err;
  const nlohmann::json report = Json(result);
  std::uint64_t series = 0, samples = 0, rows = 0;
  for (const auto& shard : report["shards"]) {
    series += shard["series"].get<std::uint64_t>();
    samples += shard["samples"].get<std::uint64_t>();
    rows += shard["rows"].get<std::uint64_t>();
  }
  EXPECT_EQ(series, 100U);
  EXPECT_GT(samples, 40'000U);
  EXPECT_GT(rows, 400U);
  EXPECT_EQ(report["problems_total"], 0);
  EXPECT_TRUE(report["notes"].empty()) << report.dump();
  std::uint64_t tables = 0;
  for (const auto& [path, file] : before) tables += path.ends_with(".sst") ? file.first : 0;
  EXPECT_GE(report["file_bytes"].get<std::uint64_t>(), tables);
  EXPECT_EQ(Tree(), before);
  EXPECT_TRUE(result.err.empty()) << result.err;
  const ProcessResult table = Cli({"verify", "--db", db_, "--fast"});
  EXPECT_EQ(table.exit_code, kOk);
  EXPECT_THAT(table.out, HasSubstr("total"));
  EXPECT_THAT(table.out, HasSubstr("match their checksums.\n"));
  EXPECT_EQ(Cli({"verify", "--db", db_, "--format", "csv"}).out, "kind,shard,where,what,do\n");
  EXPECT_EQ(Verify({"--memory-limit", "1MiB"}).exit_code, kOk);
  EXPECT_EQ(Json(Verify({"--shard", "2"}))["shards"].size(), 1U);
  EXPECT_EQ(Verify({"--shard", "4"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"verify", Path("none")}).exit_code, kFailure);
  EXPECT_EQ(Cli({"verify"}).exit_code, kUsage);
}

TEST_F(CliVerify, BesideAWriterThatCheckpointsAndCompactsNothingIsWrong) {
  Subprocess writer({CHRONOLITH_CHECKPOINTING_WRITER, db_});
  ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 20'000; }))
      << writer.err();
  for (int i = 0; i < 12; ++i) {
    Subprocess verify(Command({"verify", db_, "--format", "json"}));
    const auto at_end = [](const std::string& out, const std::string&) { return out.ends_with("]}\n"); };
    ASSERT_TRUE(verify.WaitUntil(at_end)) << verify.err();
    const ProcessResult done = verify.Wait();
    EXPECT_EQ(done.exit_code, kOk) << done.out << done.err;
    const std::uint64_t from = LastLogged(writer.err());
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) > from + 5'000; }))
        << writer.err();
  }
  EXPECT_EQ(writer.Wait().exit_code, 0);
  EXPECT_EQ(Verify().exit_code, kOk);
}

TEST_F(CliVerify, KilledWritersLeaveNothingWrong) {
  for (std::uint64_t i = 1; i <= 6; ++i) {
    Subprocess writer({CHRONOLITH_CHECKPOINTING_WRITER, db_});
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= i * 7'000; }))
        << writer.err();
    writer.Kill(SIGKILL);
    EXPECT_EQ(writer.Wait().signal, SIGKILL);
    EXPECT_EQ(Kinds(), std::multiset<std::string>());
  }
}

TEST_F(CliVerify, AFlippedByteInATableIsFoundWithFileAndShard) {
  Store();
  const std::string table = TableOf(db_, "chunk.2");
  FlipByte(table, 0.3);
  const ProcessResult result = Verify();
  EXPECT_EQ(result.exit_code, kProblems) << result.out;
  const nlohmann::json report = Json(result);
  bool file = false;
  for (const auto& problem : report["problems"]) {
    EXPECT_EQ(problem["shard"], 2) << problem.dump();
    file = file || (problem["kind"] == "file" && problem["what"].get<std::string>().find(table) != std::string::npos);
  }
  EXPECT_TRUE(file) << report.dump();
  EXPECT_THAT(result.err, HasSubstr("problem"));
  EXPECT_EQ(Kinds({"--shard", "1"}), std::multiset<std::string>());
  const ProcessResult shown = Cli({"verify", db_});
  EXPECT_EQ(shown.exit_code, kProblems);
  EXPECT_THAT(shown.out, HasSubstr("\nfile, shard 2, data/"));
  EXPECT_THAT(shown.out, HasSubstr("  do: "));
}

TEST_F(CliVerify, AMissingTableIsNamed) {
  Store();
  const std::string table = TableOf(db_, "index.1");
  fs::remove(table);
  const nlohmann::json report = Json(Verify());
  ASSERT_GE(report["problems"].size(), 1U) << report.dump();
  EXPECT_EQ(report["problems"][0]["kind"], "file");
  EXPECT_EQ(report["problems"][0]["shard"], 1);
  EXPECT_THAT(report["problems"][0]["what"].get<std::string>(), HasSubstr(fs::path(table).filename().string()));
  EXPECT_GT(report["shards"][0]["samples"], 0) << "the other shards are checked";
}

TEST_F(CliVerify, AnInstanceThatCannotBeOpenedIsNamedAndTheOtherIsChecked) {
  Store();
  std::string manifest;
  for (const auto& entry : fs::directory_iterator(db_ + "/log")) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) manifest = entry.path();
  }
  fs::rename(manifest, Path("aside"));
  nlohmann::json report = Json(Verify());
  ASSERT_EQ(report["problems"].size(), 1U) << report.dump();
  EXPECT_EQ(report["problems"][0]["kind"], "instance");
  EXPECT_EQ(report["problems"][0]["where"], "log");
  EXPECT_EQ(report["notes"].size(), 1U);
  EXPECT_GT(report["shards"][0]["samples"], 0);
  fs::rename(Path("aside"), manifest);
  EXPECT_EQ(Verify().exit_code, kOk);
  fs::remove(db_ + "/data/CURRENT");
  report = Json(Verify());
  EXPECT_EQ(report["problems"][0]["where"], "data") << report.dump();
  FlipByte(db_ + "/STORE", 0.6);
  report = Json(Verify());
  EXPECT_EQ(report["problems"][0]["where"], "STORE") << report.dump();
}

TEST_F(CliVerify, DamageInTheLogIsFoundWhereOthersVouchForIt) {
  std::string log;
  // Again where it was killed just behind a checkpoint: a log of few records is at its end everywhere.
  for (int tries = 0; log.empty() || (fs::file_size(log) < 50'000 && tries < 20); ++tries) {
    Subprocess writer({CHRONOLITH_CHECKPOINTING_WRITER, db_});
    ASSERT_TRUE(writer.WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 30'000; }))
        << writer.err();
    writer.Kill(SIGKILL);
    EXPECT_EQ(writer.Wait().signal, SIGKILL);
    log.clear();
    for (const auto& entry : fs::directory_iterator(db_ + "/log")) {
      const std::string path = entry.path();
      if (path.ends_with(".log") && (log.empty() || entry.file_size() > fs::file_size(log))) log = path;
    }
  }
  FlipByte(log, 0.4);
  const ProcessResult result = Verify();
  EXPECT_EQ(result.exit_code, kProblems) << result.out;
  EXPECT_THAT(result.out, HasSubstr(fs::path(log).filename().string()));
}

TEST_F(CliVerify, CtrlCEndsItAndABoundOnBytesIsKept) {
  Store(200'000);
  Subprocess slow(Command({"verify", db_, "--io-limit", "1KiB"}));
  // At a KiB a second it cannot come to its end. The signal may come before there is a handler for it.
  slow.Kill(SIGINT);
  const ProcessResult ended = slow.Wait();
  EXPECT_TRUE(ended.exit_code == kFailure || ended.signal == SIGINT) << ended.err;
  EXPECT_TRUE(ended.out.empty()) << ended.out;
}

}  // namespace
}  // namespace chronolith::testing

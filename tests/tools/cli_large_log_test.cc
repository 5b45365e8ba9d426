// A log that is too large for --memory-limit: commands read a copy of it in tables, and print what they print without one.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "chronolith/storage.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// As copies that were killed leave them; who makes another removes it.
constexpr char kLeft[] = "chronolith-log-AAAAAA";
constexpr char kLeftRecovered[] = "chronolith-recover-AAAAAA";

class CliLargeLog : public CliTest {
 protected:
  CliLargeLog() { fs::create_directory(Path("tmp")); }

  // Nothing of it is stored, and it takes more than a quarter of a MiB.
  void Fill() {
    std::string text = "# TYPE n gauge\n";
    for (int s = 0; s < 100; ++s) {
      for (int i = 0; i < 1500; ++i) {
        text += "n{s=\"" + std::to_string(s) + "\"} " + std::to_string(0.37 * s * i) + " " +
                std::to_string(1'700'006'400'000 + i * 15'000) + "\n";
      }
    }
    const ProcessResult result = Import(text, {"--shards", "4", "--input-format", "prometheus"});
    ASSERT_EQ(result.exit_code, kOk) << result.err;
    ExpectLarge();
  }
  void ExpectLarge() const {
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(db_ + "/log")) {
      if (entry.path().extension() == ".log") bytes += entry.file_size();
    }
    ASSERT_GT(bytes, 576U << 10);
    ASSERT_LT(bytes, 64U << 20);
  }
  std::vector<std::string> Temporary() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(Path("tmp"))) names.push_back(entry.path().filename());
    return names;
  }
  ProcessResult With(const std::string& limit, std::vector<std::string> args) const {
    args.insert(args.begin(), {"/usr/bin/env", "TMPDIR=" + Path("tmp"), CHRONOLITH_CLI});
    args.insert(args.end(), {"--memory-limit", limit});
    return RunProcess(args);
  }
  ProcessResult AsItIs(const std::vector<std::string>& args) const {
    fs::create_directory(Path("tmp") + "/" + kLeft);
    ProcessResult result = With("256MiB", args);
    EXPECT_THAT(Temporary(), ElementsAre(kLeft)) << "a copy was made";
    return result;
  }
  ProcessResult Copied(const std::vector<std::string>& args, const char* left = kLeft) const {
    fs::create_directory(Path("tmp") + "/" + left);
    ProcessResult result = With("1MiB", args);
    EXPECT_THAT(Temporary(), IsEmpty()) << "no copy was made, or it was left";
    return result;
  }
  std::vector<std::vector<std::string>> Readers(const std::vector<std::string>& flags) const {
    std::vector<std::vector<std::string>> all = {{"labels", "--db", db_},
                                                 {"query", "--db", db_, "{s=~\"7.*\"}", "--format", "csv"}};
    for (std::vector<std::string>& args : all) args.insert(args.end(), flags.begin(), flags.end());
    return all;
  }
  static std::string WithoutNow(const std::string& out) {
    return std::regex_replace(out, std::regex("\"now_ms\":[0-9]+"), "\"now_ms\":0");
  }
  void ExpectTheSame(const std::vector<std::string>& args) const {
    SCOPED_TRACE(args[0]);
    const ProcessResult as_it_is = AsItIs(args);
    const ProcessResult copied = Copied(args);
    EXPECT_EQ(as_it_is.exit_code, kOk) << as_it_is.err;
    EXPECT_EQ(copied.exit_code, kOk) << copied.err;
    EXPECT_EQ(WithoutNow(copied.out), WithoutNow(as_it_is.out));
    EXPECT_THAT(copied.out, Not(HasSubstr("chronolith-log-")));
  }
};

TEST_F(CliLargeLog, CommandsPrintTheSame) {
  Fill();
  ExpectTheSame({"verify", db_});
  ExpectTheSame({"verify", db_, "--format", "json"});
  ExpectTheSame({"dump-wal", db_, "--records", "--format", "json"});
  ExpectTheSame({"cardinality", db_, "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "files", "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "pins", "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "options", "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "keys", "--format", "json"});
}

// What of a log's rows is in no table yet is known but for what the memory adds to it.
TEST_F(CliLargeLog, InspectTellsOfTheFilesOfTheLogItself) {
  Fill();
  const auto families = [](const ProcessResult& result) {
    nlohmann::json json = Json(result);
    for (nlohmann::json& family : json["log"]["families"]) {
      family["unstored"] = family["buffered_bytes"] > 1000;
      family.erase("buffered_bytes");
    }
    json.erase("now_ms");
    return json;
  };
  const std::vector<std::string> inspect = {"inspect", db_, "--what", "families", "--format", "json"};
  const ProcessResult as_it_is = AsItIs(inspect), copied = Copied(inspect);
  EXPECT_EQ(families(copied), families(as_it_is));
  EXPECT_NE(WithoutNow(copied.out), WithoutNow(as_it_is.out)) << "a copy was read: tables take less than memory";
}

TEST_F(CliLargeLog, ReplaySendsTheSame) {
  Fill();
  const auto lines = [this](const std::string& name, bool copied) {
    const std::vector<std::string> args = {"replay", db_, "--target", "jsonl:" + Path(name), "--progress", "none"};
    const ProcessResult result = copied ? Copied(args) : AsItIs(args);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    std::vector<std::string> all = Lines(ReadFile(Path(name)));
    std::sort(all.begin(), all.end());
    return all;
  };
  const std::vector<std::string> expected = lines("as_it_is", false);
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(lines("copied", true), expected);

  const ProcessResult result = Copied({"replay", db_, "--target", "db:" + Path("target")});
  ASSERT_EQ(result.exit_code, kOk) << result.err;
  const auto exported = [](const std::string& db) {
    std::vector<std::string> all = Lines(Cli({"export", "--db", db, "--to", "jsonl"}).out);
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(exported(Path("target")), exported(db_));
}

// This process has it open, has written all of it, and goes on to write and checkpoint when they have been read.
TEST_F(CliLargeLog, BesideAWriterTheSame) {
  Options options;
  options.shards = 4;
  options.checkpoint_interval_ms = 0;
  options.scrub_interval_ms = 0;
  options.background_compaction = false;
  auto writer = Storage::Open(options, db_);
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  for (int s = 0; s < 100; ++s) {
    TimeSeries series;
    series.labels = {{"__name__", "n"}, {"s", std::to_string(s)}};
    for (int i = 0; i < 1500; ++i) series.samples.push_back({1'700'006'400'000 + i * 15'000, 0.37 * s * i});
    ASSERT_TRUE((*writer)->Write(series).ok());
  }
  ExpectLarge();
  ExpectTheSame({"verify", db_});
  ExpectTheSame({"dump-wal", db_, "--records", "--format", "json"});
  ExpectTheSame({"cardinality", db_, "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "files", "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "pins", "--format", "json"});
  ExpectTheSame({"inspect", db_, "--what", "keys", "--format", "json"});
  for (const std::vector<std::string>& args : {std::vector<std::string>{"labels", "--db", db_},
                                               {"query", "--db", db_, "{s=\"7\"}", "--format", "csv"},
                                               {"export", "--db", db_, "--to", "jsonl"}}) {
    SCOPED_TRACE(args[0]);
    const ProcessResult as_it_is = With("4GiB", args);
    const ProcessResult copied = Copied(args, kLeftRecovered);
    EXPECT_EQ(copied.exit_code, kOk) << copied.err;
    EXPECT_EQ(copied.out, as_it_is.out);
    EXPECT_THAT(copied.err, Not(HasSubstr("warning")));
  }
  ASSERT_EQ((*writer)->Checkpoint(), Status::Ok());
  ASSERT_EQ((*writer)->Close(), Status::Ok());
  EXPECT_EQ(Cli({"verify", db_}).exit_code, kOk);
}

// One that checkpoints all the time: files come and go while they are copied, and while the copy is read.
TEST_F(CliLargeLog, VerifyFindsNothingBesideABusyWriter) {
  Subprocess writer({CHRONOLITH_CHECKPOINTING_WRITER, db_});
  for (std::uint64_t round = 1; round <= 10; ++round) {
    ASSERT_TRUE(writer.WaitUntil([&](const std::string&, const std::string& err) { return LastLogged(err) >= round * 10'000; }))
        << writer.err();
    const ProcessResult result = With("1", {"verify", db_});
    EXPECT_EQ(result.exit_code, kOk) << result.out << result.err;
    EXPECT_THAT(Temporary(), IsEmpty());
  }
  EXPECT_EQ(writer.Wait().exit_code, kOk);
  EXPECT_EQ(Cli({"verify", db_}).exit_code, kOk);
}

TEST_F(CliLargeLog, ADamagedLogIsNamedByItsOwnName) {
  Fill();
  FlipByte(LargestLog(db_ + "/log"), 0.5);
  for (const char* const command : {"dump-wal", "replay", "verify", "inspect", "cardinality"}) {
    SCOPED_TRACE(command);
    const ProcessResult as_it_is = With("256MiB", {command, db_});
    const ProcessResult result = With("1MiB", {command, db_});
    EXPECT_NE(result.exit_code, kOk);
    EXPECT_EQ(result.exit_code, as_it_is.exit_code);
    EXPECT_EQ(result.out, as_it_is.out);
    EXPECT_THAT(result.out + result.err, HasSubstr(LargestLog(db_ + "/log")));
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("chronolith-log-")));
    EXPECT_THAT(Temporary(), IsEmpty());
  }
  // The database itself says no more than the copy that could not be recovered.
  for (const std::vector<std::string>& args : Readers({})) {
    SCOPED_TRACE(args[0]);
    const ProcessResult as_it_is = With("4GiB", args);
    const ProcessResult copied = Copied(args, kLeftRecovered);
    EXPECT_EQ(as_it_is.exit_code, kFailure);
    EXPECT_EQ(copied.exit_code, kFailure);
    EXPECT_EQ(copied.out, as_it_is.out);
    EXPECT_THAT(copied.err, HasSubstr(LargestLog(db_ + "/log")));
    EXPECT_THAT(copied.err, Not(HasSubstr("chronolith-recover-")));
    EXPECT_THAT(copied.err, Not(HasSubstr("--memory-limit")));
  }
}

TEST_F(CliLargeLog, BesideAShardInQuarantineTheOthersAreReadFromACopyToo) {
  std::string text = "# TYPE n gauge\n";
  for (int s = 0; s < 100; ++s) text += "n{s=\"" + std::to_string(s) + "\"} 1 1700006000000\n";
  ASSERT_EQ(Import(text, {"--shards", "4", "--input-format", "prometheus"}).exit_code, kOk);
  ASSERT_EQ(Cli({"recover", db_, "--yes"}).exit_code, kOk);
  Fill();
  std::string table;
  for (const auto& entry : fs::directory_iterator(db_ + "/data")) {
    const std::string path = entry.path();
    if (path.ends_with(".sst") && (table.empty() || entry.file_size() > fs::file_size(table))) table = path;
  }
  ASSERT_FALSE(table.empty());
  FlipByte(table, 1.0 - 1.0 / static_cast<double>(fs::file_size(table)));  // of its footer
  const auto compare = [&](const std::vector<std::string>& args, int exit_code) {
    SCOPED_TRACE(args[0]);
    const ProcessResult as_it_is = With("4GiB", args);
    const ProcessResult copied = Copied(args, kLeftRecovered);
    EXPECT_EQ(as_it_is.exit_code, exit_code) << as_it_is.err;
    EXPECT_EQ(copied.exit_code, exit_code) << copied.err;
    EXPECT_EQ(copied.out, as_it_is.out);
    EXPECT_THAT(copied.err, HasSubstr(table));
    EXPECT_THAT(copied.out + copied.err, Not(HasSubstr("chronolith-recover-")));
    EXPECT_THAT(copied.err, Not(HasSubstr("--memory-limit")));
  };
  for (const std::vector<std::string>& args : Readers({"--skip-damaged"})) compare(args, kProblems);
  for (const std::vector<std::string>& args : Readers({})) compare(args, kFailure);
  const std::vector<std::string> stat = {"stat", "--db", db_, "--format", "json"};
  const auto told = [](const ProcessResult& result) {
    std::vector<std::string> quarantined;
    for (const nlohmann::json& shard : Json(result)["shards"]) quarantined.push_back(shard["quarantine"]);
    return quarantined;
  };
  EXPECT_EQ(told(Copied(stat, kLeftRecovered)), told(With("4GiB", stat)));
  const ProcessResult compact = Copied({"compact", "--db", db_, "--dry-run", "--format", "json"}, kLeftRecovered);
  for (const ProcessResult& result : {Copied(stat, kLeftRecovered), compact}) {
    EXPECT_EQ(result.exit_code, kProblems);
    EXPECT_THAT(result.out, HasSubstr(table));
    EXPECT_EQ(result.err.find("is quarantined, "), result.err.rfind("is quarantined, ")) << "told twice: " << result.err;
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("chronolith-recover-")));
  }
}

// In the middle of a log, where nothing shows that it was longer but what the next one says.
TEST_F(CliLargeLog, WhatOnlyAWriterRefusesIsReadAsItIsWithAWarning) {
  Fill();
  const std::string older = LargestLog(db_ + "/log");
  ASSERT_EQ(Import("n{s=\"7\"} 1 1800000000000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  fs::resize_file(older, fs::file_size(older) - 5);
  const std::vector<std::string> query = {"query", "--db", db_, "{}", "--skip-damaged", "--format", "csv"};
  const ProcessResult as_it_is = With("4GiB", query);
  const ProcessResult copied = Copied(query, kLeftRecovered);
  EXPECT_EQ(as_it_is.exit_code, kProblems) << as_it_is.err;
  EXPECT_EQ(copied.exit_code, kProblems) << copied.err;
  EXPECT_EQ(copied.out, as_it_is.out);
  EXPECT_THAT(copied.err, HasSubstr("--memory-limit may be passed"));
}

}  // namespace
}  // namespace chronolith::testing

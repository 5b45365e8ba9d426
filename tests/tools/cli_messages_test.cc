// What goes wrong is said once, with who and what to do.
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <string>

#include "chronolith/engine_registry.h"
#include "storage/store_directory.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class CliMessages : public CliTest {
 protected:
  void Fill() const {
    std::string text;
    for (int i = 0; i < 2000; ++i) {
      text += "n{i=\"" + std::to_string(i % 100) + "\"} " + std::to_string(i) + " " +
              std::to_string(1'700'000'000'000 + i / 100 * 60'000) + "\n";
    }
    const ProcessResult stored = Import(text, {"--shards", "4", "--input-format", "prometheus"});
    ASSERT_EQ(stored.exit_code, kOk) << stored.err;
    ASSERT_EQ(Cli({"recover", db_}).exit_code, kOk);
  }
  static std::size_t Count(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
  std::vector<std::string> Writing() const {
    return Command({"import", "--db", db_, "--progress", "plain", "--input-format", "prometheus", "--batch", "1", "-"});
  }
  // Has written something, and goes on until its stdin ends.
  static void Begin(Subprocess* writer) {
    std::string text = "n 1 1700000000000\nn 2 1700000001000\n";
    for (int i = 0; i < 200'000; ++i) text += "# nothing\n";
    ASSERT_TRUE(writer->Write(text));
    ASSERT_TRUE(writer->WaitUntil([](const std::string&, const std::string& err) { return LastLogged(err) >= 1; }))
        << writer->err();
  }
};

TEST_F(CliMessages, AQuarantineIsSaidOnce) {
  Fill();
  for (const std::string& table : TablesOf(db_, "chunk.1")) fs::resize_file(table, 1000);
  const std::vector<std::vector<std::string>> kCommands = {
      {"stat", db_},
      {"query", "--db", db_, "n"},
      {"query", "--db", db_, "n", "--skip-damaged"},
      {"series", "--db", db_},
      {"export", "--db", db_, "--to", "csv"},
      {"reshard", db_, Path("other"), "--shards", "2"},
      {"compact", db_, "--dry-run"},
      {"inspect", db_},
      {"cardinality", db_},
      {"delete", db_, "--match", "n", "--yes"},
      {"compact", db_},
      {"recover", db_},
  };
  for (const auto& command : kCommands) {
    const ProcessResult result = Cli(command);
    EXPECT_THAT(result.exit_code, ::testing::AnyOf(kFailure, kProblems)) << command[0];
    EXPECT_EQ(Count(result.err, "shard 1 is quarantined"), 1U) << command[0] << "\n" << result.err;
    EXPECT_EQ(Count(result.err, "rocksdb:"), 0U) << command[0] << "\n" << result.err;
  }
  const ProcessResult reshard = Cli({"reshard", db_, Path("other"), "--shards", "2"});
  EXPECT_THAT(reshard.err, HasSubstr("\nchronolith: error: A reshard takes a whole database: "));
}

// Who it is the kernel does not tell everywhere.
TEST_F(CliMessages, ASecondWriterIsToldInOneLineWhoWritesAndWhatToDo) {
  Fill();
  Subprocess writer(Writing());
  Begin(&writer);
  const std::string input = WriteFile("in.om", "n 1 1\n# EOF\n");
  const std::vector<std::vector<std::string>> kCommands = {
      Command({"import", "--db", db_, input}),
      Command({"compact", db_}),
      Command({"recover", db_}),
      Command({"recover", db_, "--dry-run"}),
      Command({"delete", db_, "--match", "n", "--yes"}),
      Command({"salvage", db_, Path("sound")}),
      Command({"reshard", db_, Path("other"), "--shards", "2"}),
      {CHRONOLITHD, "--db", db_, "--listen", "127.0.0.1:0"},
  };
  const std::string who = "(process " + std::to_string(writer.pid()) + " \\(chronolith\\)|another process) writes to ";
  for (const auto& command : kCommands) {
    const ProcessResult result = RunProcess(command);
    EXPECT_EQ(result.exit_code, kFailure) << command[1];
    EXPECT_EQ(result.out, "") << command[1];
    EXPECT_EQ(Count(result.err, "\n"), 1U) << result.err;
    EXPECT_THAT(result.err, MatchesRegex("chronolithd?: error: .*" + who + "'?" + db_ + ".*LOCK\\): stop it first\n"))
        << command[1];
  }
  EXPECT_GE(Query("n").size(), 2001U) << "readers go on";
  writer.CloseInput();
  EXPECT_EQ(writer.Wait().exit_code, kOk);
}

TEST_F(CliMessages, ALockThatCannotBeOpenedIsNoWriter) {
  Fill();
  fs::remove(db_ + "/data/LOCK");
  fs::create_directory(db_ + "/data/LOCK");
  const ProcessResult result = Cli({"recover", db_});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr("LOCK: Is a directory"));
  EXPECT_THAT(result.err, Not(HasSubstr("stop it first")));
}

// What kill -9 leaves while a database is made: the families of an instance are made one after the other, the data's first.
TEST_F(CliMessages, OfADatabaseThatIsHalfMadeItIsSaidWhatToDoAndTheNextWriterMakesTheRest) {
  for (const bool with_log : {false, true}) {
    fs::remove_all(db_);
    ASSERT_EQ(Import("", {"--shards", "4"}).exit_code, kOk);
    StoreManifest manifest = ReadStoreManifest(db_).value();
    manifest.complete = false;
    fs::remove_all(db_ + "/data");
    fs::remove_all(db_ + "/log");
    ASSERT_EQ(WriteStoreManifest(db_, manifest), Status::Ok());
    const auto make = [&](const std::string& path, EngineOptions options, std::size_t families) {
      options.families.resize(families);
      ASSERT_EQ(EngineRegistry::Default()->Find(manifest.engine).value()->Open(path, options).value()->Close(), Status::Ok());
    };
    make(db_ + "/data", DataInstanceOptions(manifest), with_log ? 9 : 4);
    if (with_log) make(db_ + "/log", LogInstanceOptions(manifest), 3);
    for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{{"query", "--db", db_, "n"},
                                                                                         {"stat", db_},
                                                                                         {"inspect", db_},
                                                                                         {"verify", db_},
                                                                                         {"dump-wal", db_},
                                                                                         {"export", "--db", db_, "--to", "csv"},
                                                                                         {"compact", db_, "--dry-run"}}) {
      const ProcessResult result = Cli(command);
      EXPECT_EQ(result.exit_code, kFailure) << command[0];
      EXPECT_EQ(Count(result.err, "is not made to its end"), 1U) << command[0] << "\n" << result.err;
      EXPECT_THAT(result.err, HasSubstr("`chronolith recover`")) << command[0];
      EXPECT_THAT(result.err, Not(HasSubstr("has no family"))) << command[0];
    }
    EXPECT_EQ(Cli({"recover", db_}).exit_code, kOk);
    EXPECT_EQ(Import("n 1 1700000000000\n", {"--input-format", "prometheus"}).exit_code, kOk);
    EXPECT_EQ(Query("n").size(), 1U);
  }
}

TEST_F(CliMessages, ADatabaseThatABenchWouldMakeIsThere) {
  Fill();
  const ProcessResult result = Cli({"bench", "write", "--db", db_, "--series", "10"});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, HasSubstr("a database is there already; give a directory that is not there yet"));
  EXPECT_THAT(result.err, Not(HasSubstr("Options::")));
}

TEST_F(CliMessages, OfALogThatWasTrimmedItIsSaidWhyNothingIsShown) {
  Fill();  // and stores it
  const std::vector<std::vector<std::string>> kCommands = {
      {"dump-wal", db_}, {"dump-wal", db_, "--shard", "2", "--format", "json"}, {"replay", db_}, {"replay", db_, "--dry-run"}};
  for (const auto& command : kCommands) {
    const ProcessResult result = Cli(command);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    EXPECT_THAT(result.err, HasSubstr("the log holds no records: it is trimmed of what is stored")) << command[0];
  }
  ASSERT_EQ(Import("n 1 1800000000000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  for (const auto& command : kCommands) EXPECT_THAT(Cli(command).err, Not(HasSubstr("holds no records"))) << command[0];
}

TEST_F(CliMessages, WhatTheStoreRefusesIsSaidInTermsOfFlags) {
  Fill();
  const std::pair<std::vector<std::string>, const char*> kRefused[] = {
      {{"stat", db_, "--engine", "memory"}, "was created with storage engine 'rocksdb', and is to be opened with 'memory'"},
      {{"stat", db_, "--engine", ""}, "--engine must not be empty"},
  };
  for (const auto& [command, why] : kRefused) {
    const ProcessResult result = Cli(command);
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_THAT(result.err, HasSubstr(why));
    EXPECT_THAT(result.err, Not(HasSubstr("Options::")));
  }
}

TEST_F(CliMessages, ABackupOfADamagedLogNamesTheDatabaseAndSaysItOnce) {
  Fill();
  ASSERT_EQ(Import("n 1 1800000000000\nn 2 1800000001000\nn 3 1800000002000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  FlipByte(LargestLog(db_ + "/log"), 0.4);
  const ProcessResult result = Cli({"backup", "--db", db_, "--to", Path("backups")});
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_EQ(Count(result.err, "damaged in "), 1U) << result.err;
  EXPECT_THAT(result.err, HasSubstr("its log is damaged in " + db_ + "/log/"));
}

TEST_F(CliMessages, NothingIsRefusedByATargetThatIsNowhere) {
  Fill();
  ASSERT_EQ(Import("n{i=\"1\"} 1 1800000000000\n", {"--input-format", "prometheus"}).exit_code, kOk);
  for (const bool data : {true, false}) {
    if (!data) fs::remove_all(db_ + "/data");
    const ProcessResult checked = Cli({"replay", db_});
    EXPECT_EQ(checked.exit_code, data ? kOk : kProblems) << checked.err;
    EXPECT_THAT(checked.out, HasSubstr("\n1 samples, 0 other items in "));
    EXPECT_THAT(checked.out, HasSubstr("\nNothing was sent"));
    EXPECT_THAT(checked.out + checked.err, Not(HasSubstr("refused")));
    const ProcessResult planned = Cli({"replay", db_, "--dry-run"});
    EXPECT_EQ(planned.exit_code, data ? kOk : kProblems) << planned.err;
    EXPECT_THAT(planned.out, HasSubstr("\nwould read: 1 samples"));
    EXPECT_THAT(planned.out, Not(HasSubstr("refuse")));
  }
}

// Whatever a command writes, it is no part of a database, and no file that nobody said may go.
TEST_F(CliMessages, NothingIsWrittenIntoADatabase) {
  Fill();
  const auto tree = [this] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(db_)) {
      if (entry.path().filename() != "LOCK") files[entry.path()] = entry.is_regular_file() ? ReadFile(entry.path()) : "";
    }
    return files;
  };
  fs::create_directory_symlink(db_, Path("link"));
  const std::string stored = db_ + "/STORE";
  ASSERT_EQ(Cli({"backup", "--db", db_, "--to", Path("backups")}).exit_code, kOk);
  const auto before = tree();
  for (const std::string& in : {db_, db_ + "/data", db_ + "/log/deeper", Path("link")}) {
    const std::vector<std::vector<std::string>> kCommands = {
        {"inspect", db_, "--html", in + "/STORE", "--overwrite"},
        {"export", "--db", db_, "--overwrite", in + "/STORE"},
        {"export", "--db", db_, in + "/new"},
        {"export", "prometheus-block", "--db", db_, in + "/blocks"},
        {"replay", db_, "--target", "jsonl:" + in + "/STORE", "--overwrite"},
        {"replay", db_, "--target", "openmetrics:" + in + "/new"},
        {"replay", db_, "--target", "db:" + in + "/new"},
        {"replay", db_, "--target", "jsonl:" + Path("out"), "--cursor", in + "/new"},
        {"reshard", db_, in + "/new", "--shards", "3"},
        {"salvage", db_, in + "/new"},
        {"backup", "--db", db_, "--to", in + "/new"},
        {"restore", "--from", Path("backups"), "--to", in + "/new"},
        {"completion", "bash", "--output", in + "/new"},
        {"man", "--output", in + "/new"},
    };
    for (const auto& args : kCommands) {
      const ProcessResult refused = Cli(args);
      EXPECT_EQ(refused.exit_code, kUsage) << args[0] << " " << in << refused.out;
      EXPECT_THAT(refused.err, HasSubstr(" lies in the ")) << args[0] << " " << in;
    }
  }
  EXPECT_EQ(tree(), before);
  // A file of somebody else's goes where that was said, and only a file.
  for (const auto& args : std::vector<std::vector<std::string>>{{"inspect", db_, "--html"}, {"export", "--db", db_}}) {
    auto into = [&](const std::string& file, bool overwrite) {
      std::vector<std::string> all = args;
      all.push_back(file);
      if (overwrite) all.emplace_back("--overwrite");
      return Cli(all);
    };
    const std::string file = WriteFile("precious", "mine");
    const ProcessResult kept = into(file, false);
    EXPECT_EQ(kept.exit_code, kFailure);
    EXPECT_THAT(kept.err, HasSubstr("--overwrite"));
    EXPECT_EQ(ReadFile(file), "mine");
    EXPECT_EQ(into(file, true).exit_code, kOk);
    EXPECT_NE(ReadFile(file), "mine");
    EXPECT_THAT(into(Path("link"), true).err, HasSubstr("is not a file"));
  }
}

TEST_F(CliMessages, WhatAFormatCannotHoldIsRefused) {
  Fill();
  const ProcessResult dump = Cli({"dump-wal", db_, "--format", "csv"});
  EXPECT_EQ(dump.exit_code, kUsage);
  EXPECT_THAT(dump.err, HasSubstr("--format"));
  EXPECT_THAT(Cli({"dump-wal", "--help"}).out, Not(HasSubstr("csv")));
  const ProcessResult all = Cli({"inspect", db_, "--what", "all", "--format", "csv"});
  EXPECT_EQ(all.exit_code, kUsage);
  EXPECT_THAT(all.err, HasSubstr("--what all"));
  EXPECT_EQ(Cli({"inspect", db_, "--what", "pins", "--format", "csv"}).exit_code, kOk);
}

TEST_F(CliMessages, ACursorIsOfOneFileWhereverItIsRead) {
  Fill();
  fs::create_directory(Path("a"));
  const auto in = [&](const std::string& directory, const std::string& cursor) {
    return RunProcess(
        {"/bin/sh", "-c",
         "cd '" + directory + "' && exec '" + CHRONOLITH_CLI + "' replay '" + db_ + "' --target jsonl:out --cursor " + cursor});
  };
  ASSERT_EQ(in(Path("a"), "../cursor").exit_code, kOk);
  const ProcessResult elsewhere = in(Path("."), "cursor");
  EXPECT_EQ(elsewhere.exit_code, kFailure);
  EXPECT_THAT(elsewhere.err, HasSubstr("the cursor belongs to the target jsonl:" + fs::canonical(Path("a")).string() + "/out"));
  const ProcessResult narrower =
      Cli({"replay", db_, "--target", "jsonl:" + Path("a") + "/out", "--cursor", Path("cursor"), "--match", "n"});
  EXPECT_THAT(narrower.err, HasSubstr("a replay of everything, not of '"));
  const ProcessResult backwards = Cli({"replay", db_, "--from", "3:30", "--to", "3:20"});
  EXPECT_EQ(backwards.exit_code, kUsage);
  EXPECT_THAT(backwards.err, HasSubstr("--from 3:30 lies behind --to 3:20"));
}

}  // namespace
}  // namespace chronolith::testing

// Where stdout takes no more the program says why, and fails.
#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class CliStdout : public CliTest {
 protected:
  void Fill(int series, int samples) const {
    std::string text;
    for (int i = 0; i < series * samples; ++i) {
      text += "n{s=\"" + std::to_string(i % series) + "\"} " + std::to_string((i * 7919LL) % 104729) + " " +
              std::to_string(1'700'000'000'000 + i / series * 1000) + "\n";
    }
    ASSERT_EQ(Import(text, {"--input-format", "prometheus"}).exit_code, kOk);
  }
  static std::string Joined(const std::vector<std::string>& args) {
    std::string command;
    for (const std::string& arg : args) command += (command.empty() ? "'" : " '") + arg + "'";
    return command;
  }
  static ProcessResult Shell(const std::string& command) { return RunProcess({"/bin/bash", "-c", command}); }

  // All that read and print, and leave the database as it was.
  std::vector<std::vector<std::string>> Printing() const {
    std::vector<std::vector<std::string>> commands = {
        {"query", "--db", db_, "{}"},
        {"query", "--db", db_, "{}", "--format", "json"},
        {"series", "--db", db_},
        {"labels", "--db", db_},
        {"values", "--db", db_, "s"},
        {"stat", db_},
        {"inspect", db_},
        {"inspect", db_, "--what", "all", "--format", "json"},
        {"inspect", db_, "--what", "keys", "--limit", "0"},
        {"cardinality", db_},
        {"verify", db_},
        {"export", "--db", db_, "--to", "jsonl"},
        {"export", "--db", db_, "--to", "csv"},
        {"dump-wal", db_, "--records"},
        {"replay", db_},
        {"replay", db_, "--dry-run"},
        {"replay", db_, "--target", "jsonl:-"},
        {"delete", db_, "--match", "n", "--dry-run"},
        {"compact", db_, "--dry-run"},
        {"recover", db_, "--dry-run"},
        {"salvage", db_, "--dry-run"},
        {"reshard", db_, Path("none"), "--shards", "3", "--dry-run"},
        {"backup", "--db", db_, "--to", Path("none"), "--dry-run"},
        {"backup", "list", Path("backups")},
        {"backup", "verify", Path("backups")},
        {"import", "--db", Path("none"), "--dry-run", "--format", "json", "/dev/null"},
        {"bench", "read", "--db", db_},
        {"man", "replay"},
        {"completion", "bash"},
        {"replay", "--help"},
        {"--version"}};
    for (auto& command : commands) command = Command(command);
    for (const std::vector<std::string>& args :
         std::vector<std::vector<std::string>>{{"--help"}, {"--version"}, {"--man"}, {"--completion", "fish"}}) {
      commands.push_back({CHRONOLITHD});
      commands.back().insert(commands.back().end(), args.begin(), args.end());
    }
    return commands;
  }
};

TEST_F(CliStdout, ColoursAreForTerminalsWithoutNoColor) {
  Fill(3, 3);
  const struct {
    const char* environment;
    const char* format;
    bool colored;
  } kRows[] = {
      {"-u NO_COLOR", "table", true}, {"NO_COLOR=", "table", true},  {"NO_COLOR=1", "table", false},
      {"-u NO_COLOR", "json", false}, {"-u NO_COLOR", "csv", false},
  };
  for (const std::vector<std::string>& args : {std::vector<std::string>{"inspect", db_, "--what", "families"}, {"verify", db_}}) {
    for (const auto& row : kRows) {
      const std::string command = std::string("env ") + row.environment + " " + Joined(Command(args)) + " --format " + row.format;
      const ProcessResult shown = RunProcess({"/usr/bin/script", "-qec", command + " 2>/dev/null", "/dev/null"});
      EXPECT_EQ(shown.exit_code, kOk) << shown.out;
      EXPECT_NE(shown.out, "") << command;
      EXPECT_EQ(shown.out.find('\033') != std::string::npos, row.colored) << command << "\n" << shown.out;
      const ProcessResult piped = Shell(command);
      EXPECT_EQ(piped.exit_code, kOk) << piped.err;
      EXPECT_THAT(piped.out, Not(HasSubstr("\033"))) << command;
    }
  }
}

TEST_F(CliStdout, AFullDiskIsAFailureThatSaysSo) {
  Fill(20, 20);
  ASSERT_EQ(Cli({"backup", "--db", db_, "--to", Path("backups")}).exit_code, kOk);
  for (const auto& args : Printing()) {
    const ProcessResult result = Shell(Joined(args) + " > /dev/full");
    EXPECT_EQ(result.exit_code, kFailure) << Joined(args);
    EXPECT_THAT(result.err, HasSubstr("stdout: No space left on device")) << Joined(args);
  }
}

// Which a program meets that was started by one that ignores SIGPIPE, as servers do.
TEST_F(CliStdout, AReaderThatLeftIsAFailureWhereItEndsNobody) {
  Fill(20, 20);
  ASSERT_EQ(Cli({"backup", "--db", db_, "--to", Path("backups")}).exit_code, kOk);
  for (const auto& args : Printing()) {
    // The reader has ended before the program starts.
    const ProcessResult result = Shell("trap '' PIPE; exec 3> >(exec true); wait $!; " + Joined(args) + " >&3");
    EXPECT_EQ(result.exit_code, kFailure) << Joined(args);
    EXPECT_THAT(result.err, HasSubstr("stdout: Broken pipe")) << Joined(args);
  }
}

TEST_F(CliStdout, AReaderThatLeavesEndsItWithoutAnError) {
  Fill(2'000, 20);
  ASSERT_EQ(Cli({"backup", "--db", db_, "--to", Path("backups")}).exit_code, kOk);
  for (const auto& args : Printing()) {
    const ProcessResult result = Shell(Joined(args) + " | head -c 1; code=${PIPESTATUS[0]}; test $code = 141 || test $code = 0");
    // 141: ended by SIGPIPE, as any other program; 0: all of it fits the pipe.
    EXPECT_EQ(result.exit_code, 0) << Joined(args);
    EXPECT_THAT(result.err, Not(HasSubstr("error"))) << Joined(args);
  }
}

// Else the first file of the database would be what stdout or stderr is, and get what is printed.
TEST_F(CliStdout, ClosedStreamsAreNoFilesOfTheDatabase) {
  const std::string input = WriteFile("in.om", "n 1 1\n# EOF\n");
  const ProcessResult silent = Shell(Joined(Command({"import", "--db", db_, "--format", "json", input})) + " >&-");
  EXPECT_EQ(silent.exit_code, kFailure);
  EXPECT_THAT(silent.err, HasSubstr("stdout: Bad file descriptor"));
  EXPECT_EQ(Shell(Joined(Command({"import", "--db", db_, "-v", input})) + " <&- >&- 2>&-").exit_code, kOk);
  EXPECT_EQ(Query("n"), std::vector<std::string>{"n,1000,1"});
  EXPECT_EQ(Cli({"verify", db_}).exit_code, kOk);
  for (const auto& entry : fs::recursive_directory_iterator(db_)) {
    const std::string bytes = entry.is_regular_file() ? ReadFile(entry.path()) : "";
    EXPECT_EQ(bytes.find("new_series"), std::string::npos) << entry.path();
    EXPECT_EQ(bytes.find("imported 1 samples"), std::string::npos) << entry.path();
  }
}

}  // namespace
}  // namespace chronolith::testing

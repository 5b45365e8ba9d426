#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CliUsage : public CliTest {};

TEST_F(CliUsage, WrongArgumentsExitWithTwoAndSayWhy) {
  struct Row {
    std::vector<std::string> args;
    const char* culprit;
  };
  const Row kRows[] = {
      {{}, "subcommand is required"},
      {{"fly"}, "fly"},
      {{"import"}, "--db"},
      {{"import", "--db"}, "--db"},
      {{"import", "--db", db_, "--level", "fast"}, "fast"},
      {{"import", "--db", db_, "--timestamp", "yesterday"}, "yesterday"},
      {{"import", "--db", db_, "--batch", "0"}, "--batch"},
      {{"import", "--db", db_, "--shards", "32"}, "--shards"},
      {{"import", "--db", db_, "--shards", "0"}, "--shards"},
      {{"import", "--db", db_, "--memory-limit", "lots"}, "--memory-limit"},
      {{"import", "--db", db_, "--metrics-port", "70000"}, "--metrics-port"},
      {{"import", "--db", db_, "--input-format", "xml"}, "xml"},
      {{"import", "--db", db_, "--frobnicate"}, "--frobnicate"},
      {{"query", "--db", db_}, "SELECTOR"},
      {{"query", "--db", db_, "up", "down"}, "down"},
      {{"query", "--db", db_, "up{"}, "position 4"},
      {{"query", "--db", db_, "rate(up[5m])"}, "position 5"},
      {{"query", "--db", db_, "up", "--start", "later"}, "later"},
      {{"query", "--db", db_, "up", "--start", "now", "--end", "-1h"}, "--start"},
      {{"query", "--db", db_, "up", "--format", "xml"}, "xml"},
      {{"query", "--db", db_, "up", "--limit", "-1"}, "--limit"},
      {{"series", "--db", db_, "{a=b}"}, "position 4"},
      {{"values", "--db", db_}, "NAME"},
      {{"stat"}, "--db"},
      {{"recover"}, "--db"},
      {{"recover", db_, "--format", "xml"}, "xml"},
      {{"compact"}, "--db"},
      {{"compact", db_, "--priority", "high"}, "high"},
      {{"compact", db_, "--io-limit", "lots"}, "--io-limit"},
      {{"compact", db_, "--shard", "first"}, "--shard"},
      {{"inspect"}, "--db"},
      {{"inspect", db_, "--what", "everything"}, "everything"},
      {{"cardinality", db_, "--top", "-1"}, "--top"},
      {{"reshard", db_, db_ + "2"}, "--shards"},
      {{"reshard", db_, db_ + "2", "--shards", "32"}, "--shards"},
      {{"reshard", db_, db_ + "2", "--shards", "3", "--io-limit", "lots"}, "--io-limit"},
      {{"bench", "fly"}, "fly"},
      {{"bench", "write", "--db", db_, "--series", "-5"}, "--series"},
      {{"bench"}, "subcommand is required"},
      {{"bench", "write", "--db", db_}, "--series"},
      {{"bench", "write", "--db", db_, "--series", "1", "--threads", "0"}, "--threads"},
      {{"bench", "write", "--db", db_, "--series", "1", "--values", "odd"}, "odd"},
      {{"bench", "wal", "--db", db_, "--outstanding", "0"}, "--outstanding"},
      {{"bench", "read", "--db", db_, "--selector", "{"}, "position"},
  };
  for (const Row& row : kRows) {
    const ProcessResult result = Cli(row.args);
    std::string args;
    for (const std::string& arg : row.args) args += arg + " ";
    EXPECT_EQ(result.exit_code, kUsage) << args << result.err;
    EXPECT_THAT(result.err, HasSubstr(row.culprit)) << args;
    EXPECT_THAT(result.out, IsEmpty()) << args;
  }
  EXPECT_FALSE(std::filesystem::exists(db_));
}

TEST_F(CliUsage, AWrongArgumentIsSaidInTermsOfWhatToGive) {
  const std::pair<std::vector<std::string>, const char*> kRows[] = {
      {{"stat"}, "DIR (or --db DIR) is required: directory of the database\nSee `chronolith stat --help`."},
      {{"import"}, "--db DIR is required: directory"},
      {{"restore", "--to", "b"}, "--from BACKUP is required: a backup"},
      {{"restore", "--from", "a", "--to", "b", "--allow-earlier"}, "--allow-earlier requires --archive"},
      {{"salvage", "a", "b", "--dry-run"}, "TARGET and --dry-run exclude each other"},
      {{"bench"}, "a subcommand is required: write, read, index, wal"},
      {{"backup", "--db"}, "--db needs a value: DIR, directory of the database"},
      {{"query", "--db", db_, "up", "--format", "xml"}, "--format: 'xml' is none of csv, json, table\n"},
      {{"query", "--db", db_, "up", "--limit", "-1"}, "--limit: -1 is less than 0\n"},
      {{"query", "--db", db_, "--db", db_, "up"}, "--db is given more than once\n"},
      {{"completion", "tcsh"}, "SHELL: 'tcsh' is none of bash, fish, zsh\n"},
      {{"compact", db_, "--io-limit", "lots"}, "--io-limit: 'lots' is no BYTES: read and write at most"},
      {{"compact", db_, "--shard", "first"}, "--shard: 'first' is no N: only this shard"},
      {{"recover", db_, "--dry-run=maybe"}, "--dry-run takes no value, and 'maybe' was given"},
  };
  for (const auto& [args, said] : kRows) {
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kUsage) << said;
    EXPECT_THAT(result.err, ::testing::StartsWith("chronolith: error: " + std::string(said).substr(0, 2)));
    EXPECT_THAT(result.err, HasSubstr(said));
    for (const char c : result.err) EXPECT_FALSE(c < ' ' && c != '\n') << said;
  }
}

TEST_F(CliUsage, HelpIsProseThatFitsATerminal) {
  std::vector<std::vector<std::string>> commands = {{}};
  for (std::size_t i = 0; i < commands.size(); ++i) {
    std::vector<std::string> args = commands[i];
    args.emplace_back("--help");
    const std::string help = Cli(args).out;
    EXPECT_THAT(help, HasSubstr("Usage: chronolith"));
    for (const char* word : {"(0x)", "Needs:", "Excludes:", "REQUIRED", " TEXT", "[Option Group", "DIR DIR"}) {
      EXPECT_THAT(help, Not(HasSubstr(word))) << help;
    }
    bool listed = false;
    for (const std::string& line : Lines(help)) {
      const bool example = line.starts_with("  ") && line.find_first_not_of(' ') == 2 && line[2] != '-';
      EXPECT_TRUE(example || line.size() <= 100) << line;
      if (listed && line.empty()) listed = false;
      if (listed && line[2] != ' ') {
        commands.push_back(commands[i]);
        commands.back().push_back(line.substr(2, line.find(' ', 2) - 2));
      }
      listed = listed || line == "Subcommands:";
    }
  }
  EXPECT_GT(commands.size(), 30U);
  const std::string restore = Cli({"restore", "--help"}).out;
  EXPECT_THAT(restore, HasSubstr("Usage: chronolith restore [OPTIONS] --from BACKUP --to DIR\n"));
  EXPECT_THAT(restore, HasSubstr("(needs --archive)"));
  EXPECT_THAT(Cli({"man", "--help"}).out, HasSubstr("[COMMAND...]\n"));
  EXPECT_THAT(Cli({"man", "restore"}).out, HasSubstr("Needs \\-\\-archive."));
}

TEST_F(CliUsage, HelpAndVersionAreData) {
  const ProcessResult version = Cli({"--version"});
  EXPECT_EQ(version.exit_code, kOk);
  EXPECT_THAT(version.out, ::testing::StartsWith("chronolith "));
  const ProcessResult help = Cli({"--help"});
  EXPECT_EQ(help.exit_code, kOk);
  EXPECT_THAT(help.out, HasSubstr("Exit codes"));
  for (const char* command : {"import", "query", "series", "labels", "values", "stat", "recover", "inspect", "cardinality"}) {
    EXPECT_THAT(help.out, HasSubstr(command));
    const ProcessResult one = Cli({command, "--help"});
    EXPECT_EQ(one.exit_code, kOk);
    EXPECT_THAT(one.out, HasSubstr("Example")) << command;
  }
  for (const char* command : {"write", "read", "index", "wal"}) {
    EXPECT_THAT(Cli({"bench", command, "--help"}).out, HasSubstr("Example")) << command;
  }
}

TEST_F(CliUsage, ReadingNeitherFindsNorCreatesAMissingDatabase) {
  const std::vector<std::vector<std::string>> kReads = {{"query", "--db", db_, "{}"},   {"series", "--db", db_},
                                                        {"labels", "--db", db_},        {"values", "--db", db_, "job"},
                                                        {"stat", "--db", db_},          {"inspect", db_},
                                                        {"cardinality", "--db", db_},   {"recover", db_},
                                                        {"bench", "read", "--db", db_}, {"bench", "index", "--db", db_}};
  for (const auto& args : kReads) {
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kFailure) << args[0] << result.err;
    EXPECT_THAT(result.err, HasSubstr(db_));
    EXPECT_THAT(result.out, IsEmpty());
  }
  EXPECT_FALSE(std::filesystem::exists(db_));
}

TEST_F(CliUsage, ADirectoryThatIsNoDatabaseIsRefusedAndLeftAlone) {
  std::filesystem::create_directory(db_);
  std::ofstream(db_ + "/letter.txt") << "dear diary";
  for (const auto& args : std::vector<std::vector<std::string>>{{"query", "--db", db_, "{}"}, {"stat", "--db", db_}}) {
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kFailure);
    EXPECT_THAT(result.err, HasSubstr(db_));
  }
  EXPECT_EQ(ReadFile(db_ + "/letter.txt"), "dear diary");
}

}  // namespace
}  // namespace chronolith::testing

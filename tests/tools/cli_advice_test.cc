// What is advised after damage works. A table: the damage, the commands that the tools then advise between backquotes, and the exit
// code of each when it is run as it stands there.
#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <map>
#include <regex>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

using Damaging = std::function<void(const std::string& db)>;
// "salvage", "recover" (of a copy), "dry run" (of that), "replay", "dump-wal", "verify"; the exit code.
using Advice = std::map<std::string, int>;

struct Damage {
  const char* name;
  Damaging inflict;
  Advice advice;
};

std::string FileOf(const std::string& directory, const std::string& begin, const std::string& end) {
  std::string newest;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(begin) && name.ends_with(end) && name > newest) newest = name;
  }
  EXPECT_NE(newest, "") << directory << " has no " << begin << "*" << end;
  return directory + "/" + newest;
}

class CliAdvice : public CliTest {
 protected:
  // Two shards. Some series are stored, some are only in the log.
  void Fill(const std::string& db) const {
    for (const char* metric : {"stored", "logged"}) {
      std::string text = std::string("# TYPE ") + metric + " gauge\n";
      for (int i = 0; i < 300; ++i) {
        for (int s = 0; s < 20; ++s) {
          text += metric + ("{i=\"" + std::to_string(i) + "\"} ") + std::to_string(i * 7919 % 61 + s * s) + " " +
                  std::to_string(1'700'006'400'000 + s * 60'000) + "\n";
        }
      }
      const ProcessResult filled = Cli({"import", "--db", db, "--shards", "2", "--input-format", "prometheus"}, text);
      ASSERT_EQ(filled.exit_code, kOk) << filled.err;
      if (std::string("stored") == metric) {
        ASSERT_EQ(Cli({"recover", db}).exit_code, kOk);
      }
    }
  }
  std::string Copy(const std::string& of, const std::string& name) const {
    fs::remove_all(Path(name));
    fs::copy(of, Path(name), fs::copy_options::recursive);
    return Path(name);
  }

  static std::vector<std::vector<std::string>> Tools(const std::string& db) {
    return {{"inspect", db},
            {"inspect", db, "--what", "pins"},
            {"cardinality", db},
            {"replay", db},
            {"dump-wal", db, "--quiet"},
            {"verify", db},
            {"stat", db},
            {"series", "--db", db},
            {"query", "--db", db, "stored"},
            {"compact", db, "--dry-run"},
            {"recover", db}};
  }
  // A command that a message has between backquotes, by its name in the table; "": it is none.
  static std::string NameOf(std::string command) {
    if (command.starts_with("chronolith ")) command.erase(0, 11);
    if (command.starts_with("recover --accept-data-loss")) return command.find("--dry-run") == command.npos ? "recover" : "dry run";
    for (const char* verb : {"salvage", "replay", "dump-wal", "verify"}) {
      if (command.starts_with(verb)) return verb;
    }
    return "";
  }
  static std::set<std::string> Advised(const ProcessResult& result) {
    std::set<std::string> commands;
    const std::string text = result.err + result.out;
    static const std::regex kQuoted("`([^`]*)`");
    for (std::sregex_iterator at(text.begin(), text.end(), kQuoted), end; at != end; ++at) {
      commands.insert(NameOf((*at)[1]));
      // Where it names a database, it names this one.
      EXPECT_TRUE((*at)[1].str().find('/') == std::string::npos || (*at)[1].str().find("/damaged") != std::string::npos) << text;
    }
    commands.erase("");
    return commands;
  }
  // Runs it, checks what it makes, and gives its exit code.
  int Run(const std::string& command, const std::string& db) const {
    if (command == "replay" || command == "verify") return Cli({command, db}).exit_code;
    if (command == "dump-wal") return Cli({command, db, "--quiet"}).exit_code;
    if (command == "dry run") return Cli({"recover", "--accept-data-loss", "--dry-run", db}).exit_code;
    const std::string made = Path("made");
    fs::remove_all(made);
    ProcessResult result;
    if (command == "recover") {
      Copy(db, "made");
      result = Cli({"recover", "--accept-data-loss", "--yes", made});
    } else {
      result = Cli({"salvage", db, made});
    }
    if (result.exit_code == kFailure) return kFailure;
    const ProcessResult verified = Cli({"verify", made});
    EXPECT_EQ(verified.exit_code, kOk) << command << ": " << verified.out << verified.err << result.err << result.out;
    return result.exit_code;
  }
};

void Cut(const std::string& file, std::uintmax_t bytes) { fs::resize_file(file, bytes); }
void RemoveLogs(const std::string& directory) {
  std::vector<fs::path> logs;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == ".log") logs.push_back(entry.path());
  }
  for (const fs::path& log : logs) fs::remove(log);
}
void Overwrite(const std::string& file) { std::ofstream(file, std::ios::binary | std::ios::trunc) << "garbage\n"; }

TEST_F(CliAdvice, EveryCommandThatIsAdvisedWorks) {
  Fill(db_);
  const Advice kSalvage = {{"salvage", kProblems}};
  const Advice kSalvageLog = {{"salvage", kProblems}, {"verify", kProblems}};
  const Advice kGiveUp = {{"salvage", kProblems}, {"verify", kProblems}, {"dry run", kProblems}, {"recover", kProblems}};
  const Advice kWithoutData = {{"salvage", kProblems}, {"replay", kProblems}, {"dump-wal", kProblems}, {"verify", kProblems}};
  const std::vector<Damage> kDamages = {
      {"log gone", [](const std::string& db) { fs::remove_all(db + "/log"); }, kSalvageLog},
      {"log emptied", [](const std::string& db) { fs::remove_all(db + "/log"), fs::create_directory(db + "/log"); }, kSalvageLog},
      {"log without CURRENT", [](const std::string& db) { fs::remove(db + "/log/CURRENT"); }, kSalvageLog},
      {"log with another CURRENT", [](const std::string& db) { Overwrite(db + "/log/CURRENT"); }, kSalvageLog},
      {"log without MANIFEST", [](const std::string& db) { fs::remove(FileOf(db + "/log", "MANIFEST-", "")); }, kSalvageLog},
      {"log with a cut MANIFEST", [](const std::string& db) { Cut(FileOf(db + "/log", "MANIFEST-", ""), 40); }, kSalvageLog},
      {"log with a flipped MANIFEST", [](const std::string& db) { FlipByte(FileOf(db + "/log", "MANIFEST-", ""), 0.5); },
       kSalvageLog},
      {"log without a table",
       [](const std::string& db) { fs::remove(TableOf(db, "wal.1", "/log")); },
       {{"salvage", kOk}, {"verify", kProblems}}},
      {"log with a flipped file", [](const std::string& db) { FlipByte(LargestLog(db + "/log"), 0.3); }, kGiveUp},
      {"log without its newest file", [](const std::string& db) { fs::remove(LargestLog(db + "/log")); }, kGiveUp},
      {"log without any of its files", [](const std::string& db) { RemoveLogs(db + "/log"); }, kGiveUp},
      {"data gone", [](const std::string& db) { fs::remove_all(db + "/data"); }, kWithoutData},
      {"data emptied", [](const std::string& db) { fs::remove_all(db + "/data"), fs::create_directory(db + "/data"); },
       kWithoutData},
      {"data without CURRENT", [](const std::string& db) { fs::remove(db + "/data/CURRENT"); }, kWithoutData},
      {"data with another CURRENT", [](const std::string& db) { Overwrite(db + "/data/CURRENT"); }, kWithoutData},
      {"data without MANIFEST", [](const std::string& db) { fs::remove(FileOf(db + "/data", "MANIFEST-", "")); }, kWithoutData},
      {"data with a cut MANIFEST", [](const std::string& db) { Cut(FileOf(db + "/data", "MANIFEST-", ""), 40); }, kWithoutData},
      {"data with a flipped MANIFEST", [](const std::string& db) { FlipByte(FileOf(db + "/data", "MANIFEST-", ""), 0.5); },
       kWithoutData},
      {"data without its log",
       [](const std::string& db) { RemoveLogs(db + "/data"); },
       {{"salvage", kOk}, {"verify", kOk}}},  // recover, which was one of the runs, ended it
      {"a table of the index gone", [](const std::string& db) { fs::remove(TableOf(db, "index.1")); }, kSalvageLog},
      {"a table of chunks gone", [](const std::string& db) { fs::remove(TableOf(db, "chunk.1")); }, kSalvageLog},
      {"a bad block of the index", [](const std::string& db) { FlipByte(TableOf(db, "index.1"), 0.3); }, kSalvageLog},
      {"a bad block of chunks", [](const std::string& db) { FlipByte(TableOf(db, "chunk.1"), 0.3); }, kSalvageLog},
      {"both gone",
       [](const std::string& db) { fs::remove_all(db + "/log"), fs::remove_all(db + "/data"); },
       {{"salvage", kFailure}}},  // and says that nothing is left
      {"STORE gone", [](const std::string& db) { fs::remove(db + "/STORE"); }, {{"salvage", kOk}}},
      {"STORE overwritten", [](const std::string& db) { Overwrite(db + "/STORE"); }, {{"salvage", kOk}}},
  };
  for (const Damage& damage : kDamages) {
    SCOPED_TRACE(damage.name);
    const std::string db = Copy(db_, "damaged");
    damage.inflict(db);
    std::set<std::string> advised;
    bool noticed = false;
    for (const std::vector<std::string>& tool : Tools(db)) {
      const ProcessResult result = Cli(tool);
      EXPECT_THAT(result.exit_code, ::testing::AnyOf(kOk, kFailure, kProblems)) << tool[0];
      noticed = noticed || result.exit_code != kOk;
      const std::set<std::string> commands = Advised(result);
      for (const std::string& command : commands) {
        EXPECT_TRUE(damage.advice.contains(command)) << tool[0] << " advises " << command << ": " << result.err << result.out;
      }
      advised.insert(commands.begin(), commands.end());
    }
    EXPECT_TRUE(noticed);
    for (const auto& [command, exit_code] : damage.advice) {
      EXPECT_TRUE(advised.contains(command)) << "nobody advises " << command;
      EXPECT_EQ(Run(command, db), exit_code) << command;
    }
  }
}

}  // namespace
}  // namespace chronolith::testing

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
namespace fs = std::filesystem;

std::string Quoted(const std::string& text) { return "'" + text + "'"; }

// The options in what --help prints, groups of them too.
std::set<std::string> OptionsIn(const std::string& help) {
  std::set<std::string> options;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.find("--");
    const std::size_t first = line.find_first_not_of(' ');
    if (at == std::string::npos || (first != 2 && first != 4) || line[first] != '-') continue;
    options.insert(line.substr(at, line.find_first_of(" ,=", at) - at));
  }
  return options;
}

// A page as man shows it.
std::string Shown(const std::string& file) {
  const ProcessResult shown = RunProcess({"/usr/bin/groff", "-ww", "-man", "-Tutf8", "-P-c", "-P-b", "-P-o", "-P-u", file});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_EQ(shown.err, "") << file;
  for (const char* section : {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"}) {
    EXPECT_THAT(shown.out, HasSubstr(std::string("\n") + section + "\n")) << file;
  }
  return shown.out;
}

// What the scripts of a program offer, run in the test's directory.
class Completion : public CliTest {
 protected:
  // For the last of the words.
  std::vector<std::string> BashOffers(const std::string& program, const std::string& script,
                                      const std::vector<std::string>& words) const {
    std::string line = "cd " + Quoted(directory_) + " && source " + Quoted(script) + " && COMP_WORDS=(" + program;
    for (const std::string& word : words) line += " " + Quoted(word);
    line += ") COMP_CWORD=" + std::to_string(words.size()) + " && _" + program + " && printf '%s\\n' \"${COMPREPLY[@]}\"";
    const ProcessResult result = RunProcess({"/bin/bash", "--norc", "-uc", line});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "") << line;
    std::vector<std::string> offered = Lines(result.out);
    std::erase(offered, "");
    return offered;
  }
  std::vector<std::string> FishOffers(const std::string& script, const std::string& line) const {
    const ProcessResult result =
        RunProcess({"/usr/bin/fish", "--no-config", "-c",
                    "cd " + Quoted(directory_) + "; source " + Quoted(script) + "; complete -C " + Quoted(line)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "") << line;
    std::vector<std::string> offered;
    for (const std::string& one : Lines(result.out)) offered.push_back(one.substr(0, one.find('\t')));
    return offered;
  }
  // zsh completes in a terminal only: here its functions note down what the script offers.
  static std::string ZshOffers(const std::string& script, const std::string& function) {
    const ProcessResult parsed = RunProcess({"/usr/bin/zsh", "-f", "-n", script});
    EXPECT_EQ(parsed.exit_code, 0);
    EXPECT_EQ(parsed.err, "");
    // The first call is the script's own.
    const std::string driver =
        "_arguments() { print -rl -- \"$@\"; state=command }; _describe() { print -rl -- $commands }; _files() { print FILES }; "
        "source " +
        Quoted(script) + " >/dev/null; " + function;
    const ProcessResult result = RunProcess({"/usr/bin/zsh", "-f", "-c", driver});
    EXPECT_EQ(result.err, "") << function;
    return result.out;
  }
};

class CliCompletion : public Completion {
 protected:
  std::string Script(const std::string& shell) const {
    const std::string file = Path("completion." + shell);
    const ProcessResult result = Cli({"completion", shell, "--output", file});
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    const ProcessResult printed = Cli({"completion", shell});
    EXPECT_EQ(printed.out, ReadFile(file));
    return file;
  }
  std::vector<std::string> Bash(const std::vector<std::string>& words) const { return BashOffers("chronolith", bash_, words); }
  std::vector<std::string> Fish(const std::string& line) const { return FishOffers(fish_, line); }
  // The commands that `chronolith PATH --help` lists.
  static std::vector<std::string> CommandsOf(std::vector<std::string> path) {
    path.push_back("--help");
    const std::string help = Cli(path).out;
    std::vector<std::string> commands;
    const std::size_t at = help.find("\nSubcommands:\n");
    if (at == std::string::npos) return commands;
    for (const std::string& line : Lines(help.substr(at), 2)) {
      if (line.empty()) break;
      if (line[2] != ' ') commands.push_back(line.substr(2, line.find(' ', 2) - 2));
    }
    return commands;
  }
  static std::set<std::string> OptionsOf(std::vector<std::string> path) {
    path.push_back("--help");
    return OptionsIn(Cli(path).out);
  }
  // Each command of the program, by asking it.
  static std::vector<std::vector<std::string>> AllPaths() {
    std::vector<std::vector<std::string>> paths = {{}};
    for (std::size_t i = 0; i < paths.size(); ++i) {
      for (const std::string& command : CommandsOf(paths[i])) {
        paths.push_back(paths[i]);
        paths.back().push_back(command);
      }
    }
    return paths;
  }
  static std::string Joined(const std::vector<std::string>& words, const char* separator) {
    std::string text = "chronolith";
    for (const std::string& word : words) text += separator + word;
    return text;
  }

  std::string bash_ = Script("bash");
  std::string fish_ = Script("fish");
};

TEST_F(CliCompletion, EveryCommandAndEveryOptionThatHelpShowsIsOffered) {
  const auto paths = AllPaths();
  ASSERT_GT(paths.size(), 20U);
  for (const auto& path : paths) {
    std::vector<std::string> words = path;
    words.push_back("");
    EXPECT_THAT(Bash(words), IsSupersetOf(CommandsOf(path))) << Joined(path, " ");
    EXPECT_THAT(Fish(Joined(words, " ")), IsSupersetOf(CommandsOf(path))) << Joined(path, " ");
    words.back() = "--";
    const std::set<std::string> options = OptionsOf(path);
    EXPECT_GE(options.size(), 1U);
    EXPECT_THAT(Bash(words), IsSupersetOf(options)) << Joined(path, " ");
    EXPECT_THAT(Fish(Joined(words, " ")), IsSupersetOf(options)) << Joined(path, " ");
  }
}

TEST_F(CliCompletion, ValuesFilesAndDirectories) {
  fs::create_directory(Path("data dir"));
  WriteFile("data.prom", "");
  struct Row {
    std::vector<std::string> words;
    std::vector<std::string> offered;
  };
  const Row kRows[] = {
      {{"comp"}, {"compact", "completion"}},
      {{"compact", "--format", ""}, {"table", "json", "csv"}},
      {{"compact", "--format", "j"}, {"json"}},
      {{"compact", "--format", "=", "t"}, {"table"}},
      {{"compact", "--format", "="}, {"table", "json", "csv"}},
      {{"compact", "--priority", "lo"}, {"low"}},
      {{"compact", "--shard", ""}, {}},
      {{"compact", "da"}, {"data dir"}},
      {{"compact", "--db", "da"}, {"data dir"}},
      {{"compact", "--format", "json", "da"}, {"data dir"}},
      {{"compact", "--dry-run", "da"}, {"data dir"}},
      {{"import", "da"}, {"data dir", "data.prom"}},
      {{"import", "--db", "import", "data."}, {"data.prom"}},
      {{"bench", "w"}, {"write", "wal"}},
      {{"backup", "--db", "list", "ver"}, {"verify"}},
      {{"bench", "write", "--values", ""}, {"counter", "walk"}},
      {{"completion", ""}, {"bash", "zsh", "fish"}},
      {{"reshard", "x", "da"}, {"data dir"}},
      {{"nothing", ""}, {}},
  };
  for (const Row& row : kRows)
    EXPECT_THAT(Bash(row.words), ::testing::UnorderedElementsAreArray(row.offered)) << Joined(row.words, " ");
  EXPECT_THAT(Fish("chronolith compact --format "), ::testing::UnorderedElementsAre("table", "json", "csv"));
  EXPECT_THAT(Fish("chronolith completion z"), ElementsAre("zsh"));
  EXPECT_THAT(Fish("chronolith compact da"), Contains(HasSubstr("data")));
  EXPECT_THAT(Fish("chronolith compact da"), Not(Contains("data.prom")));
  EXPECT_THAT(Fish("chronolith import data."), Contains("data.prom"));
}

TEST_F(CliCompletion, ZshIsGivenTheSame) {
  const std::string script = Script("zsh");
  const auto offered = [&](const std::vector<std::string>& path) {
    std::string function = "_chronolith";
    for (const std::string& word : path) function += "_" + word;
    return ZshOffers(script, function);
  };
  for (const auto& path : AllPaths()) {
    const std::string out = offered(path);
    for (const std::string& option : OptionsOf(path)) EXPECT_THAT(out, HasSubstr(option + "[")) << Joined(path, " ");
    for (const std::string& command : CommandsOf(path))
      EXPECT_THAT("\n" + out, HasSubstr("\n" + command + ":")) << Joined(path, " ");
  }
  EXPECT_THAT(offered({"compact"}), HasSubstr(":FORMAT:(csv json table)"));
  EXPECT_THAT(offered({"compact"}), HasSubstr(":DIR:_files -/"));
  EXPECT_THAT(offered({"import"}), HasSubstr("FILES"));
}

TEST_F(CliCompletion, EveryCommandHasAManualPageThatGroffTakesWithoutAWarning) {
  const std::string pages = Path("man1");
  const ProcessResult made = Cli({"man", "--output", pages});
  ASSERT_EQ(made.exit_code, kOk) << made.err;
  std::size_t count = 0;
  for (const auto& path : AllPaths()) {
    const std::string file = pages + "/" + Joined(path, "-") + ".1";
    ASSERT_TRUE(fs::exists(file)) << file;
    const std::string shown = Shown(file);
    for (const std::string& option : OptionsOf(path)) EXPECT_THAT(shown, HasSubstr(option)) << file;
    std::vector<std::string> ask = path;
    ask.insert(ask.begin(), "man");
    EXPECT_EQ(Cli(ask).out, ReadFile(file));
    ++count;
  }
  EXPECT_EQ(count, static_cast<std::size_t>(std::distance(fs::directory_iterator(pages), fs::directory_iterator())));
  const std::string compact = Shown(pages + "/chronolith-compact.1");
  EXPECT_THAT(compact, HasSubstr("chronolith compact metrics.db --dry-run")) << "an example";
  EXPECT_THAT(compact, HasSubstr("One of csv, json, table."));
  EXPECT_THAT(Shown(pages + "/chronolith.1"), HasSubstr("chronolithd(8)"));
}

TEST_F(CliCompletion, AFileIsReplacedButThroughALinkOrIntoAPipeItIsWritten) {
  const std::string script = Cli({"completion", "bash"}).out;
  const std::string file = WriteFile("file", "what was there, and longer" + script);
  const auto to = [&](const char* name, const std::string& target) {
    fs::create_symlink(target, Path(name));
    ProcessResult result = Cli({"completion", "bash", "--output", Path(name)});
    EXPECT_TRUE(fs::is_symlink(Path(name))) << name;
    return result;
  };
  EXPECT_EQ(to("terminal", "/dev/stdout").out, script);
  EXPECT_EQ(to("elsewhere", file).out, "");
  EXPECT_EQ(ReadFile(file), script);
  const ProcessResult full = to("full", "/dev/full");
  EXPECT_EQ(full.exit_code, kFailure);
  EXPECT_THAT(full.err, HasSubstr("full: No space left on device"));
}

TEST_F(CliCompletion, WrongArguments) {
  EXPECT_EQ(Cli({"completion"}).exit_code, kUsage);
  EXPECT_EQ(Cli({"completion", "tcsh"}).exit_code, kUsage);
  const ProcessResult page = Cli({"man", "fly", "high"});
  EXPECT_EQ(page.exit_code, kUsage);
  EXPECT_THAT(page.err, HasSubstr("fly high"));
  EXPECT_EQ(Cli({"completion", "bash", "--output", Path("no/such/directory")}).exit_code, kFailure);
}

class DaemonDescriptions : public Completion {
 protected:
  static ProcessResult Daemon(const std::vector<std::string>& args) {
    std::vector<std::string> command = {CHRONOLITHD};
    command.insert(command.end(), args.begin(), args.end());
    return RunProcess(command);
  }
  std::string Printed(const std::vector<std::string>& args) const {
    const ProcessResult result = Daemon(args);
    EXPECT_EQ(result.exit_code, kOk);
    EXPECT_EQ(result.err, "");
    return WriteFile(args.back(), result.out);
  }
  const std::set<std::string> options_ = OptionsIn(Daemon({"--help"}).out);
};

TEST_F(DaemonDescriptions, TheManualPageHasEveryOptionThatHelpShowsOnce) {
  ASSERT_GT(options_.size(), 30U);
  ASSERT_THAT(options_, IsSupersetOf({"--db", "--web.config.file", "--max-series", "--ack-level", "--write-timeout"}));
  const std::string page = Shown(Printed({"--man"}));
  std::multiset<std::string> described;
  for (const std::string& line : Lines(page)) {
    const std::size_t at = line.find("--");
    if (line.starts_with("       -") && at != std::string::npos) described.insert(line.substr(at, line.find(' ', at) - at));
  }
  EXPECT_THAT(described, ::testing::ElementsAreArray(options_));
  EXPECT_THAT(page, ::testing::StartsWith("CHRONOLITHD(8)"));
  for (const char* text : {"chronolith(1)", "SIGHUP", "\n   Limits\n", "chronolithd [OPTIONS] --db DIR\n"}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
}

TEST_F(DaemonDescriptions, EveryShellOffersEveryOption) {
  const std::string bash = Printed({"--completion", "bash"});
  const std::string fish = Printed({"--completion", "fish"});
  const std::string zsh = ZshOffers(Printed({"--completion", "zsh"}), "_chronolithd");
  EXPECT_THAT(BashOffers("chronolithd", bash, {"--"}), IsSupersetOf(options_));
  EXPECT_THAT(FishOffers(fish, "chronolithd --"), IsSupersetOf(options_));
  for (const std::string& option : options_) EXPECT_THAT(zsh, HasSubstr(option + "["));

  fs::create_directory(Path("data dir"));
  const std::vector<std::string> levels = {"queued", "logged", "synced"};
  EXPECT_THAT(BashOffers("chronolithd", bash, {"--ack-level", ""}), ::testing::UnorderedElementsAreArray(levels));
  EXPECT_THAT(FishOffers(fish, "chronolithd --ack-level "), ::testing::UnorderedElementsAreArray(levels));
  EXPECT_THAT(zsh, HasSubstr(":LEVEL:(queued logged synced)"));
  EXPECT_THAT(BashOffers("chronolithd", bash, {"--db", "da"}), ElementsAre("data dir"));
  EXPECT_THAT(BashOffers("chronolithd", bash, {"--shards", ""}), ElementsAre());
}

TEST_F(DaemonDescriptions, WrongArguments) {
  EXPECT_EQ(Daemon({"--completion"}).exit_code, kUsage);
  const ProcessResult tcsh = Daemon({"--completion", "tcsh"});
  EXPECT_EQ(tcsh.exit_code, kUsage);
  EXPECT_THAT(tcsh.err, HasSubstr("tcsh"));
  const ProcessResult full = RunProcess({"/bin/sh", "-c", std::string(CHRONOLITHD) + " --man >/dev/full"});
  EXPECT_EQ(full.exit_code, kFailure);
  EXPECT_THAT(full.err, HasSubstr("stdout"));
}

}  // namespace
}  // namespace chronolith::testing

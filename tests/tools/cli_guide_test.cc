// Every command of the operations guide, and every example of the help texts, is one that the program takes.
#include <gmock/gmock.h>

#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

class CliGuide : public CliTest {
 protected:
  CliGuide() {
    std::filesystem::create_directories(Path("bin"));
    std::filesystem::create_directories(Path("work"));
    std::filesystem::create_symlink(CHRONOLITH_CLI, Path("bin/chronolith"));
  }

  // Lines that begin with `indent` and the name of the program.
  static std::vector<std::string> Commands(const std::string& text, const std::string& indent) {
    std::vector<std::string> commands;
    for (const std::string& line : Lines(text)) {
      if (line.starts_with(indent + "chronolith ")) commands.push_back(line.substr(indent.size()));
    }
    return commands;
  }
  std::size_t ExpectExamplesTaken(const std::vector<std::string>& verbs) const;
  // In an empty directory, where there is no database, most fail. None may be wrong usage.
  void ExpectTaken(std::string command) const {
    // What would stay behind the test goes to its own directory.
    for (std::size_t at = 0; (at = command.find(" /tmp/", at)) != std::string::npos;) command.replace(at, 6, " ");
    const ProcessResult result =
        RunProcess({"/bin/bash", "-c",
                    "cd '" + Path("work") + "' && PATH='" + Path("bin") + "':$PATH && set -o pipefail && { timeout 240 " + command +
                        "\n} >/dev/null </dev/null"});
    EXPECT_NE(result.exit_code, kUsage) << command << "\n" << result.err;
    EXPECT_LE(result.exit_code, kProblems) << command << "\n" << result.err;  // neither killed nor not found
  }
};

// Of this command and those below it; returns how many.
std::size_t CliGuide::ExpectExamplesTaken(const std::vector<std::string>& verbs) const {
  std::vector<std::string> args = verbs;
  args.push_back("--help");
  const std::string help = Cli(args).out;
  std::size_t examples = 0;
  std::string itself = "chronolith";
  for (const std::string& verb : verbs) itself += " " + verb;
  std::size_t own = 0;
  for (const std::string& command : Commands(help, "  ")) {
    ExpectTaken(command);
    own += command.starts_with(itself + " ") ? 1 : 0;
    ++examples;
  }
  EXPECT_GT(own, 0U) << itself << " --help has no example of it";
  bool listed = false;
  for (const std::string& line : Lines(help)) {
    if (line.starts_with("Subcommands:")) listed = true;
    if (line.empty()) listed = false;
    if (!listed || !line.starts_with("  ") || line[2] == ' ') continue;
    args = verbs;
    args.push_back(line.substr(2, line.find(' ', 2) - 2));
    examples += ExpectExamplesTaken(args);
  }
  return examples;
}

TEST_F(CliGuide, ItsCommandsAreTaken) {
  const std::vector<std::string> commands = Commands(ReadFile(CHRONOLITH_GUIDE), "    ");
  EXPECT_GT(commands.size(), 30u);
  for (const std::string& command : commands) ExpectTaken(command);
}

TEST_F(CliGuide, ExamplesOfTheHelpTextsAreTaken) { EXPECT_GT(ExpectExamplesTaken({}), 40u); }

}  // namespace
}  // namespace chronolith::testing

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
  // In an empty directory, where there is no database, most fail. None may be wrong usage.
  void ExpectTaken(const std::string& command) const {
    const ProcessResult result = RunProcess({"/bin/bash", "-c",
                                             "cd '" + Path("work") + "' && PATH='" + Path("bin") +
                                                 "':$PATH && set -o pipefail && { timeout 60 " + command + "\n} >/dev/null </dev/null"});
    EXPECT_NE(result.exit_code, kUsage) << command << "\n" << result.err;
    EXPECT_LE(result.exit_code, kProblems) << command << "\n" << result.err;  // neither killed nor not found
  }
};

TEST_F(CliGuide, ItsCommandsAreTaken) {
  const std::vector<std::string> commands = Commands(ReadFile(CHRONOLITH_GUIDE), "    ");
  EXPECT_GT(commands.size(), 30u);
  for (const std::string& command : commands) ExpectTaken(command);
}

TEST_F(CliGuide, ExamplesOfTheHelpTextsAreTaken) {
  std::size_t examples = 0;
  bool listed = false;
  for (const std::string& line : Lines(Cli({"--help"}).out)) {
    if (line.starts_with("Subcommands:")) listed = true;
    if (!listed || !line.starts_with("  ") || line[2] == ' ') continue;
    const std::string verb = line.substr(2, line.find(' ', 2) - 2);
    const std::vector<std::string> commands = Commands(Cli({verb, "--help"}).out, "  ");
    examples += commands.size();
    for (const std::string& command : commands) ExpectTaken(command);
  }
  EXPECT_GT(examples, 20u);
}

}  // namespace
}  // namespace chronolith::testing

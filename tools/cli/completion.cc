// chronolith completion, chronolith man: the program describes itself to shells and to man.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ops/target_path.h"
#include "tools/cli/command_tree.h"
#include "tools/cli/common.h"
#include "tools/cli/output.h"

namespace chronolith::cli {

namespace {

enum class Shell : std::uint8_t { kBash, kZsh, kFish };

struct DescribeFlags {
  Shell shell = Shell::kBash;
  std::string output;                // "": stdout
  std::vector<std::string> command;  // of which the page is wanted
};

int Print(const std::string& text) {
  Output out;
  out << text;
  return Finish(&out);
}

int Completion(const CommandInfo& root, const DescribeFlags& flags) {
  const std::string script = flags.shell == Shell::kBash  ? BashCompletion(root)
                             : flags.shell == Shell::kZsh ? ZshCompletion(root)
                                                          : FishCompletion(root);
  if (flags.output.empty()) return Print(script);
  const Status status = ops::WriteFileOrThrough(flags.output, script);
  return status.ok() ? kExitOk : FailOrUsage(status);
}

int Man(const CommandInfo& root, const DescribeFlags& flags) {
  if (!flags.output.empty()) {
    if (const Status s = ops::CheckOutsideDatabases(flags.output); !s.ok()) return FailOrUsage(s);
    std::error_code error;
    std::filesystem::create_directories(flags.output, error);
    if (error) return Fail(IoError("cannot create " + flags.output + ": " + error.message()));
    for (const CommandInfo* command : AllCommands(root)) {
      const Status status = ops::WriteFileOrThrough(flags.output + "/" + command->Name("-") + ".1", ManPage(root, *command));
      if (!status.ok()) return FailOrUsage(status);
    }
    return kExitOk;
  }
  for (const CommandInfo* command : AllCommands(root)) {
    if (command->path == flags.command) return Print(ManPage(root, *command));
  }
  std::string words;
  for (const std::string& word : flags.command) words += " " + word;
  PrintError("unknown command" + words + "; see --help");
  return kExitUsage;
}

}  // namespace

void AddCompletion(CLI::App* app, Run* run) {
  static const std::map<std::string, Shell> kShells = {{"bash", Shell::kBash}, {"zsh", Shell::kZsh}, {"fish", Shell::kFish}};
  auto flags = std::make_shared<DescribeFlags>();
  CLI::App* completion = app->add_subcommand("completion", "Print a script that completes commands and options in a shell");
  completion->add_option("SHELL", flags->shell, "bash, zsh or fish")
      ->required()
      ->transform(CLI::CheckedTransformer(kShells).description(""));
  completion->add_option("--output", flags->output, "write it there instead of to stdout")->option_text("FILE");
  completion->footer(
      "An installed chronolith has all three in the places where the shells look for them.\n"
      "Examples:\n"
      "  source <(chronolith completion bash)\n"
      "  chronolith completion zsh --output ~/.zfunc/_chronolith\n"
      "  chronolith completion fish --output ~/.config/fish/completions/chronolith.fish");
  completion->callback([flags, run, app] { *run = [flags, app] { return Completion(DescribeCommands(app), *flags); }; });

  auto man_flags = std::make_shared<DescribeFlags>();
  CLI::App* man = app->add_subcommand("man", "Print the manual page of a command");
  man->add_option("COMMAND", man_flags->command, "the command, word by word; none: the program's own page")->expected(0, 8);
  man->add_option("--output", man_flags->output, "directory to write the pages of all commands to")->option_text("DIR");
  man->footer(
      "Examples:\n"
      "  chronolith man compact | man -l -\n"
      "  chronolith man --output /usr/local/share/man/man1");
  man->callback([man_flags, run, app] {
    *run = [man_flags, app] {
      CommandInfo root = DescribeCommands(app);
      root.see_also = {"chronolithd(8)"};
      return Man(root, *man_flags);
    };
  });
}

}  // namespace chronolith::cli

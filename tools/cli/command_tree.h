// The commands of a program as plain data, read from the parser's own tree at run time: what completes and documents them knows
// no list of its own.
#ifndef CHRONOLITH_TOOLS_CLI_COMMAND_TREE_H_
#define CHRONOLITH_TOOLS_CLI_COMMAND_TREE_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace chronolith::cli {

enum class ValueKind : std::uint8_t { kNone, kText, kWord, kDirectory, kFile };  // kWord: one of `choices`

struct OptionInfo {
  std::vector<std::string> names;  // "-v", "--verbose"; of a positional its one name
  std::string value;               // what stands for it in the usage: "DIR"; "": a flag
  std::string description;
  std::string group;  // the heading that --help shows it under; "": none of its own
  ValueKind kind = ValueKind::kNone;
  std::vector<std::string> choices;
  bool required = false;
  bool repeated = false;                     // takes any number of values
  std::vector<std::string> needs, excludes;  // names of others
};

struct CommandInfo {
  std::string program;            // "chronolith"
  int section = 1;                // of the manual
  std::vector<std::string> path;  // {} is the program itself, {"bench", "write"} one of its commands
  std::string description;
  std::string footer;
  bool needs_command = false;  // it does nothing without one of `commands`
  std::vector<OptionInfo> options;
  std::vector<OptionInfo> positionals;
  std::vector<CommandInfo> commands;
  std::vector<std::string> see_also;  // pages of other programs: "chronolithd(8)"

  std::string Name(const char* separator) const;  // "chronolith bench write"
};

// What is hidden from --help is left out.
CommandInfo DescribeCommands(CLI::App* app);
// One command and those below it; `command` is part of a program's tree.
CommandInfo DescribeCommand(const CLI::App* command);
// The command itself and all below, in order.
std::vector<const CommandInfo*> AllCommands(const CommandInfo& root);

// Whether the command takes the option as its first argument as well.
bool AlsoPositional(const OptionInfo& option, const CommandInfo& command);
// "chronolith stat [OPTIONS] DIR", its words as `literal` and `placeholder` show them.
using Shown = std::function<std::string(const std::string&)>;
std::string Synopsis(const CommandInfo& command, const Shown& literal, const Shown& placeholder);

// The scripts, and the page of one command in roff, man(7).
std::string BashCompletion(const CommandInfo& root);
std::string ZshCompletion(const CommandInfo& root);
std::string FishCompletion(const CommandInfo& root);
std::string ManPage(const CommandInfo& root, const CommandInfo& command);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_COMMAND_TREE_H_

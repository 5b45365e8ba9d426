// What --help prints, and what is said of wrong arguments: prose instead of the parser's own words.
#ifndef CHRONOLITH_TOOLS_CLI_HELP_H_
#define CHRONOLITH_TOOLS_CLI_HELP_H_

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

#include "tools/cli/command_tree.h"

namespace chronolith::cli {

// For all commands that are added to `app` from here on, and for itself.
void SpeakProse(CLI::App* app);

// `width`: columns of the terminal; examples and single words may be wider.
std::string HelpText(const CommandInfo& command, std::size_t width);

// A message of the parser's about `command`, in terms of its options: what is wrong, and what to give instead.
std::string UsageError(const CommandInfo& command, const std::string& message);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_HELP_H_

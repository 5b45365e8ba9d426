// Asking before data is destroyed.
#ifndef CHRONOLITH_TOOLS_CLI_CONFIRM_H_
#define CHRONOLITH_TOOLS_CLI_CONFIRM_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string_view>

namespace chronolith::cli {

void AddYes(CLI::App* command, bool* yes);

// None: go on. Otherwise the exit code, with the reason on stderr: kExitFailure where the answer was not yes, kExitUsage where
// there is no terminal to ask at and `yes` was not given. `question`: "Delete 3 series?".
std::optional<int> Refused(std::string_view question, bool yes);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_CONFIRM_H_

#include "tools/cli/confirm.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"

namespace chronolith::cli {

void AddYes(CLI::App* command, bool* yes) {
  command->add_flag("-y,--yes", *yes, "do not ask; needed where there is no terminal to ask at");
}

std::optional<int> Refused(std::string_view question, bool yes) {
  if (yes) return std::nullopt;
  if (isatty(STDIN_FILENO) == 0) {
    PrintError("this destroys data, and there is no terminal to ask at: say --yes");
    return kExitUsage;
  }
  const EndsAtOnce interruptible("interrupted; nothing was done");
  std::fprintf(stderr, "%.*s [y/N] ", static_cast<int>(question.size()), question.data());
  std::string answer;
  if (std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes")) return std::nullopt;
  PrintError("nothing was done");
  return kExitFailure;
}

}  // namespace chronolith::cli

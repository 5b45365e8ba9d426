// Ctrl-C and SIGTERM: the first asks the command to come to an end, the second ends the process.
#ifndef CHRONOLITH_TOOLS_CLI_INTERRUPT_H_
#define CHRONOLITH_TOOLS_CLI_INTERRUPT_H_

#include <atomic>

namespace chronolith::cli {

// Installs the handlers, the first time. Set once a signal has come.
const std::atomic<bool>* InterruptFlag();

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INTERRUPT_H_

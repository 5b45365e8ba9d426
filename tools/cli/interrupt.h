// Ctrl-C and SIGTERM. The first asks the command to come to an end, the second ends the process.
//
//   HandleInterrupts()    the first ends the process at once, too: it says "interrupted" and exits with kExitFailure
//   InterruptFlag()       from then on it only sets the flag, at which whoever works looks
//   EndsAtOnce            for as long as it lives, at once again: for what cannot look, and may be cut off anywhere
#ifndef CHRONOLITH_TOOLS_CLI_INTERRUPT_H_
#define CHRONOLITH_TOOLS_CLI_INTERRUPT_H_

#include <atomic>
#include <functional>
#include <string>

namespace chronolith::cli {

// Installs the handlers and starts the thread that ends the process. In main, once.
void HandleInterrupts();

// Set once a signal has come.
const std::atomic<bool>* InterruptFlag();

// Waits until `fd` can be read, or is at its end. False: interrupted.
bool WaitReadable(int fd);

// Scopes lie within each other; the innermost one's message is printed, and all clean up. Thread safety: the main thread only.
class EndsAtOnce {
 public:
  // `clean_up` runs while what was cut off still goes on. `message` begins with "interrupted".
  explicit EndsAtOnce(std::string message, std::function<void()> clean_up = {});
  ~EndsAtOnce();
  EndsAtOnce(const EndsAtOnce&) = delete;
  EndsAtOnce& operator=(const EndsAtOnce&) = delete;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INTERRUPT_H_

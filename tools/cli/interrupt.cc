#include "tools/cli/interrupt.h"

#include <csignal>

namespace chronolith::cli {

namespace {

std::atomic<bool> interrupted{false};

// With SA_RESETHAND: the next signal of the kind does what it does by default.
void OnSignal(int) { interrupted.store(true); }

}  // namespace

const std::atomic<bool>* InterruptFlag() {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    return sigaction(SIGINT, &action, nullptr) == 0 && sigaction(SIGTERM, &action, nullptr) == 0;
  }();
  (void)installed;
  return &interrupted;
}

}  // namespace chronolith::cli

#include "tools/cli/progress.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <semaphore>
#include <thread>

#include "tools/cli/output.h"

namespace chronolith::cli {

void AddProgress(CLI::App* command, ProgressMode* mode) {
  static const std::map<std::string, ProgressMode> kModes = {
      {"auto", ProgressMode::kAuto}, {"plain", ProgressMode::kPlain}, {"none", ProgressMode::kNone}};
  command->add_option("--progress", *mode, "auto (default: only on a terminal), plain (\"logged N\" lines on stderr), none")
      ->transform(CLI::CheckedTransformer(kModes, CLI::ignore_case).description(""))
      ->option_text("MODE");
}

struct Progress::State {
  bool plain = false;
  std::string what;
  std::function<std::uint64_t()> acknowledged;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::uint64_t shown = ~0ULL;
  std::binary_semaphore stop{0};
  std::thread thread;

  void Show() {
    const std::uint64_t n = acknowledged();
    if (plain) {
      if (n != shown) std::fprintf(stderr, "logged %llu\n", static_cast<unsigned long long>(n));
    } else {
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      std::fprintf(stderr, "\r%s: %s samples, %s/s \033[K", what.c_str(), HumanCount(static_cast<double>(n)).c_str(),
                   HumanCount(seconds > 0 ? static_cast<double>(n) / seconds : 0).c_str());
    }
    std::fflush(stderr);
    shown = n;
  }
};

Progress::Progress(ProgressMode mode, std::string what, std::function<std::uint64_t()> acknowledged) {
  if (mode == ProgressMode::kNone || (mode == ProgressMode::kAuto && isatty(STDERR_FILENO) != 1)) return;
  state_ = std::make_unique<State>();
  state_->plain = mode == ProgressMode::kPlain;
  state_->what = std::move(what);
  state_->acknowledged = std::move(acknowledged);
  state_->thread = std::thread([state = state_.get()] {
    while (!state->stop.try_acquire_for(std::chrono::milliseconds(state->plain ? 20 : 200))) state->Show();
    state->Show();
    if (!state->plain) std::fprintf(stderr, "\n");
  });
}

Progress::~Progress() {
  if (state_ == nullptr) return;
  state_->stop.release();
  state_->thread.join();
}

}  // namespace chronolith::cli

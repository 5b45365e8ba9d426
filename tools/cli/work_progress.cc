#include "tools/cli/work_progress.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>

#include "tools/cli/output.h"

namespace chronolith::cli {

struct WorkProgress::State {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  std::atomic<std::uint64_t> done{0};
  bool shown = false;
  std::mutex mu;
  std::string phase;
  std::string unit;
  std::uint64_t total = 0;
  std::chrono::steady_clock::time_point start;
  std::binary_semaphore stop{0};
  std::thread thread;

  std::string Amount(double n) const {
    return unit == "bytes" ? HumanBytes(static_cast<std::uint64_t>(n)) : HumanCount(n) + " " + unit;
  }

  void Show() {
    std::string line;
    {
      const std::lock_guard lock(mu);
      if (phase.empty()) return;
      const auto n = static_cast<double>(done.load());
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const double rate = seconds > 0 ? n / seconds : 0;
      line = phase + ": ";
      if (terminal && total > 0) {
        constexpr int kWidth = 24;
        const auto filled = static_cast<std::size_t>(std::min(1.0, n / static_cast<double>(total)) * kWidth);
        line += "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] ";
      }
      line += Amount(n);
      if (total > 0) line += " of " + Amount(static_cast<double>(total));
      line += ", " + Amount(rate) + "/s";
      if (total > 0 && rate > 0 && n < static_cast<double>(total)) {
        line += ", about " + HumanSeconds((static_cast<double>(total) - n) / rate) + " left";
      }
    }
    shown = true;
    std::fprintf(stderr, terminal ? "\r%s\033[K" : "%s\n", line.c_str());
    std::fflush(stderr);
  }
};

WorkProgress::WorkProgress(bool quiet) {
  if (quiet) return;
  state_ = std::make_unique<State>();
  state_->thread = std::thread([state = state_.get()] {
    while (!state->stop.try_acquire_for(std::chrono::milliseconds(state->terminal ? 200 : 10'000))) state->Show();
    if (state->terminal && state->shown) std::fprintf(stderr, "\r\033[K");
  });
}

WorkProgress::~WorkProgress() {
  if (state_ == nullptr) return;
  state_->stop.release();
  state_->thread.join();
}

void WorkProgress::Begin(std::string_view phase, std::uint64_t total, std::string_view unit) {
  if (state_ == nullptr) return;
  const std::lock_guard lock(state_->mu);
  state_->phase = phase;
  state_->unit = unit;
  state_->total = total;
  state_->done.store(0);
  state_->start = std::chrono::steady_clock::now();
}

void WorkProgress::Add(std::uint64_t units) {
  if (state_ != nullptr) state_->done.fetch_add(units, std::memory_order_relaxed);
}

}  // namespace chronolith::cli

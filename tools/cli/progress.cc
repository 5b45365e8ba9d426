#include "tools/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
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

struct ReplayBar::State {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  bool shown = false;
  std::mutex mu;
  std::map<std::uint32_t, ReplayProgress> shards;
  std::binary_semaphore stop{0};
  std::thread thread;

  void Show() {
    double records = 0;
    double expected = 0;
    double bytes = 0;
    double seconds_left = 0;  // shards are replayed beside each other
    {
      const std::lock_guard lock(mu);
      if (shards.empty()) return;
      for (const auto& [shard, progress] : shards) {
        records += static_cast<double>(progress.records);
        expected += static_cast<double>(progress.records_expected);
        bytes += static_cast<double>(progress.bytes);
        seconds_left = std::max(seconds_left, progress.seconds_left);
      }
    }
    std::string line = "replay: ";
    const double part = expected == 0 ? 0 : std::min(1.0, records / expected);
    if (terminal && part > 0) {
      constexpr int kWidth = 24;
      const auto filled = static_cast<std::size_t>(part * kWidth);
      line += "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] ";
    }
    line += HumanCount(records);
    if (part > 0) line += " of " + HumanCount(expected);
    line += " records, " + HumanBytes(static_cast<std::uint64_t>(bytes));
    if (part > 0) line += ", about " + HumanSeconds(seconds_left) + " left";
    shown = true;
    std::fprintf(stderr, terminal ? "\r%s \033[K" : "%s\n", line.c_str());
    std::fflush(stderr);
  }
};

ReplayBar::ReplayBar() : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_.get()] {
    while (!state->stop.try_acquire_for(std::chrono::milliseconds(state->terminal ? 200 : 10'000))) state->Show();
    if (state->terminal && state->shown) std::fprintf(stderr, "\r\033[K");
  });
}

ReplayBar::~ReplayBar() {
  state_->stop.release();
  state_->thread.join();
}

std::function<void(const ReplayProgress&)> ReplayBar::Callback() {
  return [state = state_](const ReplayProgress& progress) {
    const std::lock_guard lock(state->mu);
    state->shards[progress.shard] = progress;
  };
}

}  // namespace chronolith::cli

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
#include "tools/cli/status_line.h"

namespace chronolith::cli {

void AddProgress(CLI::App* command, ProgressMode* mode) {
  static const std::map<std::string, ProgressMode> kModes = {
      {"auto", ProgressMode::kAuto}, {"plain", ProgressMode::kPlain}, {"none", ProgressMode::kNone}};
  command->add_option("--progress", *mode, "auto (default: only on a terminal), plain (\"logged N\" lines on stderr), none")
      ->transform(CLI::CheckedTransformer(kModes, CLI::ignore_case).description(""))
      ->option_text("MODE");
}

struct WriteProgress::State {
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

WriteProgress::WriteProgress(ProgressMode mode, std::string what, std::function<std::uint64_t()> acknowledged) {
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

WriteProgress::~WriteProgress() {
  if (state_ == nullptr) return;
  state_->stop.release();
  state_->thread.join();
}

struct ReplayBar::State {
  std::mutex mu;
  std::map<std::uint32_t, ReplayProgress> shards;

  std::string Line(bool terminal) {
    double records = 0;
    double expected = 0;
    double bytes = 0;
    double seconds_left = 0;  // shards are replayed beside each other
    {
      const std::lock_guard lock(mu);
      if (shards.empty()) return "";
      for (const auto& [shard, progress] : shards) {
        records += static_cast<double>(progress.records);
        expected += static_cast<double>(progress.records_expected);
        bytes += static_cast<double>(progress.bytes);
        seconds_left = std::max(seconds_left, progress.seconds_left);
      }
    }
    std::string line = "replay: ";
    const double part = expected == 0 ? 0 : std::min(1.0, records / expected);
    if (terminal && part > 0) line += Bar(part);
    line += HumanCount(records);
    if (part > 0) line += " of " + HumanCount(expected);
    line += " records, " + HumanBytes(static_cast<std::uint64_t>(bytes));
    if (part > 0) line += ", about " + HumanDuration(seconds_left) + " left";
    return line;
  }
};

ReplayBar::ReplayBar()
    : state_(std::make_shared<State>()), line_([state = state_.get()](bool terminal) { return state->Line(terminal); }) {}

ReplayBar::~ReplayBar() = default;

std::function<void(const ReplayProgress&)> ReplayBar::Callback() {
  return [state = state_](const ReplayProgress& progress) {
    const std::lock_guard lock(state->mu);
    state->shards[progress.shard] = progress;
  };
}

}  // namespace chronolith::cli

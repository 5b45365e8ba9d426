#include "tools/cli/status_line.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace chronolith::cli {

StatusLine::StatusLine(std::function<std::string(bool terminal)> line)
    : terminal_(isatty(STDERR_FILENO) == 1), line_(std::move(line)) {
  thread_ = std::thread([this] {
    while (!stop_.try_acquire_for(std::chrono::milliseconds(terminal_ ? 200 : 10'000))) Show();
    if (terminal_ && shown_) std::fprintf(stderr, "\r\033[K");
  });
}

StatusLine::~StatusLine() {
  stop_.release();
  thread_.join();
}

void StatusLine::Show() {
  const std::string line = line_(terminal_);
  if (line.empty()) return;
  shown_ = true;
  std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
  std::fflush(stderr);
}

std::string HumanDuration(double seconds) {
  const auto s = static_cast<std::uint64_t>(std::clamp(std::ceil(seconds), 0.0, 3.6e9));
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s % 3600 / 60) + " min";
}

std::string Bar(double part) {
  constexpr int kWidth = 24;
  const auto filled = static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * kWidth);
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] ";
}

}  // namespace chronolith::cli

#include "tools/cli/work_progress.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>

#include "tools/cli/output.h"
#include "tools/cli/status_line.h"

namespace chronolith::cli {

struct WorkProgress::State {
  std::atomic<std::uint64_t> done{0};
  std::mutex mu;
  std::string phase;
  std::string unit;
  std::uint64_t total = 0;
  std::chrono::steady_clock::time_point start;
  StatusLine line{[this](bool terminal) { return Line(terminal); }};  // last: it uses the others

  std::string Amount(double n) const {
    if (unit == "bytes") return HumanBytes(static_cast<std::uint64_t>(n));
    return HumanCount(n) + " " + unit;
  }

  std::string Line(bool terminal) {
    const std::lock_guard lock(mu);
    if (phase.empty()) return "";
    const auto n = static_cast<double>(done.load());
    const auto of = static_cast<double>(total);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double rate = seconds > 0 ? n / seconds : 0;
    std::string text = phase + ": ";
    if (terminal && total > 0) text += Bar(n / of);
    if (total == 0 && n == 0) return text + HumanDuration(seconds);  // nothing tells how far it is
    text += Amount(n);
    if (total > 0 && unit != "%") text += " of " + Amount(of);
    if (n > 0 && unit != "%" && unit != "steps") text += ", " + Amount(rate) + "/s";
    if (total > 0 && n > 0 && n < of && seconds >= 1) text += ", about " + HumanDuration((of - n) / rate) + " left";
    return text;
  }
};

WorkProgress::WorkProgress(bool quiet) {
  if (!quiet) state_ = std::make_unique<State>();
}

WorkProgress::~WorkProgress() = default;

void WorkProgress::Begin(std::string_view phase, std::uint64_t total, std::string_view unit) {
  if (state_ == nullptr) return;
  const std::lock_guard lock(state_->mu);
  if (state_->phase != phase) state_->start = std::chrono::steady_clock::now();  // else its total is known better
  state_->phase = phase;
  state_->unit = unit;
  state_->total = total;
  state_->done.store(0);
}

void WorkProgress::Add(std::uint64_t units) {
  if (state_ != nullptr) state_->done.fetch_add(units, std::memory_order_relaxed);
}

}  // namespace chronolith::cli

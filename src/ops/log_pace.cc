#include "ops/log_pace.h"

#include <algorithm>
#include <chrono>

namespace chronolith::ops {

void LogPace::Expect(std::size_t sinks) {
  const MutexLock lock(&mu_);
  expected_ = sinks;
}

std::size_t LogPace::Enter() {
  const MutexLock lock(&mu_);
  positions_.emplace(entered_, kMinTimestamp);
  return entered_++;
}

void LogPace::Leave(std::size_t sink) {
  const MutexLock lock(&mu_);
  positions_.erase(sink);
  moved_.SignalAll();
}

void LogPace::Move(std::size_t sink, Timestamp oldest) {
  const MutexLock lock(&mu_);
  positions_[sink] = oldest;
  moved_.SignalAll();
}

Timestamp LogPace::Horizon(std::size_t sink) const {
  const ReaderMutexLock lock(&mu_);
  return HorizonLocked(sink);
}

Timestamp LogPace::HorizonLocked(std::size_t sink) const {
  Timestamp oldest = entered_ < expected_ ? kMinTimestamp : kMaxTimestamp;
  for (const auto& [other, position] : positions_) {
    if (other != sink) oldest = std::min(oldest, position);
  }
  if (oldest == kMinTimestamp) return kMinTimestamp;  // somebody has not said anything yet
  return oldest > kMaxTimestamp - kAheadMs ? kMaxTimestamp : oldest + kAheadMs;
}

Status LogPace::Await(std::size_t sink, Timestamp next, const std::atomic<bool>* cancel) {
  const MutexLock lock(&mu_);
  positions_[sink] = next;
  moved_.SignalAll();
  while (next > HorizonLocked(sink)) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) return Cancelled("interrupted");
    moved_.WaitUntil(&mu_, std::chrono::steady_clock::now() + std::chrono::milliseconds(50));  // as often as `cancel` is looked at
  }
  return Status::Ok();
}

}  // namespace chronolith::ops

#include "ops/log_pace.h"

#include <algorithm>
#include <chrono>

namespace chronolith::ops {

std::size_t LogPace::Enter() {
  const MutexLock lock(&mu_);
  positions_.emplace(next_, std::numeric_limits<std::int64_t>::min());
  return next_++;
}

void LogPace::Leave(std::size_t sink) {
  const MutexLock lock(&mu_);
  positions_.erase(sink);
  moved_.SignalAll();
}

void LogPace::Move(std::size_t sink, std::int64_t at) {
  const MutexLock lock(&mu_);
  positions_[sink] = at;
  moved_.SignalAll();
}

bool LogPace::MayGo(std::size_t sink, std::int64_t at) const {
  const ReaderMutexLock lock(&mu_);
  return MayGoLocked(sink, at);
}

bool LogPace::MayGoLocked(std::size_t sink, std::int64_t at) const {
  return std::all_of(positions_.begin(), positions_.end(),
                     [&](const auto& other) { return other.first == sink || at <= kAheadMs || at - kAheadMs <= other.second; });
}

Status LogPace::Await(std::size_t sink, std::int64_t at, const std::atomic<bool>* cancel) {
  const MutexLock lock(&mu_);
  positions_[sink] = at;
  moved_.SignalAll();
  while (!MayGoLocked(sink, at)) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) return Cancelled("interrupted");
    moved_.WaitUntil(&mu_, std::chrono::steady_clock::now() + std::chrono::milliseconds(50));  // as often as `cancel` is looked at
  }
  return Status::Ok();
}

}  // namespace chronolith::ops

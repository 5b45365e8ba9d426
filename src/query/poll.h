// Poll: whether a query is to go on: its deadline and its caller's cancellation.
#ifndef CHRONOLITH_QUERY_POLL_H_
#define CHRONOLITH_QUERY_POLL_H_

#include <atomic>
#include <chrono>
#include <cstdint>

#include "chronolith/kv_engine.h"
#include "chronolith/status.h"

namespace chronolith {

// Thread safety: one thread at a time; `cancelled` may be set from any thread.
class Poll {
 public:
  explicit Poll(Deadline deadline, const std::atomic<bool>* cancelled = nullptr) : deadline_(deadline), cancelled_(cancelled) {}

  Status Check() const {
    if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) return Cancelled("the caller cancelled the query");
    if (deadline_ != kNoDeadline && std::chrono::steady_clock::now() >= deadline_) {
      return DeadlineExceeded("the deadline of the query passed");
    }
    return Status::Ok();
  }
  // Counts work; looks once in kWorkBetweenChecks.
  Status After(std::uint64_t work) {
    work_ += work;
    if (work_ < kWorkBetweenChecks) [[likely]]
      return Status::Ok();
    work_ = 0;
    return Check();
  }

 private:
  static constexpr std::uint64_t kWorkBetweenChecks = 4096;  // samples; a series counts as 64

  const Deadline deadline_;
  const std::atomic<bool>* const cancelled_;
  std::uint64_t work_ = 0;
};

inline constexpr std::uint64_t kWorkOfSeries = 64;

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_POLL_H_

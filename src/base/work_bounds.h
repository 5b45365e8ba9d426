// WorkBounds: what a piece of work keeps to that somebody waits for: it can be cancelled, and what it holds is counted.
#ifndef CHRONOLITH_BASE_WORK_BOUNDS_H_
#define CHRONOLITH_BASE_WORK_BOUNDS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/memory_share.h"
#include "chronolith/status.h"

namespace chronolith {

// Thread safety: as a value type; `cancelled` may be set from any thread.
struct WorkBounds {
  const std::atomic<bool>* cancelled = nullptr;  // null: never
  MemoryShare* share = nullptr;                  // null: nobody counts

  bool IsCancelled() const { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
  // kCancelled.
  Status Check() const { return IsCancelled() ? Cancelled("the caller cancelled the query") : Status::Ok(); }
  // Before so many bytes more are held. What `share` refuses.
  Status Take(std::uint64_t bytes) const { return share == nullptr || share->Grow(bytes) ? Status::Ok() : share->refusal(); }
  void ShrinkTo(std::uint64_t bytes) const {
    if (share != nullptr) share->ShrinkTo(bytes);
  }
  std::uint64_t held_bytes() const { return share == nullptr ? 0 : share->bytes(); }
};

// Takes many small things of a share, in steps that hardly cost anything each. What was taken stays taken. Thread safety: one
// thread.
class StepTaker {
 public:
  explicit StepTaker(const WorkBounds& bounds) : bounds_(bounds) {}

  // False once the share has refused, or the work was cancelled: then status() tells why.
  [[nodiscard]] bool Take(std::uint64_t bytes) {
    if (bytes <= left_) [[likely]] {
      left_ -= bytes;
      return status_.ok();
    }
    if (!status_.ok()) return false;
    const std::uint64_t step = std::max(bytes, kStepBytes);
    status_ = bounds_.Check();
    if (status_.ok()) status_ = bounds_.Take(step);
    left_ = status_.ok() ? step - bytes : 0;
    return status_.ok();
  }
  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  static constexpr std::uint64_t kStepBytes = 32 << 10;

  const WorkBounds bounds_;
  std::uint64_t left_ = 0;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_WORK_BOUNDS_H_

// MemoryShare: what one piece of work holds of a MemoryBudget.
#ifndef CHRONOLITH_BASE_MEMORY_SHARE_H_
#define CHRONOLITH_BASE_MEMORY_SHARE_H_

#include <cstdint>
#include <string>

#include "base/counters.h"
#include "chronolith/env.h"
#include "chronolith/status.h"

namespace chronolith {

// Grows before the memory does that it stands for, and gives back all of it when it ends. Thread safety: one thread at a time.
class MemoryShare {
 public:
  // `beside`: what the same piece of work holds of the budget by other means, for that long. `gauge`: counts what is taken, too;
  // null: none.
  explicit MemoryShare(MemoryBudget* budget, std::uint64_t beside = 0, SharedCounter* gauge = nullptr) noexcept
      : budget_(budget), gauge_(gauge), beside_(beside) {}
  ~MemoryShare() { ShrinkTo(0); }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  // False, and nothing taken, where the budget does not have it.
  [[nodiscard]] bool Grow(std::uint64_t bytes) noexcept {
    if (!budget_->TryReserve(bytes)) {
      const std::uint64_t own = beside_ + bytes_, limit = budget_->limit_bytes();
      hopeless_ = own > limit || bytes > limit - own;
      return false;
    }
    Count(bytes);
    return true;
  }
  // To `bytes` in all. One that holds more keeps it.
  [[nodiscard]] bool GrowTo(std::uint64_t bytes) noexcept { return bytes <= bytes_ || Grow(bytes - bytes_); }
  // Also beyond the budget: of what is there already.
  void ForceGrow(std::uint64_t bytes) noexcept {
    budget_->ForceReserve(bytes);
    Count(bytes);
  }
  void ShrinkTo(std::uint64_t bytes) noexcept {
    if (bytes >= bytes_) return;
    budget_->Release(bytes_ - bytes);
    if (gauge_ != nullptr) gauge_->Sub(bytes_ - bytes);
    bytes_ = bytes;
  }

  // What was refused last would be refused also if nobody else held anything: to try again is of no use.
  bool hopeless() const { return hopeless_; }
  // What was refused last: kFailedPrecondition where it is hopeless, else kResourceExhausted.
  Status refusal() const {
    if (!hopeless_) return ResourceExhausted("other requests have taken the memory that there is for them");
    return FailedPrecondition(
        "it takes more memory than the " + std::to_string(limit_bytes()) +
        " bytes that there are for all requests together; raise that limit (chronolithd: --max-in-flight-bytes)");
  }

  // Another one of the same budget, for a part of the work.
  MemoryShare Another() const noexcept { return MemoryShare(budget_, beside_ + bytes_, gauge_); }

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t limit_bytes() const { return budget_->limit_bytes(); }

 private:
  void Count(std::uint64_t bytes) noexcept {
    if (gauge_ != nullptr) gauge_->Add(bytes);
    bytes_ += bytes;
  }

  MemoryBudget* const budget_;
  SharedCounter* const gauge_;
  const std::uint64_t beside_;
  std::uint64_t bytes_ = 0;
  bool hopeless_ = false;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_MEMORY_SHARE_H_

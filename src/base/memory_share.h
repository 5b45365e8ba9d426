// MemoryShare: what one piece of work holds of a MemoryBudget.
#ifndef CHRONOLITH_BASE_MEMORY_SHARE_H_
#define CHRONOLITH_BASE_MEMORY_SHARE_H_

#include <cstdint>

#include "chronolith/env.h"

namespace chronolith {

// Grows before the memory does that it stands for, and gives back all of it when it ends. Thread safety: one thread at a time.
class MemoryShare {
 public:
  explicit MemoryShare(MemoryBudget* budget) noexcept : budget_(budget) {}
  ~MemoryShare() { ShrinkTo(0); }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  // False, and nothing taken, where the budget does not have it.
  [[nodiscard]] bool Grow(std::uint64_t bytes) noexcept {
    if (!budget_->TryReserve(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  // To `bytes` in all. One that holds more keeps it.
  [[nodiscard]] bool GrowTo(std::uint64_t bytes) noexcept { return bytes <= bytes_ || Grow(bytes - bytes_); }
  void ShrinkTo(std::uint64_t bytes) noexcept {
    if (bytes >= bytes_) return;
    budget_->Release(bytes_ - bytes);
    bytes_ = bytes;
  }

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t limit_bytes() const { return budget_->limit_bytes(); }

 private:
  MemoryBudget* const budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_MEMORY_SHARE_H_

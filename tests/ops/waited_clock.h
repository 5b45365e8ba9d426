// A clock that stands still but for waits, which take no time.
#ifndef CHRONOLITH_TESTS_OPS_WAITED_CLOCK_H_
#define CHRONOLITH_TESTS_OPS_WAITED_CLOCK_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "ops/context.h"

namespace chronolith::ops {

// Thread safety: safe.
class WaitedClock : public OpsClock {
 public:
  explicit WaitedClock(std::function<void()> on_wait = nullptr) : on_wait_(std::move(on_wait)) {}
  std::uint64_t NowNanos() override { return kStart + waited_; }
  void Sleep(std::uint64_t nanos) override {
    waited_ += nanos;
    ++waits_;
    if (on_wait_) on_wait_();
  }
  std::uint64_t waited() const { return waited_; }  // nanoseconds
  std::uint64_t waits() const { return waits_; }

 private:
  static constexpr std::uint64_t kStart = 1'000'000'000'000;
  const std::function<void()> on_wait_;
  std::atomic<std::uint64_t> waited_{0};
  std::atomic<std::uint64_t> waits_{0};
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_TESTS_OPS_WAITED_CLOCK_H_

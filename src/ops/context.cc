#include "ops/context.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/counters.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kLookNanos = 100'000'000;  // between two looks at an interruption

class SystemClock : public OpsClock {
 public:
  std::uint64_t NowNanos() override { return chronolith::NowNanos(); }
  void Sleep(std::uint64_t nanos) override { std::this_thread::sleep_for(std::chrono::nanoseconds(nanos)); }
};

}  // namespace

OpsClock* SystemOpsClock() {
  static SystemClock clock;
  return &clock;
}

Status OpsContext::WaitUntil(std::uint64_t nanos) const {
  while (true) {
    if (Status s = CheckCancelled(); !s.ok()) return s;
    const std::uint64_t now = clock->NowNanos();
    if (now >= nanos) return Status::Ok();
    clock->Sleep(std::min(nanos - now, kLookNanos));
  }
}

}  // namespace chronolith::ops

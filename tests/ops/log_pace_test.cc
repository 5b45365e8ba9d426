#include "ops/log_pace.h"

#include <gtest/gtest.h>

#include <thread>

namespace chronolith::ops {
namespace {

constexpr Timestamp kStart = 1'700'000'000'000;

TEST(LogPace, NobodyGetsFurtherAheadThanItMay) {
  LogPace pace;
  pace.Expect(2);
  const std::size_t a = pace.Enter();
  EXPECT_EQ(pace.Horizon(a), kMinTimestamp) << "b is not there yet";
  const std::size_t b = pace.Enter();
  EXPECT_EQ(pace.Horizon(a), kMinTimestamp) << "b has said nothing yet";
  pace.Move(b, kStart);
  EXPECT_EQ(pace.Horizon(a), kStart + LogPace::kAheadMs);
  pace.Move(b, kStart - 1'000'000);
  EXPECT_EQ(pace.Horizon(a), kStart - 1'000'000 + LogPace::kAheadMs) << "late samples";
  pace.Leave(b);
  EXPECT_EQ(pace.Horizon(a), kMaxTimestamp) << "alone";
}

TEST(LogPace, WhoWaitsGoesOnWhenTheOtherMovesLeavesOrAllIsCancelled) {
  LogPace pace;
  const std::size_t a = pace.Enter();
  const std::size_t b = pace.Enter();
  Status outcome = UnknownOutcome("not yet");
  {
    std::thread waiter([&] { outcome = pace.Await(a, kStart, nullptr); });
    pace.Move(b, kStart);
    waiter.join();
    EXPECT_EQ(outcome, Status::Ok());
  }
  {
    std::thread waiter([&] { outcome = pace.Await(a, kStart + 10 * LogPace::kAheadMs, nullptr); });
    pace.Leave(b);
    waiter.join();
    EXPECT_EQ(outcome, Status::Ok());
  }
  (void)pace.Enter();
  std::atomic<bool> cancel = false;
  std::thread waiter([&] { outcome = pace.Await(a, kStart, &cancel); });
  cancel = true;
  waiter.join();
  EXPECT_EQ(outcome.code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace chronolith::ops

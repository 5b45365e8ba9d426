#include "ops/log_pace.h"

#include <gtest/gtest.h>

#include <thread>

namespace chronolith::ops {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000;

TEST(LogPace, NobodyGetsFurtherAheadThanItMay) {
  LogPace pace;
  const std::size_t a = pace.Enter();
  EXPECT_TRUE(pace.MayGo(a, kStart)) << "alone";
  const std::size_t b = pace.Enter();
  EXPECT_FALSE(pace.MayGo(a, kStart)) << "b has said nothing yet";
  pace.Move(b, kStart);
  EXPECT_TRUE(pace.MayGo(a, kStart + LogPace::kAheadMs));
  EXPECT_FALSE(pace.MayGo(a, kStart + LogPace::kAheadMs + 1));
  pace.Move(a, kStart);
  EXPECT_TRUE(pace.MayGo(b, kStart - 1'000'000)) << "behind is no bound";
  pace.Leave(b);
  EXPECT_TRUE(pace.MayGo(a, kStart + 1'000'000));
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
    std::thread waiter([&] { outcome = pace.Await(a, kStart + 1'000'000, nullptr); });
    pace.Leave(b);
    waiter.join();
    EXPECT_EQ(outcome, Status::Ok());
  }
  (void)pace.Enter();
  std::atomic<bool> cancel = false;
  std::thread waiter([&] { outcome = pace.Await(a, kStart + 2'000'000, &cancel); });
  cancel = true;
  waiter.join();
  EXPECT_EQ(outcome.code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace chronolith::ops

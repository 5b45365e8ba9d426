// What keeps an operation below so many bytes a second, by a clock that only waiting moves.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <string>

#include "ops/file_copy.h"
#include "ops/process_pace.h"
#include "tests/ops/waited_clock.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST(Pace, TakesTheTimeOfItsBytes) {
  WaitedClock clock;
  OpsContext context;
  context.clock = &clock;
  Pace pace(context, 1000);
  for (int i = 1; i <= 10; ++i) {
    ASSERT_TRUE(pace.Pass(500).ok());
    EXPECT_EQ(clock.waited(), i * kSecond / 2);
  }
  Pace unbound(context, 0);
  ASSERT_TRUE(unbound.Pass(1ULL << 40).ok());
  EXPECT_EQ(clock.waited(), 5 * kSecond);
}

TEST(Pace, IsCancelledWhileItWaits) {
  std::atomic<bool> cancelled{false};
  WaitedClock clock([&] { cancelled = true; });
  OpsContext context;
  context.clock = &clock;
  context.cancelled = &cancelled;
  EXPECT_EQ(Pace(context, 1).Pass(1'000'000).code(), StatusCode::kCancelled);
  EXPECT_EQ(clock.waits(), 1U);
  EXPECT_LE(clock.waited(), kSecond);
}

TEST(ProcessPace, CountsWhatTheProcessReadsAndWrites) {
  const testing_support::TempDirectory directory;
  WaitedClock clock;
  OpsContext context;
  context.clock = &clock;
  const Result<ProcessPace> pace = ProcessPace::Start(context, 1 << 20);
  ASSERT_TRUE(pace.ok()) << pace.status().ToString();
  const std::string file = directory / "file";
  std::ofstream(file, std::ios::binary) << std::string(8 << 20, 'x');
  EXPECT_TRUE(pace->Owes());
  ASSERT_TRUE(pace->Wait().ok());
  EXPECT_GE(clock.waited(), 8 * kSecond);
  Pace none(context, 0);
  ASSERT_TRUE(ChecksumOfFile(file, 8 << 20, &none).ok());
  ASSERT_TRUE(pace->Wait().ok());
  EXPECT_GE(clock.waited(), 16 * kSecond);
  const Result<ProcessPace> unbound = ProcessPace::Start(context, 0);
  ASSERT_TRUE(unbound.ok());
  EXPECT_FALSE(unbound->Owes());
}

}  // namespace
}  // namespace chronolith::ops

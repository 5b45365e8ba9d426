#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>
#include <vector>

#include "chronolith/env.h"

namespace chronolith {
namespace {

TEST(MemoryBudget, GivesExactlyItsLimit) {
  MemoryBudget budget(100);
  EXPECT_TRUE(budget.TryReserve(60));
  EXPECT_TRUE(budget.TryReserve(40));
  EXPECT_FALSE(budget.TryReserve(1));
  EXPECT_TRUE(budget.TryReserve(0));
  EXPECT_EQ(budget.used_bytes(), 100U);
  budget.Release(1);
  EXPECT_FALSE(budget.TryReserve(2));
  EXPECT_EQ(budget.used_bytes(), 99U) << "a refused reservation takes nothing";
  EXPECT_TRUE(budget.TryReserve(1));
}

TEST(MemoryBudget, RefusesSumsThatWouldWrapAround) {
  MemoryBudget budget(100);
  ASSERT_TRUE(budget.TryReserve(10));
  EXPECT_FALSE(budget.TryReserve(std::numeric_limits<std::uint64_t>::max()));
  EXPECT_FALSE(budget.TryReserve(std::numeric_limits<std::uint64_t>::max() - 9));
  EXPECT_EQ(budget.used_bytes(), 10U);
}

TEST(MemoryBudget, GivesNothingWhileForcedPastItsLimit) {
  MemoryBudget budget(100);
  budget.ForceReserve(150);
  EXPECT_FALSE(budget.TryReserve(0));
  EXPECT_FALSE(budget.TryReserve(1));
  budget.Release(100);
  EXPECT_TRUE(budget.TryReserve(50));
}

TEST(MemoryBudget, IsNeverOverdrawnByThreads) {
  MemoryBudget budget(1000);
  std::atomic<std::uint64_t> held{0};
  std::atomic<bool> overdrawn{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        if (!budget.TryReserve(300)) continue;
        if (held.fetch_add(300) + 300 > 1000) overdrawn = true;
        held.fetch_sub(300);
        budget.Release(300);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(overdrawn);
  EXPECT_EQ(budget.used_bytes(), 0U);
}

}  // namespace
}  // namespace chronolith

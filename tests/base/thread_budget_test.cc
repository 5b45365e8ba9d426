#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "chronolith/env.h"
#include "tests/support/sleeps.h"

namespace chronolith {
namespace {

TEST(ThreadBudget, GivesExactlyItsPlaces) {
  ThreadBudget budget(2);
  EXPECT_EQ(budget.threads(), 2);
  EXPECT_TRUE(budget.TryAcquire());
  EXPECT_TRUE(budget.TryAcquire());
  EXPECT_FALSE(budget.TryAcquire());
  EXPECT_EQ(budget.busy(), 2);
  budget.Release();
  EXPECT_TRUE(budget.TryAcquire());
  EXPECT_EQ(ThreadBudget(0).threads(), 1) << "somebody must be able to work";
}

TEST(ThreadBudget, AWaiterGetsThePlaceThatIsFreed) {
  ThreadBudget budget(1);
  ASSERT_TRUE(budget.TryAcquire());
  std::atomic<pid_t> id{0};
  bool got = false;
  std::thread waiter([&] {
    id = gettid();
    got = budget.AcquireUntil(std::chrono::steady_clock::now() + std::chrono::hours(24));
  });
  testing_support::AwaitSleep(id);  // from here on it is only the release that ends the wait
  EXPECT_FALSE(budget.TryAcquire());
  budget.Release();
  waiter.join();
  EXPECT_TRUE(got);
  EXPECT_EQ(budget.busy(), 1);
  EXPECT_FALSE(budget.AcquireUntil(std::chrono::steady_clock::now() - std::chrono::seconds(1)));
}

TEST(ThreadBudget, IsNeverOverdrawnByThreads) {
  ThreadBudget budget(3);
  std::atomic<int> working{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        ASSERT_TRUE(budget.AcquireUntil(std::chrono::steady_clock::now() + std::chrono::hours(1)));
        const int now = working.fetch_add(1) + 1;
        for (int seen = most.load(); now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        working.fetch_sub(1);
        budget.Release();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most.load(), 3);
  EXPECT_EQ(budget.busy(), 0);
}

}  // namespace
}  // namespace chronolith

// Which thread a short handler runs on, and who serves the others where it waits.
#include "server/inline_runner.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <thread>

namespace chronolith::server {
namespace {

constexpr std::chrono::hours kAlwaysOften{24 * 365};
constexpr std::chrono::hours kNever{24 * 365};
constexpr std::chrono::milliseconds kOften{1};

// The thread of the test is that of the loop.
class InlineRunnerTest : public ::testing::Test {
 protected:
  void Start(std::size_t workers, std::size_t queue, std::chrono::milliseconds seldom = kAlwaysOften,
             std::chrono::milliseconds look = kNever) {
    workers_.emplace(workers, queue);
    runner_.emplace(InlineRunner::Loop{.post =
                                           [this](InlineRunner::Work work) {
                                             MutexLock lock(&mu_);
                                             posted_.push_back(std::move(work));
                                             ++posts_;
                                           },
                                       .serve = [this](std::chrono::milliseconds) { serve_(); }},
                    &*workers_, seldom, look);
    // The first comes after nothing: to a worker.
    std::latch ran(1);
    ASSERT_TRUE(runner_->Run([&] {
      EXPECT_NE(std::this_thread::get_id(), loop_);
      ran.count_down();
    }));
    ran.wait();
    AwaitWorkers(workers);
  }
  // Until they have ended what they ran: each of them enters.
  void AwaitWorkers(std::size_t workers) {
    const auto all = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(workers) + 1);
    for (std::size_t i = 0; i < workers; ++i) {
      while (!workers_->TrySubmit([all] { all->arrive_and_wait(); })) std::this_thread::yield();
    }
    all->arrive_and_wait();
  }
  bool Posted() {
    MutexLock lock(&mu_);
    return !posted_.empty();
  }
  // Since the last time.
  void AwaitPosts(int n) {
    MutexLock lock(&mu_);
    while (posts_ < n) {
      mu_.Unlock();
      std::this_thread::yield();
      mu_.Lock();
    }
    posts_ = 0;
  }
  void RunLoop() {
    while (true) {
      InlineRunner::Work work;
      {
        MutexLock lock(&mu_);
        if (posted_.empty()) return;
        work = std::move(posted_.front());
        posted_.pop_front();
      }
      work();
    }
  }
  void TearDown() override {
    if (runner_) runner_->Stop();
    if (workers_) workers_->Stop();
  }

  const std::thread::id loop_ = std::this_thread::get_id();
  Mutex mu_;
  std::deque<InlineRunner::Work> posted_ ABSL_GUARDED_BY(mu_);
  int posts_ ABSL_GUARDED_BY(mu_) = 0;
  std::function<void()> serve_ = [] {};
  std::optional<WorkerPool> workers_;
  std::optional<InlineRunner> runner_;
};

TEST_F(InlineRunnerTest, WhatComesAloneRunsOnTheLoop) {
  Start(2, 2);
  for (int i = 0; i < 3; ++i) {
    std::thread::id on;
    ASSERT_TRUE(runner_->Run([&] { on = std::this_thread::get_id(); }));
    EXPECT_EQ(on, std::thread::id()) << "before the loop came to it";
    RunLoop();
    EXPECT_EQ(on, loop_);
  }
}

TEST_F(InlineRunnerTest, WhatComesSeldomRunsOnAWorker) {
  Start(1, 1, std::chrono::milliseconds(0));
  std::latch ran(1);
  std::thread::id on;
  ASSERT_TRUE(runner_->Run([&] {
    on = std::this_thread::get_id();
    ran.count_down();
  }));
  EXPECT_FALSE(Posted());
  ran.wait();
  EXPECT_NE(on, loop_);
  AwaitWorkers(1);
}

TEST_F(InlineRunnerTest, ThreeAndMoreAreLeftToWorkers) {
  for (const int together : {2, 3, 4}) {
    Start(4, 4);
    std::latch all(together + 1);
    std::atomic<int> here{0}, elsewhere{0};
    for (int i = 0; i < together; ++i) {
      ASSERT_TRUE(runner_->Run([&] {
        ++(std::this_thread::get_id() == loop_ ? here : elsewhere);
        all.count_down();
        if (std::this_thread::get_id() != loop_) all.wait();  // none of them ends before all run
      }));
    }
    RunLoop();
    all.arrive_and_wait();
    EXPECT_EQ(here, together == 2 ? 2 : 0);
    EXPECT_EQ(here + elsewhere, together);
    TearDown();
  }
}

TEST_F(InlineRunnerTest, WhileWorkersHaveTwoTheNextGoesToAWorker) {
  Start(4, 4);
  std::latch entered(3), go(1), ran(1);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(runner_->Run([&] {
      entered.count_down();
      go.wait();
    }));
  }
  RunLoop();
  entered.wait();
  std::thread::id on;
  ASSERT_TRUE(runner_->Run([&] {
    on = std::this_thread::get_id();
    ran.count_down();
  }));
  EXPECT_FALSE(Posted());
  ran.wait();
  EXPECT_NE(on, loop_);
  go.count_down();
  AwaitWorkers(4);
}

TEST_F(InlineRunnerTest, IsToldWhereWorkersTakeNoMore) {
  Start(2, 1);
  std::latch entered(2), go(1);
  const auto block = [&] {
    entered.count_down();
    go.wait();
  };
  for (int i = 0; i < 2; ++i) {
    while (!workers_->TrySubmit(block)) std::this_thread::yield();
  }
  entered.wait();
  ASSERT_TRUE(workers_->TrySubmit([] {}));  // takes the place in the queue
  // All were taken before anybody knew: they run here.
  int here = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(runner_->Run([&] { here += std::this_thread::get_id() == loop_ ? 1 : 0; }));
  }
  RunLoop();
  EXPECT_EQ(here, 3);
  // From within a handler on the loop: that one is for a worker, and none is free.
  std::optional<bool> taken;
  ASSERT_TRUE(runner_->Run([&] { taken = runner_->Run([] { FAIL() << "nobody took it"; }); }));
  RunLoop();
  EXPECT_EQ(taken, false);
  go.count_down();
  AwaitWorkers(2);
}

TEST_F(InlineRunnerTest, TheStandbyServesWhileAHandlerWaits) {
  struct Round {
    std::latch served{1};
    std::atomic<bool> begun{false};
    std::thread::id other;
  };
  std::array<Round, 3> rounds;
  std::atomic<Round*> now{nullptr};
  serve_ = [&] {
    Round* const round = now.load();
    if (round == nullptr || round->begun.exchange(true)) return;
    // What it reads meanwhile goes to a worker.
    ASSERT_TRUE(runner_->Run([round] {
      round->other = std::this_thread::get_id();
      round->served.count_down();
    }));
  };
  Start(1, 1, kAlwaysOften, kOften);
  for (Round& round : rounds) {
    now = &round;
    ASSERT_TRUE(runner_->Run([&] { round.served.wait(); }));
    RunLoop();  // returns because somebody serves
    EXPECT_NE(round.other, loop_);
    AwaitPosts(2);  // the second: the standby serves no more
    RunLoop();
    AwaitWorkers(1);
  }
  runner_->Stop();
}

TEST_F(InlineRunnerTest, WhatWasToRunBehindAHandlerThatWaitsGoesToAWorker) {
  Start(1, 1, kAlwaysOften, kOften);
  std::latch ran(1);
  std::thread::id on;
  ASSERT_TRUE(runner_->Run([&] { ran.wait(); }));
  ASSERT_TRUE(runner_->Run([&] {
    on = std::this_thread::get_id();
    ran.count_down();
  }));
  RunLoop();
  EXPECT_NE(on, loop_);
  AwaitWorkers(1);
}

TEST_F(InlineRunnerTest, StopsWithoutHavingRunAnything) {
  workers_.emplace(1, 1);
  runner_.emplace(InlineRunner::Loop{.post = [](const InlineRunner::Work&) {}, .serve = [](std::chrono::milliseconds) {}},
                  &*workers_, kAlwaysOften);
  runner_->Stop();
  runner_->Stop();
}

}  // namespace
}  // namespace chronolith::server

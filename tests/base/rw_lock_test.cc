#include "base/rw_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/sleeps.h"

namespace chronolith {
namespace {

TEST(RwLock, AWriterIsAlone) {
  for (const std::size_t threads : {2U, 8U, 32U}) {
    RwLock lock;
    std::uint64_t a = 0;  // written together, under the lock
    std::uint64_t b = 0;
    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> writes{0};
    std::vector<std::thread> pool;
    for (std::size_t i = 0; i < threads; ++i) {
      pool.emplace_back([&, i] {
        for (std::size_t k = 0; k < 20'000 / threads; ++k) {
          const bool try_first = (k + i) % 2 == 0;
          if ((k + i) % 3 != 0) {
            if (!try_first || !lock.ReaderTryLock()) lock.ReaderLock();
            if (a != b) torn.fetch_add(1);
            if (k % 64 == 0) std::this_thread::yield();  // others shall meet it taken
            lock.ReaderUnlock();
          } else {
            if (!try_first || !lock.TryLock()) lock.Lock();
            ++a;
            if (k % 64 == 0) std::this_thread::yield();
            ++b;
            lock.Unlock();
            writes.fetch_add(1);
          }
        }
      });
    }
    for (std::thread& t : pool) t.join();
    EXPECT_EQ(torn, 0U) << threads << " threads";
    EXPECT_EQ(a, writes) << threads << " threads";
  }
}

TEST(RwLock, TryFailsWhereItWouldWait) {
  RwLock lock;
  lock.Lock();
  EXPECT_FALSE(lock.TryLock());
  EXPECT_FALSE(lock.ReaderTryLock());
  lock.Unlock();
  lock.ReaderLock();
  EXPECT_FALSE(lock.TryLock());
  EXPECT_TRUE(lock.ReaderTryLock());
  lock.ReaderUnlock();
  EXPECT_FALSE(lock.TryLock());
  lock.ReaderUnlock();
  EXPECT_TRUE(lock.TryLock());
  lock.Unlock();
}

TEST(RwLock, AWriterGivesUpAtItsDeadline) {
  const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::milliseconds(2); };
  RwLock lock;
  EXPECT_TRUE(lock.LockUntil(soon()));
  EXPECT_FALSE(lock.LockUntil(soon()));
  EXPECT_FALSE(lock.LockUntil({}));
  lock.Unlock();
  lock.ReaderLock();
  EXPECT_FALSE(lock.LockUntil(soon()));
  EXPECT_TRUE(lock.ReaderTryLock()) << "who gave up keeps no readers out";
  lock.ReaderUnlock();
  lock.ReaderUnlock();
  EXPECT_TRUE(lock.LockUntil({})) << "a free lock is taken whatever the time";
  lock.Unlock();
}

// A release wakes one sleeper. Where that one's deadline passes meanwhile and somebody else has taken the lock, the other sleeper
// must be woken all the same (else this does not end).
TEST(RwLock, WhoGivesUpLeavesNobodyAsleep) {
  int given_up = 0;
  for (int round = 0; round < 100; ++round) {
    RwLock lock;
    lock.Lock();
    const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    std::atomic<pid_t> id{0};
    std::atomic<bool> taken{false};
    std::atomic<bool> done{false};
    std::thread hurried([&] {
      id = gettid();
      taken = lock.LockUntil(deadline);
      if (taken) lock.Unlock();
      done = true;
    });
    while (!done && (id == 0 || !testing_support::Sleeps(id))) std::this_thread::yield();
    std::atomic<pid_t> other{0};
    std::thread patient([&] {
      other = gettid();
      lock.Lock();
      lock.Unlock();
    });
    testing_support::AwaitSleep(other);
    while (std::chrono::steady_clock::now() < deadline - std::chrono::microseconds(round % 50)) {
    }
    lock.Unlock();
    if (lock.TryLock()) {
      hurried.join();
      given_up += taken ? 0 : 1;
      lock.Unlock();
    } else {
      hurried.join();
    }
    patient.join();
  }
  EXPECT_GT(given_up, 0);
}

// Readers that overlap all the time leave no moment without a reader: the writer must keep new ones out.
TEST(RwLock, AWriterGetsInPastReadersWithoutEnd) {
  RwLock lock;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        lock.ReaderLock();
        reads.fetch_add(1);
        std::this_thread::yield();
        lock.ReaderUnlock();
      }
    });
  }
  while (reads == 0) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    lock.Lock();
    lock.Unlock();
  }
  stop = true;
  for (std::thread& t : readers) t.join();
}

TEST(RwLock, ReadersGetInPastWritersWithoutEnd) {
  RwLock lock;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> writes{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      while (!stop) {
        lock.Lock();
        writes.fetch_add(1);
        std::this_thread::yield();
        lock.Unlock();
      }
    });
  }
  while (writes == 0) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    lock.ReaderLock();
    lock.ReaderUnlock();
  }
  stop = true;
  for (std::thread& t : writers) t.join();
}

// The next owner may destroy the lock while the one before is still on its way out of Unlock (ASan and TSan would tell).
TEST(RwLock, IsNotTouchedOnceItIsLetGo) {
  for (int i = 0; i < 300; ++i) {
    auto lock = std::make_unique<RwLock>();
    lock->Lock();
    std::thread other([&] {
      lock->Lock();
      lock->Unlock();
      lock.reset();
    });
    if (i % 2 == 0) std::this_thread::yield();
    lock->Unlock();
    other.join();
  }
}

}  // namespace
}  // namespace chronolith

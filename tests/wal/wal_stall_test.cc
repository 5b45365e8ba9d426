// A log whose engine has no room: groups are kept and written later, and nobody is held past a deadline. No test here depends on
// how long a stall lasts: the test ends it when callers have returned.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/seed.h"
#include "tests/wal/wal_fixture.h"

namespace chronolith {
namespace {

Deadline Soon() { return std::chrono::steady_clock::now() + std::chrono::milliseconds(30); }

template <typename Condition>
void Await(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

// Where callers are patient for an attempt only, one that is under way when room comes back may still find none.
void AwaitLogged(TestWal* log) {
  Await([&] { return log->wal->WaitLogged(log->wal->Ticket(), kNoDeadline).ok(); });
}

TEST(WalStall, NobodyIsHeldPastItsDeadlineAndTheWriteGoesOnAfterIt) {
  HostileEngine hostile;
  TestWal log(&hostile, 2);
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  std::vector<LogContents> written(2);
  for (int i = 0; i < 6; ++i) {
    const ShardId shard = static_cast<ShardId>(i % 2);
    written[shard][log.Put(shard, 100 + i)] = 100 + i;
    const Status status = log.wal->WaitLogged(log.wal->Ticket(), i % 3 == 0 ? Past() : Soon());
    EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status.ToString();
    EXPECT_NE(status.message().find("no room"), std::string::npos) << status.ToString();
  }
  EXPECT_FALSE(log.wal->failed());
  EXPECT_TRUE(log.wal->stalled());
  StorageStats stats;
  log.wal->FillStats(&stats);
  EXPECT_EQ(stats.stalled_groups, 1U);
  EXPECT_EQ(log.wal->shard(0).logged_lsn(), 1U) << "only the epoch record";
  hostile.no_room = false;
  EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  EXPECT_FALSE(log.wal->stalled());
  for (ShardId shard = 0; shard < 2; ++shard) {
    LogContents contents = log.Read(shard);
    contents.erase(1);  // the epoch record
    EXPECT_EQ(contents, written[shard]);
  }
}

TEST(WalStall, AGroupThatNobodyWaitsForAnyMoreIsWrittenAllTheSame) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  const Lsn lsn = log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  EXPECT_EQ(log.wal->WaitLogged(token, Past()).code(), StatusCode::kDeadlineExceeded);
  std::atomic<int> told{0};
  log.Watch(token, AckLevel::kLogged, [&](Status status) { told = status.ok() ? 1 : 2; });
  EXPECT_EQ(told, 0);
  hostile.no_room = false;
  Await([&] { return log.wal->shard(0).logged_lsn() >= lsn && told != 0; });
  EXPECT_EQ(told, 1);
}

TEST(WalStall, ThoseWhoSleptBeforeItAreWokenAfterIt) {
  constexpr int kFollowers = 6;
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.writes.Close();
  std::thread leader([&] {
    log.Put(0, 1);
    EXPECT_EQ(log.wal->WaitLogged(log.wal->Ticket(), Past()).code(), StatusCode::kDeadlineExceeded);
  });
  hostile.writes.AwaitHeld(1);
  std::vector<std::thread> followers;
  for (int i = 0; i < kFollowers; ++i) {
    followers.emplace_back([&, i] {
      log.Put(0, 10 + i);
      EXPECT_TRUE(log.wal->Wait(log.wal->Ticket(), i % 2 == 0 ? AckLevel::kLogged : AckLevel::kSynced, kNoDeadline).ok());
    });
  }
  Await([&] { return log.wal->shard(0).last_lsn() == 2 + kFollowers; });
  hostile.no_room = true;
  hostile.writes.Open();
  leader.join();
  EXPECT_TRUE(log.wal->stalled());
  hostile.no_room = false;
  for (std::thread& follower : followers) follower.join();
  EXPECT_EQ(log.Read(0).size(), 2U + kFollowers);
}

TEST(WalStall, AFullRingBehindItIsRefusedAndNothingTakenIsLost) {
  std::mt19937_64 random(TestSeed());
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.ring_bytes = 64 << 10, .backpressure_wait_ms = 1});
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  std::uint64_t taken = 1;  // the epoch record
  Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    std::string record;
    AppendDeleteRecord({0, 1}, std::string(1000, static_cast<char>(random())), &record);
    if (log.Write(0, record, kNoDeadline, &status) != 0) ++taken;
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  EXPECT_GT(taken, 60U);
  hostile.no_room = false;
  AwaitLogged(&log);
  EXPECT_TRUE(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).ok());
  EXPECT_EQ(log.Read(0).size(), taken);
}

TEST(WalStall, AWaitWithoutADeadlineGivesUpAndLeavesWhatIsQueued) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.backpressure_wait_ms = 1});
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  const Lsn lsn = log.Put(0, 7);
  for (int i = 0; i < 2; ++i) {
    const Status status = log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline);
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  }
  EXPECT_FALSE(log.wal->failed());
  hostile.no_room = false;
  AwaitLogged(&log);
  EXPECT_TRUE(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).ok());
  EXPECT_GE(log.wal->shard(0).synced_lsn(), lsn);
}

// The committer is held in the engine with its next attempt: who comes now sleeps behind a leader, not until the time to retry.
TEST(WalStall, NobodyWithoutADeadlineIsHeldByWhoTriesAgain) {
  constexpr int kWaiters = 6;
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.backpressure_wait_ms = 1});
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  EXPECT_EQ(log.wal->WaitLogged(token, Past()).code(), StatusCode::kDeadlineExceeded);
  hostile.writes.Close();
  hostile.writes.AwaitHeld(1);
  std::vector<std::thread> waiters;
  for (int i = 0; i < kWaiters; ++i) {
    waiters.emplace_back([&] {
      const Status status = log.wal->WaitLogged(token, kNoDeadline);
      EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
    });
  }
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_TRUE(log.wal->stalled());
  hostile.no_room = false;
  hostile.writes.Open();
  AwaitLogged(&log);
}

// The leader that finds no room does not come back before the others have given up: nobody may count on it to be woken.
TEST(WalStall, NobodyWithoutADeadlineIsHeldByWhoFindsNoRoom) {
  constexpr int kRounds = 20;
  constexpr int kWaiters = 6;
  HostileEngine hostile;
  std::atomic<int> returned{0};
  TestWal log(&hostile, 1, {.backpressure_wait_ms = 1, .on_stalled = [&] { Await([&] { return returned >= kWaiters - 1; }); }});
  ASSERT_TRUE(log.Open().ok());
  for (int round = 0; round < kRounds; ++round) {
    returned = 0;
    hostile.no_room = true;
    log.Put(0, round);
    const CommitToken token = log.wal->Ticket();
    std::atomic<int> ready{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.emplace_back([&] {
        ++ready;
        Await([&] { return ready == kWaiters; });
        const Status status = log.wal->WaitLogged(token, kNoDeadline);
        EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
        ++returned;
      });
    }
    for (std::thread& waiter : waiters) waiter.join();
    hostile.no_room = false;
    AwaitLogged(&log);
  }
}

constexpr std::int64_t kVeryPatient = 3'600'000;

TEST(WalStall, WhoIsPatientIsToldThatRoomWasLookedForInVain) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.backpressure_wait_ms = kVeryPatient});
  ASSERT_TRUE(log.Open().ok());
  log.wal->NoteNoRoom(ResourceExhausted("nobody waits"));
  hostile.no_room = true;
  const Lsn lsn = log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  const Status before = log.wal->WaitLogged(token, Soon());
  EXPECT_EQ(before.message().find("nobody waits"), std::string::npos) << before.ToString();
  ASSERT_TRUE(log.wal->stalled());
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&, i] {
      const Status status = log.wal->Wait(token, i % 2 == 0 ? AckLevel::kLogged : AckLevel::kSynced, kNoDeadline);
      EXPECT_EQ(status, ResourceExhausted("the disk is full"));
    });
  }
  log.wal->NoteNoRoom(ResourceExhausted("the disk is full"));
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_FALSE(log.wal->failed());
  hostile.no_room = false;
  AwaitLogged(&log);
  EXPECT_GE(log.wal->shard(0).logged_lsn(), lsn);
  hostile.no_room = true;
  log.Put(0, 8);
  const Status later = log.wal->WaitLogged(log.wal->Ticket(), Soon());
  EXPECT_EQ(later.message().find("the disk is full"), std::string::npos) << "of another stall: " << later.ToString();
  hostile.no_room = false;
  AwaitLogged(&log);
}

TEST(WalStall, WhoIsPatientLeavesWhenCancelledAndSoDoesClosing) {
  HostileEngine hostile;
  std::atomic<bool> cancelled{false};
  TestWal log(&hostile, 1, {.backpressure_wait_ms = kVeryPatient});
  ASSERT_TRUE(log.Open().ok());
  log.wal->HeedCancel(&cancelled);
  hostile.no_room = true;
  log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] { EXPECT_EQ(log.wal->WaitLogged(token, kNoDeadline).code(), StatusCode::kCancelled); });
  }
  Await([&] { return log.wal->stalled(); });
  cancelled = true;
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_FALSE(log.wal->failed());
  EXPECT_FALSE(log.wal->Stop().ok());
  EXPECT_TRUE(log.wal->failed());
}

TEST(WalStall, WhoMakesRoomWaitsNoLongerThanItSays) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.backpressure_wait_ms = kVeryPatient});
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  log.Put(0, 7);
  EXPECT_EQ(log.wal->SyncAll(std::chrono::milliseconds(1)).code(), StatusCode::kResourceExhausted);
  hostile.no_room = false;
  while (!log.wal->SyncAll(std::chrono::milliseconds(1)).ok()) std::this_thread::yield();
}

TEST(WalStall, ClosingGivesUpAndTellsThoseWhoWait) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.backpressure_wait_ms = 1});
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  std::atomic<bool> refused{false};
  log.Watch(token, AckLevel::kLogged, [&](Status status) { refused = status.code() == StatusCode::kUnavailable; });
  log.wal->EndCallbacks();
  EXPECT_TRUE(refused);
  EXPECT_EQ(log.wal->WaitLogged(token, kNoDeadline).code(), StatusCode::kUnavailable);
  EXPECT_FALSE(log.wal->Stop().ok());
}

TEST(WalStall, AFailureEndsIt) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.no_room = true;
  log.Put(0, 7);
  const CommitToken token = log.wal->Ticket();
  EXPECT_EQ(log.wal->WaitLogged(token, Past()).code(), StatusCode::kDeadlineExceeded);
  std::thread waiter([&] { EXPECT_EQ(log.wal->WaitLogged(token, kNoDeadline).code(), StatusCode::kUnavailable); });
  log.wal->Fail(IoError("the disk is gone"));
  waiter.join();
  hostile.no_room = false;
  EXPECT_EQ(log.wal->WaitLogged(token, kNoDeadline).code(), StatusCode::kUnavailable) << "what was kept stays unwritten";
}

// Batches are refused each for itself, so that a group is written in parts.
TEST(WalStall, EachShardKeepsItsOrderWhereGroupsAreTakenInParts) {
  constexpr std::uint32_t kShards = 4;
  constexpr int kThreads = 4;
  constexpr int kRecords = 150;
  const std::uint64_t seed = TestSeed();
  HostileEngine hostile({.seed = seed, .stall_probability = 0.2});
  TestWal log(&hostile, kShards, {.ring_bytes = 64 << 10});
  ASSERT_TRUE(log.Open().ok());
  std::vector<std::vector<LogContents>> written(kThreads, std::vector<LogContents>(kShards));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      for (int i = 0; i < kRecords; ++i) {
        const auto shard = static_cast<ShardId>(random() % kShards);
        const std::int64_t value = t * 1'000'000 + i;
        const Lsn lsn = log.Put(shard, value);
        written[static_cast<std::size_t>(t)][shard][lsn] = value;
        const CommitToken token = log.wal->Ticket();
        const auto level = random() % 2 == 0 ? AckLevel::kLogged : AckLevel::kSynced;
        const Status status = log.wal->Wait(token, level, random() % 4 == 0 ? kNoDeadline : Past());
        EXPECT_TRUE(status.ok() || status.code() == StatusCode::kDeadlineExceeded) << status.ToString();
        EXPECT_TRUE(!status.ok() || log.wal->shard(shard).logged_lsn() >= lsn);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).ok());
  StorageStats stats;
  log.wal->FillStats(&stats);
  EXPECT_GT(stats.stalled_groups, 0U);
  for (ShardId shard = 0; shard < kShards; ++shard) {
    LogContents all;
    for (const auto& of_thread : written) all.insert(of_thread[shard].begin(), of_thread[shard].end());
    LogContents contents = log.Read(shard);
    contents.erase(1);
    EXPECT_EQ(contents, all) << "shard " << shard;
  }
}

}  // namespace
}  // namespace chronolith

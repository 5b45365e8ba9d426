#include "wal/sharded_wal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/seed.h"
#include "tests/wal/wal_fixture.h"

namespace chronolith {
namespace {

// Waits, without a clock, for what another thread is about to do.
template <typename Condition>
void Await(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

std::string Noise(std::mt19937_64* random, std::size_t bytes) {
  std::string bitmap(bytes, '\0');
  for (char& c : bitmap) c = static_cast<char>((*random)());
  std::string record;
  AppendDeleteRecord({0, 1}, bitmap, &record);
  return record;
}

TEST(ShardedWAL, LsnsAreDenseAndKeepEachWritersOrder) {
  constexpr std::uint32_t kShards = 4;
  constexpr int kThreads = 4;
  constexpr int kRecords = 1500;
  const std::uint64_t seed = TestSeed();
  HostileEngine hostile;
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
        switch (random() % 8) {
          case 0:
            EXPECT_TRUE(log.wal->WaitSynced(token, kNoDeadline).ok());
            break;
          case 1:
          case 2:
            log.wal->NotifyQueued();
            break;
          case 3:
            break;
          default:
            EXPECT_TRUE(log.wal->WaitLogged(token, kNoDeadline).ok());
            EXPECT_GE(log.wal->shard(shard).logged_lsn(), lsn);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(log.wal->Stop().ok());
  for (ShardId shard = 0; shard < kShards; ++shard) {
    LogContents expected = {{1, -1}};
    for (const auto& of_thread : written) {
      std::int64_t last = -1;
      for (const auto& [lsn, value] : of_thread[shard]) {
        EXPECT_GT(value, last) << "a writer's records keep their order";
        last = value;
        EXPECT_TRUE(expected.emplace(lsn, value).second) << "LSN " << lsn << " was given twice";
      }
    }
    EXPECT_EQ(expected.rbegin()->first, expected.size()) << "dense";
    EXPECT_EQ(log.Read(shard), expected);
    EXPECT_EQ(log.wal->shard(shard).synced_lsn(), expected.size()) << "Stop syncs";
  }
}

TEST(ShardedWAL, WhatQueuesBehindOneCommitGoesOutTogether) {
  constexpr int kFollowers = 8;
  HostileEngine hostile;
  TestWal log(&hostile, 2);
  ASSERT_TRUE(log.Open().ok());
  const int before = hostile.writes.calls();
  hostile.writes.Close();
  std::thread leader([&] {
    log.Put(0, 1);
    EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  });
  hostile.writes.AwaitHeld(1);
  std::vector<std::thread> followers;
  for (int i = 0; i < kFollowers; ++i) {
    followers.emplace_back([&, i] {
      const auto shard = static_cast<ShardId>(i % 2);
      const Lsn lsn = log.Put(shard, 100 + i);
      EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
      EXPECT_GE(log.wal->shard(shard).logged_lsn(), lsn);
    });
  }
  Await([&] { return log.wal->shard(0).last_lsn() + log.wal->shard(1).last_lsn() == kFollowers + 3; });
  EXPECT_EQ(log.wal->shard(1).logged_lsn(), 1U) << "nothing is acknowledged while the engine has not answered";
  hostile.writes.Open();
  leader.join();
  for (std::thread& follower : followers) follower.join();
  EXPECT_EQ(hostile.writes.calls() - before, 2) << "the leader's write, and one for all that queued behind it";
  EXPECT_EQ(log.Read(0).size() + log.Read(1).size(), kFollowers + 3U);
}

TEST(ShardedWAL, GroupsBeyondAnEngineWriteAreSplit) {
  std::mt19937_64 random(TestSeed());
  HostileEngine hostile;
  TestWal log(&hostile, 3, {.ring_bytes = 8 << 20});
  ASSERT_TRUE(log.Open().ok());
  hostile.writes.Close();
  std::thread leader([&] {
    log.Put(0, 1);
    EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  });
  hostile.writes.AwaitHeld(1);
  std::vector<Lsn> last(3);
  for (ShardId shard = 0; shard < 3; ++shard) {
    for (int i = 0; i < 150; ++i) last[shard] = log.Write(shard, Noise(&random, 1 + random() % 45000));
  }
  hostile.writes.Open();
  ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  leader.join();
  for (ShardId shard = 0; shard < 3; ++shard) {
    EXPECT_EQ(log.wal->shard(shard).logged_lsn(), last[shard]);
    EXPECT_EQ(log.Read(shard).size(), last[shard]);
  }
}

TEST(ShardedWAL, LsnsGoOnAfterReopening) {
  HostileEngine hostile;
  TestWal log(&hostile);
  LogContents expected;
  for (int incarnation = 1; incarnation <= 4; ++incarnation) {
    std::vector<LogContents> found;
    const Status status = log.Open(&found);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(found[0], expected);
    expected[expected.size() + 1] = -incarnation;
    for (int i = 0; i < 10; ++i) {
      const std::int64_t value = incarnation * 100 + i;
      expected[log.Put(0, value)] = value;
    }
    EXPECT_EQ(expected.rbegin()->first, expected.size());
    EXPECT_EQ(log.wal->shard(0).epoch(), static_cast<std::uint64_t>(incarnation));
    log.Close();
  }
}

// ---- Deadlines and backpressure ----

TEST(ShardedWAL, AWaitEndsAtItsDeadlineAndTheWriteGoesOn) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.writes.Close();
  std::thread leader([&] {
    log.Put(0, 1);
    EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  });
  hostile.writes.AwaitHeld(1);
  const Lsn lsn = log.Put(0, 2);
  const CommitToken token = log.wal->Ticket();
  EXPECT_EQ(log.wal->WaitLogged(token, Past()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(log.wal->WaitSynced(token, Past()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(log.wal->Wait(token, AckLevel::kQueued, Past()).ok());
  hostile.writes.Open();
  EXPECT_TRUE(log.wal->WaitLogged(token, kNoDeadline).ok());
  EXPECT_TRUE(log.wal->WaitLogged(token, Past()).ok()) << "what is reached needs no waiting";
  leader.join();
  EXPECT_EQ(log.Read(0).at(lsn), 2);
}

TEST(ShardedWAL, AWaitForAnothersSyncEndsAtItsDeadline) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.syncs.Close();
  std::thread syncer([&] {
    log.Put(0, 1);
    EXPECT_TRUE(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).ok());
  });
  hostile.syncs.AwaitHeld(1);
  const Lsn lsn = log.Put(0, 2);
  const CommitToken token = log.wal->Ticket();
  EXPECT_TRUE(log.wal->WaitLogged(token, kNoDeadline).ok()) << "a running sync does not hold commits";
  EXPECT_EQ(log.wal->WaitSynced(token, Past()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_LT(log.wal->shard(0).synced_lsn(), lsn);
  hostile.syncs.Open();
  syncer.join();
  EXPECT_TRUE(log.wal->SyncPast(0, lsn).ok());
  EXPECT_GE(log.wal->shard(0).synced_lsn(), lsn);
  const int calls = hostile.syncs.calls();
  EXPECT_TRUE(log.wal->SyncPast(0, lsn).ok());
  EXPECT_EQ(hostile.syncs.calls(), calls) << "synced once is enough";
}

TEST(ShardedWAL, AFullRingIsBackpressureAndLosesNothing) {
  std::mt19937_64 random(TestSeed());
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.ring_bytes = 64 << 10});
  ASSERT_TRUE(log.Open().ok());
  hostile.writes.Close();
  std::thread leader([&] {
    log.Put(0, 1);
    EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  });
  hostile.writes.AwaitHeld(1);
  Status status;
  std::uint64_t taken = 2;  // the epoch record and the leader's
  while (log.Write(0, Noise(&random, 1000), Past(), &status) != 0) ++taken;
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  EXPECT_NE(status.message().find("shard 0"), std::string::npos) << status.ToString();
  EXPECT_GT(taken, 50U);
  EXPECT_GT(log.Stats().ring_full_waits, 0U);
  EXPECT_GT(log.Stats().ring_bytes_queued, 60000U);
  std::atomic<bool> through{false};
  std::thread waiter([&] {
    EXPECT_NE(log.Write(0, Noise(&random, 5000)), 0U);
    through = true;
  });
  Await([&] { return log.Stats().ring_full_waits == 2; });
  EXPECT_FALSE(through);
  hostile.writes.Open();
  waiter.join();
  leader.join();
  ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  EXPECT_EQ(log.Read(0).size(), taken + 1);
  EXPECT_EQ(log.Stats().ring_bytes_queued, 0U);
}

TEST(ShardedWAL, ARecordLargerThanTheRingIsRefusedAtOnce) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.ring_bytes = 64 << 10});
  ASSERT_TRUE(log.Open().ok());
  const Status status = log.wal->Reserve(0, (64 << 10) + 1, kNoDeadline);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("ring_bytes"), std::string::npos) << status.ToString();
}

TEST(ShardedWAL, QueuedRecordsNeedNobodyToWait) {
  HostileEngine hostile;
  TestWal log(&hostile, 2, {.ring_bytes = 64 << 10});
  ASSERT_TRUE(log.Open().ok());
  std::vector<std::thread> threads;
  for (ShardId t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 800; ++i) {
        EXPECT_NE(log.Write(t % 2, Noise(&random, 500)), 0U);
        log.wal->NotifyQueued();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Await([&] { return log.wal->shard(0).logged_lsn() == 1601 && log.wal->shard(1).logged_lsn() == 801; });
  EXPECT_EQ(log.Read(0).size(), 1601U);
  EXPECT_EQ(log.Read(1).size(), 801U);
}

// ---- Failures ----

TEST(ShardedWAL, AfterAFailedWriteNothingIsAcknowledged) {
  constexpr int kFollowers = 4;
  HostileEngine hostile;
  TestWal log(&hostile, 2);
  ASSERT_TRUE(log.Open().ok());
  const Lsn kept = log.Put(0, 7);
  const CommitToken reached = log.wal->Ticket();
  ASSERT_TRUE(log.wal->WaitSynced(reached, kNoDeadline).ok());

  hostile.writes.Close();
  hostile.factory->FailCall(EngineMethod::kWrite, 1, IoError("no space left"));
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  const auto write_and_wait = [&](ShardId shard, AckLevel level) {
    log.Put(shard, 1);
    const Status status = log.wal->Wait(log.wal->Ticket(), level, kNoDeadline);
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
    EXPECT_NE(status.message().find("no space left"), std::string::npos) << status.ToString();
    ++refused;
  };
  threads.emplace_back(write_and_wait, 0, AckLevel::kLogged);
  hostile.writes.AwaitHeld(1);
  for (int i = 0; i < kFollowers; ++i) {
    threads.emplace_back(write_and_wait, static_cast<ShardId>(i % 2), i % 2 == 0 ? AckLevel::kLogged : AckLevel::kSynced);
  }
  Await([&] { return log.wal->shard(0).last_lsn() + log.wal->shard(1).last_lsn() == kept + 1 + 1 + kFollowers; });
  hostile.writes.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, kFollowers + 1) << "all waiters are woken";

  EXPECT_TRUE(log.wal->failed());
  EXPECT_EQ(log.wal->failure().code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->shard(0).logged_lsn(), kept);
  const int calls = hostile.writes.calls();
  Status status;
  EXPECT_EQ(log.Put(0, 9, kNoDeadline, &status), 0U);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->Wait(log.wal->Ticket(), AckLevel::kQueued, kNoDeadline).code(), StatusCode::kUnavailable);
  EXPECT_TRUE(log.wal->WaitSynced(reached, kNoDeadline).ok()) << "what was reached before stays reached";
  EXPECT_EQ(log.wal->Stop().code(), StatusCode::kUnavailable);
  EXPECT_EQ(hostile.writes.calls(), calls) << "the engine is not asked again";
  EXPECT_EQ(log.Read(0), (LogContents{{1, -1}, {2, 7}}));
}

TEST(ShardedWAL, AnUnknownOutcomeIsAFailure) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.factory->FailCall(EngineMethod::kWrite, 1, UnknownOutcome("lost"));
  log.Put(0, 1);
  EXPECT_EQ(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->shard(0).logged_lsn(), 1U);
}

TEST(ShardedWAL, AStaleWriterIsFencedAndAcknowledgesNothing) {
  HostileEngine hostile(AdversarialOptions{.allow_several_writers = true});
  TestWal stale(&hostile);
  ASSERT_TRUE(stale.Open().ok());
  TestWal fresh(&hostile);
  ASSERT_TRUE(fresh.Open().ok());
  stale.Put(0, 666);
  const Status status = stale.wal->WaitLogged(stale.wal->Ticket(), kNoDeadline);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("FENCED"), std::string::npos) << status.ToString();
  fresh.Put(0, 5);
  EXPECT_TRUE(fresh.wal->WaitLogged(fresh.wal->Ticket(), kNoDeadline).ok());
  EXPECT_EQ(fresh.Read(0), (LogContents{{1, -1}, {2, -2}, {3, 5}}));
}

TEST(ShardedWAL, AFailedSyncIsNeverRetried) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  hostile.syncs.Close();
  hostile.factory->FailCall(EngineMethod::kSyncLog, 1, IoError("fsync failed"));
  const int before = hostile.syncs.calls();
  const Lsn synced = log.wal->shard(0).synced_lsn();
  std::vector<std::thread> threads;
  const auto write_and_sync = [&] {
    log.Put(0, 1);
    const Status status = log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline);
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
    EXPECT_NE(status.message().find("fsync failed"), std::string::npos) << status.ToString();
  };
  threads.emplace_back(write_and_sync);
  hostile.syncs.AwaitHeld(1);
  for (int i = 0; i < 3; ++i) threads.emplace_back(write_and_sync);
  Await([&] { return log.wal->shard(0).last_lsn() == 5; });
  hostile.syncs.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(log.wal->failed());
  EXPECT_EQ(log.wal->shard(0).synced_lsn(), synced);
  EXPECT_EQ(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->SyncPast(0, 2).code(), StatusCode::kUnavailable);
  EXPECT_EQ(log.wal->Stop().code(), StatusCode::kUnavailable);
  EXPECT_EQ(hostile.syncs.calls() - before, 1);
}

// ---- Callbacks ----

TEST(ShardedWAL, CallbacksRunOnceAtTheirLevel) {
  constexpr int kThreads = 3;
  constexpr int kWrites = 300;
  const std::uint64_t seed = TestSeed();
  HostileEngine hostile;
  TestWal log(&hostile, 2);
  ASSERT_TRUE(log.Open().ok());
  std::vector<std::atomic<int>> runs(kThreads * kWrites);
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      for (int i = 0; i < kWrites; ++i) {
        const auto shard = static_cast<ShardId>(random() % 2);
        const auto level = static_cast<AckLevel>(random() % 3);
        const Lsn lsn = log.Put(shard, i);
        log.Watch(log.wal->Ticket(), level, [&, shard, level, lsn, slot = t * kWrites + i](Status status) {
          EXPECT_TRUE(status.ok()) << status.ToString();
          if (level == AckLevel::kLogged) {
            EXPECT_GE(log.wal->shard(shard).logged_lsn(), lsn);
          } else if (level == AckLevel::kSynced) {
            EXPECT_GE(log.wal->shard(shard).synced_lsn(), lsn);
          }
          ++runs[static_cast<std::size_t>(slot)];
          ++done;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Await([&] { return done >= kThreads * kWrites; });  // nobody waits, nothing more is written: they come all the same
  EXPECT_TRUE(log.wal->Stop().ok());
  for (const std::atomic<int>& n : runs) EXPECT_EQ(n, 1);
}

TEST(ShardedWAL, CallbacksRunOnceWithTheErrorWhenTheLogFails) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  log.Put(0, 1);
  const CommitToken reached = log.wal->Ticket();
  ASSERT_TRUE(log.wal->WaitSynced(reached, kNoDeadline).ok());
  hostile.writes.Close();
  hostile.factory->FailCall(EngineMethod::kWrite, 1, IoError("no space left"));
  log.Put(0, 2);
  std::vector<std::atomic<int>> ok(6), failed(6);
  const auto watch = [&](std::size_t i, CommitToken token, AckLevel level) {
    log.Watch(token, level, [&, i](Status status) {
      EXPECT_TRUE(status.ok() || status.code() == StatusCode::kUnavailable) << status.ToString();
      ++(status.ok() ? ok : failed)[i];
    });
  };
  const CommitToken lost = log.wal->Ticket();
  watch(0, lost, AckLevel::kLogged);
  watch(1, lost, AckLevel::kSynced);
  hostile.writes.AwaitHeld(1);  // the committer leads for them
  watch(2, log.wal->Ticket(), AckLevel::kLogged);
  hostile.writes.Open();
  Await([&] { return failed[0] + failed[1] + failed[2] == 3; });
  watch(3, log.wal->Ticket(), AckLevel::kLogged);  // registered after the failure
  watch(4, reached, AckLevel::kLogged);
  watch(5, reached, AckLevel::kSynced);
  Await([&] { return failed[3] + ok[4] + ok[5] == 3; });
  (void)log.wal->Stop();
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(ok[i], i < 4 ? 0 : 1) << i;
    EXPECT_EQ(failed[i], i < 4 ? 1 : 0) << i;
  }
}

TEST(ShardedWAL, StopLeavesNoCallbackBehind) {
  for (int round = 0; round < 20; ++round) {
    HostileEngine hostile;
    TestWal log(&hostile);
    ASSERT_TRUE(log.Open().ok());
    std::atomic<int> ok{0};
    for (int i = 0; i < 20; ++i) {
      log.Put(0, i);
      log.Watch(log.wal->Ticket(), static_cast<AckLevel>(i % 3), [&](Status status) { ok += status.ok() ? 1 : 1000; });
    }
    EXPECT_TRUE(log.wal->Stop().ok());
    EXPECT_EQ(ok, 20) << "Stop logs and syncs first";
    EXPECT_TRUE(log.wal->Stop().ok()) << "idempotent";
    EXPECT_EQ(ok, 20);
    // There is no thread left that would run these.
    Status told = UnknownOutcome("not told");
    const auto tell = [&](Status status) { told = std::move(status); };
    log.Watch(log.wal->Ticket(), AckLevel::kLogged, tell);
    EXPECT_EQ(told.code(), StatusCode::kUnavailable) << told.ToString();
    log.Watch({1}, AckLevel::kSynced, tell);
    EXPECT_TRUE(told.ok()) << told.ToString();
  }
}

TEST(ShardedWAL, TheBackgroundSyncSyncsWhatNobodyWaitsFor) {
  HostileEngine hostile;
  TestWal log(&hostile, 1, {.sync_interval_ms = 1});
  ASSERT_TRUE(log.Open().ok());
  for (int i = 0; i < 3; ++i) {
    const Lsn lsn = log.Put(0, i);
    ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
    Await([&] { return log.wal->shard(0).synced_lsn() >= lsn; });
  }
  StorageStats stats;
  Await([&] {
    log.wal->FillStats(&stats);
    return stats.unsynced_bytes == 0;
  });
}

// What a row calls synced is a group with rows: a generation that carried nothing looks like one that was lost.
TEST(ShardedWAL, ARowNamesTheLastGroupWithRowsThatIsSynced) {
  class Groups : public WalVisitor {
   public:
    Status OnRecord(ShardId, Lsn, const WalRowHeader& row, const RecordView&) override {
      headers.push_back(row);
      return Status::Ok();
    }
    std::vector<WalRowHeader> headers;
  };
  HostileEngine hostile;
  TestWal log(&hostile, 1);
  ASSERT_TRUE(log.Open().ok());
  for (int i = 0; i < 4; ++i) {
    log.Put(0, i);
    ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
    for (int empty = 0; empty < i; ++empty) ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
    const auto reached = i == 1 ? log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline) : Status::Ok();
    ASSERT_TRUE(reached.ok());
  }
  Groups groups;
  WalEnd end;
  ASSERT_TRUE(ReadWal(log.engine.get(), 0, 0, 0, nullptr, &groups, nullptr, &end).ok());
  const std::vector<WalRowHeader>& rows = groups.headers;
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0].synced_group, 0U);
  EXPECT_EQ(rows[1].synced_group, rows[0].group);  // the epoch record
  EXPECT_EQ(rows[2].synced_group, rows[0].group);
  EXPECT_EQ(rows[3].synced_group, rows[2].group) << "not the empty generations behind it";
  EXPECT_EQ(rows[4].synced_group, rows[2].group);
}

// ---- Trim ----

TEST(ShardedWAL, TrimKeepsRowsThatArePartlyNeeded) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());  // LSN 1
  const auto commit = [&](int records) {
    for (int i = 0; i < records; ++i) log.Put(0, 1);
    ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  };
  commit(4);  // 2..5
  commit(4);  // 6..9
  commit(1);  // 10
  const struct {
    Lsn lsn;
    Lsn first_kept;
  } rows[] = {{0, 1}, {1, 2}, {4, 2}, {5, 6}, {5, 6}, {3, 6}, {8, 6}, {9, 10}};
  for (const auto& row : rows) {
    ASSERT_TRUE(log.wal->Trim(0, row.lsn).ok());
    EXPECT_EQ(log.wal->shard(0).trimmed_to(), row.first_kept - 1) << row.lsn;
    WalEnd end;
    const LogContents contents = log.Read(0, &end);
    ASSERT_FALSE(contents.empty());
    EXPECT_EQ(contents.begin()->first, row.first_kept) << row.lsn;
    EXPECT_EQ(contents.size(), 11 - row.first_kept) << row.lsn;
    EXPECT_EQ(end.trimmed_to, row.first_kept - 1);
    EXPECT_EQ(log.wal->PinnedBytes(), end.bytes + kWalKeyBytes * static_cast<std::uint64_t>(row.first_kept == 1   ? 4
                                                                                            : row.first_kept == 2 ? 3
                                                                                            : row.first_kept == 6 ? 2
                                                                                                                  : 1));
  }
  ASSERT_TRUE(log.wal->Trim(0, 10).ok());
  EXPECT_EQ(log.wal->PinnedBytes(), 0U);
  EXPECT_TRUE(log.Read(0).empty());
  EXPECT_TRUE(log.wal->FlushTrimmed().ok());

  // LSNs are not used again, though the log is empty.
  log.Close();
  ASSERT_TRUE(log.Open().ok());
  EXPECT_EQ(log.Read(0), (LogContents{{11, -2}}));
  EXPECT_EQ(log.wal->shard(0).trimmed_to(), 10U);
}

TEST(ShardedWAL, TrimDoesNotReachRecordsThatAreOnlyQueued) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  const Lsn lsn = log.Put(0, 5);
  ASSERT_TRUE(log.wal->Trim(0, 1).ok());
  EXPECT_EQ(log.wal->shard(0).trimmed_to(), 1U);
  ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  WalEnd end;
  EXPECT_EQ(log.Read(0, &end), (LogContents{{lsn, 5}}));
  EXPECT_EQ(end.trimmed_to, 1U) << "nor does the log say so";
}

TEST(ShardedWAL, AFailedTrimKeepsItsRows) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  const std::uint64_t pinned = log.wal->PinnedBytes();
  hostile.factory->FailCall(EngineMethod::kWrite, 1, IoError("no space left"));
  EXPECT_EQ(log.wal->Trim(0, 1).code(), StatusCode::kIoError);
  EXPECT_EQ(log.wal->PinnedBytes(), pinned);
  EXPECT_EQ(log.wal->shard(0).trimmed_to(), 0U);
  EXPECT_TRUE(log.wal->Trim(0, 1).ok());
  EXPECT_EQ(log.wal->PinnedBytes(), 0U);
}

// A trim beside group commits: what it was not told to trim stays.
TEST(ShardedWAL, TrimBesideCommitsNeverPassesItsLsn) {
  HostileEngine hostile;
  TestWal log(&hostile);
  ASSERT_TRUE(log.Open().ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; i < 20000; ++i) {
      log.Put(0, i);
      EXPECT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
    }
    stop = true;
  });
  while (!stop) {
    const Lsn lsn = log.wal->shard(0).logged_lsn();
    EXPECT_TRUE(log.wal->Trim(0, lsn).ok());
    EXPECT_LE(log.wal->shard(0).trimmed_to(), lsn);
  }
  writer.join();
  WalEnd end;
  const LogContents contents = log.Read(0, &end);
  EXPECT_EQ(contents.size(), log.wal->shard(0).last_lsn() - end.trimmed_to);
  EXPECT_EQ(log.wal->PinnedBytes(), end.bytes + kWalKeyBytes * contents.size()) << "one record a row here";
}

// ---- Figures ----

TEST(ShardedWAL, StatsTellWhatHappened) {
  HostileEngine hostile;
  TestWal log(&hostile, 2);
  ASSERT_TRUE(log.Open().ok());
  const ShardStats before = log.Stats(1);
  for (int i = 0; i < 5; ++i) log.Put(1, i);
  EXPECT_EQ(log.Stats(1).last_lsn, 6U);
  EXPECT_GT(log.Stats(1).ring_bytes_queued, 0U);
  ASSERT_TRUE(log.wal->WaitLogged(log.wal->Ticket(), kNoDeadline).ok());
  const ShardStats after = log.Stats(1);
  EXPECT_EQ(after.wal_records - before.wal_records, 5U);
  EXPECT_EQ(after.groups - before.groups, 1U);
  EXPECT_EQ(after.group_records - before.group_records, 5U);
  EXPECT_EQ(after.logged_lsn, 6U);
  EXPECT_EQ(after.synced_lsn, 1U);
  EXPECT_EQ(after.ring_bytes_queued, 0U);
  EXPECT_GT(after.wal_bytes_pinned, before.wal_bytes_pinned);
  EXPECT_EQ(log.Stats(0).groups, 1U) << "a group that carried nothing of a shard does not count for it";
  StorageStats stats;
  log.wal->FillStats(&stats);
  EXPECT_GT(stats.unsynced_bytes, 0U);
  EXPECT_FALSE(stats.log_failed);
  EXPECT_GE(stats.group_write_latency.count, 2U);
}

}  // namespace
}  // namespace chronolith

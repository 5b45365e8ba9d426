// Crashes: what was acknowledged at a level is there afterwards, whatever the engine was doing, through several lives of one log.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/seed.h"
#include "tests/wal/wal_fixture.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kShards = 3;
constexpr int kThreads = 3;

// What all lives have written to a shard and been told about it.
struct ShardBook {
  LogContents written;  // by LSN; a lost suffix of an earlier life is replaced by the next
  Lsn acknowledged = 0;
};

class LogLives {
 public:
  LogLives(std::uint64_t seed, CrashKind kind, AdversarialOptions options)
      : random_(seed),
        kind_(kind),
        level_(kind == CrashKind::kKill ? AckLevel::kLogged : AckLevel::kSynced),
        hostile_(Seeded(options, seed)) {}

  // One life: replay and check, write from several threads, crash in the midst of it.
  void Live() {
    TestWal log(&hostile_, kShards, {.ring_bytes = 64 << 10});
    std::vector<LogContents> found;
    Status opened = log.Open(&found);
    ASSERT_TRUE(log.replayed()) << opened.ToString();  // after that, the very first commit may meet the adversary
    Check(found);
    if (HasFailure()) return;
    for (ShardId s = 0; s < kShards; ++s) {
      // This life's epoch record: acknowledged by Open where that succeeded.
      books_[s].written[log.wal->shard(s).last_lsn()] = -static_cast<std::int64_t>(log.wal->shard(s).epoch());
      if (opened.ok()) books_[s].acknowledged = log.wal->shard(s).last_lsn();
    }
    const std::uint64_t nth = 1 + random_() % 40;
    const bool at_write = random_() % 3 != 0;
    hostile_.factory->CrashDuringCall(at_write ? EngineMethod::kWrite : EngineMethod::kSyncLog, nth, kind_);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t, seed = random_()] { WriteUntilFailure(&log, t, seed); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(log.wal->failed());
  }

  void CheckAtTheEnd() {
    TestWal log(&hostile_, kShards);
    std::vector<LogContents> found;
    const Status opened = log.Open(&found);
    ASSERT_TRUE(log.replayed()) << opened.ToString();
    Check(found);
  }

 private:
  static AdversarialOptions Seeded(AdversarialOptions options, std::uint64_t seed) {
    options.seed = seed;
    return options;
  }
  static bool HasFailure() { return ::testing::Test::HasFailure(); }

  void WriteUntilFailure(TestWal* log, int thread, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0;; ++i) {
      const auto shard = static_cast<ShardId>(random() % kShards);
      const std::int64_t value = thread * 1'000'000 + i;
      std::string record;
      AppendFloorRecord(value, &record);
      if (!log->wal->Reserve(shard, record.size(), kNoDeadline).ok()) return;
      Lsn lsn;
      {
        MutexLock lock(&append_locks_[shard]);
        lsn = log->wal->shard(shard).Append(record, 1);
        books_[shard].written[lsn] = value;
      }
      const CommitToken token = log->wal->Ticket();
      const AckLevel level = random() % 4 == 0 ? AckLevel::kSynced : AckLevel::kLogged;
      const Status status = log->wal->Wait(token, level, kNoDeadline);
      if (!status.ok()) {
        EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
        return;
      }
      if (level < level_) continue;
      // Acknowledging LSN n acknowledges all up to n.
      MutexLock lock(&append_locks_[shard]);
      books_[shard].acknowledged = std::max(books_[shard].acknowledged, lsn);
    }
  }

  void Check(const std::vector<LogContents>& found) {
    for (ShardId s = 0; s < kShards; ++s) {
      ShardBook& book = books_[s];
      const Lsn end = found[s].empty() ? 0 : found[s].rbegin()->first;
      EXPECT_EQ(found[s].size(), end) << "dense from 1";
      EXPECT_GE(end, book.acknowledged) << "shard " << s << ": what was acknowledged is gone";
      for (const auto& [lsn, value] : found[s]) {
        const auto it = book.written.find(lsn);
        ASSERT_TRUE(it != book.written.end()) << "LSN " << lsn << " was never written";
        ASSERT_EQ(it->second, value) << "LSN " << lsn;
      }
      book.written.erase(book.written.upper_bound(end), book.written.end());
      // What is in the log at an open is what the next life builds on: from there on it counts as acknowledged.
      book.acknowledged = kind_ == CrashKind::kKill ? end : book.acknowledged;
    }
  }

  std::mt19937_64 random_;
  const CrashKind kind_;
  const AckLevel level_;
  HostileEngine hostile_;
  std::array<ShardBook, kShards> books_;
  std::array<Mutex, kShards> append_locks_;
};

void RunLives(CrashKind kind, const AdversarialOptions& options) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 25; ++round) {
    LogLives lives(random(), kind, options);
    for (int life = 0; life < 4; ++life) {
      lives.Live();
      if (::testing::Test::HasFailure()) FAIL() << "round " << round << " life " << life;
    }
    lives.CheckAtTheEnd();
    if (::testing::Test::HasFailure()) FAIL() << "round " << round << " at the end";
  }
}

TEST(ShardedWALCrash, LoggedWritesSurviveAKill) { RunLives(CrashKind::kKill, {}); }

TEST(ShardedWALCrash, SyncedWritesSurvivePowerLoss) { RunLives(CrashKind::kPowerLoss, {}); }

TEST(ShardedWALCrash, UnknownOutcomesAndLateWritesChangeNothingOfThat) {
  RunLives(CrashKind::kKill, {.unknown_write_probability = 0.01, .late_writes = true, .spontaneous_flush_probability = 0.1});
  RunLives(CrashKind::kPowerLoss, {.unknown_write_probability = 0.01, .late_writes = true, .spontaneous_flush_probability = 0.1});
}

}  // namespace
}  // namespace chronolith

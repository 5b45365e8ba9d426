// Options::log_archiver on a whole store: what the log forgets, the archive has.
#include <random>

#include "chronolith/log_archiver.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/memory_archive.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;

class Archive : public EveryEngine {
 protected:
  Archive() { store_.options().log_archiver = archive_; }
  void WriteSome() {
    for (int i = 0; i < 40; ++i) store_.Write({{"__name__", "n"}, {"i", std::to_string(i)}}, {{++t_, 1}});
  }
  // Every LSN of every shard up to trimmed_to is archived, exactly.
  void CheckComplete() {
    for (const ShardStats& s : store_->Stats().shards) {
      Lsn next = 1;
      for (const auto& [first, row] : archive_->rows(s.shard)) {
        ASSERT_EQ(first, next) << "shard " << s.shard;
        EXPECT_GE(row.write_time_ms, kT);
        next = row.last_lsn + 1;
      }
      EXPECT_EQ(next, s.trimmed_to + 1) << "shard " << s.shard;
    }
  }
  std::shared_ptr<MemoryArchive> archive_ = std::make_shared<MemoryArchive>();
  Timestamp t_ = kT;
};
INSTANTIATE_TEST_SUITE_P(Engines, Archive, AllEngines(), EngineName);

TEST_P(Archive, HoldsAllThatCheckpointsHaveTrimmed) {
  store_.Open();
  for (int i = 0; i < 3; ++i) {
    WriteSome();
    store_.Checkpoint();
    CheckComplete();
  }
  for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.trimmed_to, s.applied_lsn) << s.shard;
  store_.Kill();
  WriteSome();
  store_.Checkpoint();
  CheckComplete();
}

TEST_P(Archive, AnArchiveThatIsAwayHoldsTheLogAcrossRestarts) {
  store_.Open();
  archive_->Take(0);
  WriteSome();
  store_.Checkpoint();
  for (const ShardStats& s : store_->Stats().shards) {
    EXPECT_EQ(s.trimmed_to, 0U);
    EXPECT_GT(s.wal_archive_backlog_bytes, 0U);
    EXPECT_EQ(s.wal_archive_backlog_bytes, s.wal_bytes_pinned);
    EXPECT_GT(s.applied_lsn, 0U);
  }
  const Contents contents = store_.Read();
  store_.Kill();
  EXPECT_EQ(store_.Read(), contents);
  archive_->Take(1000);
  store_.Checkpoint();
  CheckComplete();
  for (const ShardStats& s : store_->Stats().shards) {
    EXPECT_GT(s.trimmed_to, 0U);
    EXPECT_EQ(s.wal_archive_backlog_bytes, 0U);
  }
  EXPECT_EQ(store_.Read(), contents);
}

TEST_P(Archive, BeyondTheBacklogTheStoreGoesOnAndCountsTheGap) {
  store_.options().log_archive_backlog_bytes = 0;
  store_.Open();
  archive_->Take(0);
  WriteSome();
  store_.Checkpoint();
  for (const ShardStats& s : store_->Stats().shards) {
    EXPECT_EQ(s.trimmed_to, s.applied_lsn);
    EXPECT_EQ(s.wal_archive_backlog_bytes, 0U);
    EXPECT_GT(s.wal_archive_gap_bytes, 0U);
    EXPECT_EQ(archive_->gaps(s.shard), (std::vector<std::pair<Lsn, Lsn>>{{1, s.trimmed_to}}));
  }
}

// Holds whoever archives until it is let go.
class StuckArchive : public MemoryArchive {
 public:
  Status Archive(std::span<const ArchivedRow> rows) override {
    {
      MutexLock lock(&gate_mu_);
      while (stuck_) gate_.Wait(&gate_mu_);
    }
    return MemoryArchive::Archive(rows);
  }
  void LetGo() {
    MutexLock lock(&gate_mu_);
    stuck_ = false;
    gate_.SignalAll();
  }

 private:
  Mutex gate_mu_;
  CondVar gate_;
  bool stuck_ ABSL_GUARDED_BY(gate_mu_) = true;
};

class ArchiveMemory : public Archive {
 protected:
  static constexpr std::uint64_t kLimit = 24ULL << 20;
  ArchiveMemory() {
    store_.options().memory_budget = std::make_shared<MemoryBudget>(kLimit);
    store_.options().ring_bytes = 64 << 10;
    store_.options().postings_cache_bytes = 1 << 20;
    store_.options().duplicate_policy = DuplicatePolicy::kLastWins;
  }
  // Samples of some 10 bytes of log each.
  WriteResult WriteMany() {
    std::vector<TimeSeries> batch;
    for (int i = 0; i < 20; ++i) {
      TimeSeries series{.labels = {{"__name__", "n"}, {"i", std::to_string(i)}}};
      for (int k = 0; k < 500; ++k) series.samples.push_back({t_ + k, std::bit_cast<double>(rng_() >> 2)});
      batch.push_back(std::move(series));
    }
    t_ += 500;
    return store_->Write(batch, {.level = AckLevel::kLogged});
  }
  std::uint64_t Backlog() {
    std::uint64_t bytes = 0;
    for (const ShardStats& s : store_->Stats().shards) bytes += s.wal_archive_backlog_bytes;
    return bytes;
  }
  std::mt19937_64 rng_{7};
};
INSTANTIATE_TEST_SUITE_P(Engines, ArchiveMemory, AllEngines(), EngineName);

TEST_P(ArchiveMemory, AnArchiveThatIsStuckHoldsWritersAndNoMoreMemoryThanTheBudget) {
  const auto stuck = std::make_shared<StuckArchive>();
  archive_ = stuck;
  store_.options().log_archiver = stuck;
  store_.options().backpressure_wait_ms = 40;
  store_.Open();
  WriteResult result;
  for (int i = 0; result.ok() && i < 1000; ++i) result = WriteMany();  // 100 MB, were it not for the limit
  EXPECT_EQ(result.status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(result.status.message(), testing::HasSubstr("memory budget"));
  EXPECT_LT(store_->Stats().memory_used_bytes, kLimit + kLimit / 4);
  stuck->LetGo();
  store_.Checkpoint();
  EXPECT_EQ(Backlog(), 0U);
  EXPECT_LT(store_->Stats().memory_used_bytes, kLimit - kLimit / 4);
  EXPECT_TRUE(WriteMany().ok());
  store_.Checkpoint();
  CheckComplete();
}

TEST_P(ArchiveMemory, AnArchiveThatIsAwayTakesDiskAndNoMemory) {
  constexpr std::uint64_t kBacklog = 512 << 10;
  store_.options().log_archive_backlog_bytes = kBacklog;
  store_.Open();
  archive_->Take(0);
  for (int i = 0; i < 600; ++i) {  // 60 MB of log
    const WriteResult result = WriteMany();
    ASSERT_TRUE(result.ok()) << i << ": " << result.status.ToString();
  }
  store_.Checkpoint();
  const StorageStats stats = store_->Stats();
  EXPECT_GT(stats.checkpoints, 3U);
  EXPECT_LT(stats.memory_used_bytes, kLimit - kLimit / 4);
  std::uint64_t given_up = 0;
  for (const ShardStats& s : stats.shards) {
    EXPECT_LE(s.wal_archive_backlog_bytes, kBacklog) << s.shard;
    EXPECT_EQ(s.wal_archive_backlog_bytes, s.wal_bytes_pinned) << s.shard;
    given_up += s.wal_archive_gap_bytes;
  }
  EXPECT_GT(given_up, 0U);
  archive_->Take(1 << 30);
  store_.Checkpoint();
  EXPECT_EQ(Backlog(), 0U);
}

}  // namespace
}  // namespace chronolith

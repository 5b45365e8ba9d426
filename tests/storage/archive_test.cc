// Options::log_archiver on a whole store: what the log forgets, the archive has.
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

}  // namespace
}  // namespace chronolith

// What is trimmed was archived, or the archiver was told that it is not.
#include <random>

#include "tests/contract/seed.h"
#include "tests/support/memory_archive.h"
#include "tests/wal/wal_fixture.h"

namespace chronolith {
namespace {

struct Archived {
  explicit Archived(std::uint64_t backlog_bytes = 1 << 20)
      : archive(std::make_shared<MemoryArchive>()),
        log(&hostile, 1, {.ring_bytes = 4 << 20, .archiver = archive, .archive_backlog_bytes = backlog_bytes}) {
    EXPECT_TRUE(log.Open().ok());
  }
  // One row of `records` records; the LSN of the last.
  Lsn Commit(int records = 1) {
    Lsn last = 0;
    for (int i = 0; i < records; ++i) last = log.Put(0, 1000 + i);
    EXPECT_TRUE(log.wal->WaitSynced(log.wal->Ticket(), kNoDeadline).ok());
    return last;
  }
  // The records of the archived rows, read as replay reads them.
  LogContents Contents() {
    LogContents contents;
    std::string scratch;
    for (const auto& [first, row] : archive->rows(0)) {
      WalRowHeader header;
      std::string_view payload;
      const Status status = DecodeWalRow(0, WalKey(first), row.value, &header, &payload, &scratch);
      EXPECT_TRUE(status.ok()) << status.ToString();
      EXPECT_EQ(header.first_lsn, first);
      EXPECT_EQ(header.first_lsn + header.records - 1, row.last_lsn);
      EXPECT_EQ(header.epoch, row.epoch);
      EXPECT_EQ(header.write_time_ms, row.write_time_ms);
      CollectingVisitor visitor;
      RecordView record;
      for (Lsn lsn = first; !payload.empty(); ++lsn) {
        EXPECT_TRUE(NextRecord(&payload, &record).ok());
        EXPECT_TRUE(visitor.OnRecord(0, lsn, header, record).ok());
      }
      contents.merge(visitor.contents);
    }
    return contents;
  }
  HostileEngine hostile;
  std::shared_ptr<MemoryArchive> archive;
  TestWal log;
};

TEST(WalArchive, RowsAreArchivedBeforeTheyAreTrimmed) {
  Archived a;
  const Lsn first = a.Commit(3);
  const Lsn second = a.Commit(4);
  a.Commit(2);
  const LogContents before = a.log.Read(0);
  ASSERT_TRUE(a.log.wal->Trim(0, second - 1).ok());  // the second row is needed still
  EXPECT_EQ(a.log.wal->shard(0).trimmed_to(), first);
  EXPECT_EQ(a.archive->rows(0).rbegin()->second.last_lsn, first);
  EXPECT_EQ(a.archive->rows(0).rbegin()->second.write_time_ms, FixedClock().NowMs());
  LogContents all = a.Contents();
  all.merge(a.log.Read(0));
  EXPECT_EQ(all, before);
  EXPECT_EQ(a.archive->repeated(), 0);
  EXPECT_EQ(a.log.Stats().wal_archive_backlog_bytes, 0U);
  EXPECT_GT(a.log.Stats().wal_archived_bytes, 0U);
}

TEST(WalArchive, WhatTheArchiverRefusesStaysAndIsGivenAgain) {
  Archived a;
  const Lsn last = a.Commit(5);
  const std::uint64_t pinned = a.log.wal->PinnedBytes();
  a.archive->Take(0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(a.log.wal->Trim(0, last).ok()) << "an archive that is away is no error of the log";
    EXPECT_EQ(a.log.wal->shard(0).trimmed_to(), 0U);
    EXPECT_EQ(a.log.wal->PinnedBytes(), pinned);
    EXPECT_EQ(a.log.Stats().wal_archive_backlog_bytes, pinned);
    EXPECT_TRUE(a.log.wal->HasArchiveBacklog());
  }
  EXPECT_EQ(a.archive->calls(), 3);
  a.archive->Take(100);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  EXPECT_EQ(a.log.wal->shard(0).trimmed_to(), last);
  EXPECT_FALSE(a.log.wal->HasArchiveBacklog());
  EXPECT_EQ(a.Contents().size(), last);
  EXPECT_TRUE(a.archive->gaps(0).empty());
  EXPECT_EQ(a.log.Stats().wal_archive_gap_bytes, 0U);
}

TEST(WalArchive, WhatWasTakenBeforeAnErrorIsTrimmed) {
  Archived a(64 << 20);
  std::vector<std::string_view> label(1);
  const std::string big(40 << 10, 'x');
  label[0] = big;
  Lsn last = 0;
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 60; ++i) {  // 2.4 MiB in rows of 40 KiB that do not compress: three calls
    std::string bytes(40 << 10, '\0');
    for (char& c : bytes) c = static_cast<char>(rng());
    label[0] = bytes;
    std::string record;
    AppendSeriesRecords(static_cast<Ordinal>(i), label, &record);
    last = a.log.Write(0, record);
    ASSERT_TRUE(a.log.wal->WaitSynced(a.log.wal->Ticket(), kNoDeadline).ok());
  }
  a.archive->Take(1);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  EXPECT_EQ(a.archive->calls(), 2);
  const Lsn taken = a.archive->rows(0).rbegin()->second.last_lsn;
  EXPECT_GT(taken, 10U);
  EXPECT_LT(taken, last);
  EXPECT_EQ(a.log.wal->shard(0).trimmed_to(), taken);
  EXPECT_EQ(a.log.Stats().wal_archive_backlog_bytes, a.log.wal->PinnedBytes());
  a.archive->Take(100);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  EXPECT_EQ(a.archive->rows(0).size(), 61U) << "with the row of the epoch record";
  EXPECT_EQ(a.archive->repeated(), 0);
}

TEST(WalArchive, BeyondTheBacklogTheOldestGoUnarchivedAndTheArchiverIsTold) {
  Archived a(200);
  a.archive->Take(0);
  Lsn last = 0;
  for (int i = 0; i < 20; ++i) last = a.Commit();
  const std::uint64_t pinned = a.log.wal->PinnedBytes();
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  const Lsn lost = a.log.wal->shard(0).trimmed_to();
  EXPECT_GT(lost, 1U);
  EXPECT_LT(lost, last);
  EXPECT_EQ(a.archive->gaps(0), (std::vector<std::pair<Lsn, Lsn>>{{1, lost}}));
  EXPECT_LE(a.log.wal->PinnedBytes(), 200U);
  EXPECT_EQ(a.log.Stats().wal_archive_backlog_bytes, a.log.wal->PinnedBytes());
  EXPECT_EQ(a.log.Stats().wal_archive_gap_bytes, pinned - a.log.wal->PinnedBytes());
  // What is archived now and the gap are everything.
  a.archive->Take(100);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  const LogContents contents = a.Contents();
  EXPECT_EQ(contents.begin()->first, lost + 1);
  EXPECT_EQ(contents.size(), last - lost);
  EXPECT_EQ(a.archive->gaps(0).size(), 1U);
}

TEST(WalArchive, DamagedRowsAreNotArchivedAsIfTheyWereWhole) {
  Archived a;
  const Lsn first = a.Commit();
  const Lsn last = a.Commit();
  const std::string key = WalKey(last);
  std::string value;
  ASSERT_TRUE(a.log.engine->Get(0, key, &value).ok());
  value[value.size() / 2] = static_cast<char>(value[value.size() / 2] ^ 1);
  const Op op{Op::Type::kPut, key, value};
  const Batch batch{0, {}, 1, {&op, 1}};
  ASSERT_TRUE(a.log.engine->Write({&batch, 1}, {.durability = Durability::kSynced})[0].ok());
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  EXPECT_EQ(a.log.wal->shard(0).trimmed_to(), 0U) << "batches are handed over when the reading has gone well";
  EXPECT_TRUE(a.archive->rows(0).empty());
  EXPECT_GT(a.log.Stats().wal_archive_backlog_bytes, 0U);
  (void)first;
}

TEST(WalArchive, AfterAReopeningTheRowsComeAgain) {
  Archived a;
  Lsn last = a.Commit(3);
  a.archive->Take(0);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  a.log.Close();
  ASSERT_TRUE(a.log.Open().ok());
  // Archived, but the trim does not become durable.
  a.archive->Take(100);
  last = a.log.wal->shard(0).logged_lsn();
  a.hostile.factory->FailCall(EngineMethod::kWrite, 1, IoError("no space left"));
  EXPECT_EQ(a.log.wal->Trim(0, last).code(), StatusCode::kIoError);
  const std::size_t rows = a.archive->rows(0).size();
  EXPECT_EQ(a.archive->repeated(), 0);
  ASSERT_TRUE(a.log.wal->Trim(0, last).ok());
  EXPECT_EQ(a.archive->rows(0).size(), rows);
  EXPECT_EQ(a.archive->repeated(), static_cast<int>(rows));
  EXPECT_EQ(a.Contents().size(), last);
}

}  // namespace
}  // namespace chronolith

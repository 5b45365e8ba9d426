// The archive of a log in files: what it keeps, across openings, crashes and damage.
#include "chronolith/file_log_archiver.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "chronolith/archive_marks.h"
#include "storage/log_archive.h"
#include "storage/store_directory.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileArchive : public testing::Test {
 protected:
  FileArchive() {
    store_.uuid[0] = 7;
    store_.shards = 4;
    store_.window_ms = 1000;
    store_.engine = "rocksdb";
    store_.complete = true;
    fs::create_directory(directory_ / "db");
    EXPECT_TRUE(WriteStoreManifest(directory_ / "db", store_).ok());
    options_.store = directory_ / "db";
  }
  Status TryOpen() {
    archiver_.reset();
    auto opened = OpenFileLogArchiver(path_, options_);
    if (opened.ok()) archiver_ = *opened;
    return opened.status();
  }
  void Open() {
    const Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // One row of one record each, of LSN first to last.
  Status Archive(ShardId shard, Lsn first, Lsn last, std::uint64_t epoch = 1) {
    std::vector<std::string> values;
    std::vector<ArchivedRow> rows;
    for (Lsn lsn = first; lsn <= last; ++lsn) values.push_back("row " + std::to_string(shard) + " " + std::to_string(lsn));
    for (Lsn lsn = first; lsn <= last; ++lsn)
      rows.push_back({shard, lsn, lsn, epoch, static_cast<std::int64_t>(lsn), values[lsn - first]});
    return archiver_->Archive(rows);
  }
  void Mark(std::int64_t time_ms) { dynamic_cast<ArchiveMarks&>(*archiver_).OnMark({1, 2, time_ms, {1, 2, 3, 4}}); }
  std::vector<ArchiveSegment> Segments() const { return ListArchiveSegments(path_).value(); }
  // What is there, in order: rows as they are, the rest described.
  std::vector<std::string> Read(bool whole = true) const {
    std::vector<std::string> items;
    for (const ArchiveSegment& segment : Segments()) {
      auto reader = ArchiveReader::Open(segment.path);
      EXPECT_TRUE(reader.ok()) << reader.status().ToString();
      if (!reader.ok()) continue;
      EXPECT_EQ((*reader)->header().uuid, store_.uuid);
      EXPECT_EQ((*reader)->header().number, segment.number);
      ArchiveBlock block;
      while ((*reader)->Next(&block)) {
        for (const ArchivedRow& row : block.rows) items.emplace_back(row.value);
        if (block.type == ArchiveBlockType::kGap)
          items.push_back("gap " + std::to_string(block.gap.first_lsn) + "-" + std::to_string(block.gap.last_lsn));
        if (block.type == ArchiveBlockType::kMark) items.push_back("mark " + std::to_string(block.mark.time_ms));
      }
      EXPECT_TRUE((*reader)->status().ok() || !whole) << (*reader)->status().ToString();
    }
    return items;
  }
  static std::vector<std::string> Rows(ShardId shard, Lsn first, Lsn last) {
    std::vector<std::string> rows;
    for (Lsn lsn = first; lsn <= last; ++lsn) rows.push_back("row " + std::to_string(shard) + " " + std::to_string(lsn));
    return rows;
  }
  void Flip(const std::string& path, std::uint64_t at) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good());
  }

  testing_support::TempDirectory directory_;
  const std::string path_ = directory_ / "archive";
  StoreManifest store_;
  FileLogArchiverOptions options_;
  std::shared_ptr<LogArchiver> archiver_;
};

TEST_F(FileArchive, KeepsRowsInOrderAndOnce) {
  Open();
  ASSERT_TRUE(Archive(0, 1, 3).ok());
  ASSERT_TRUE(Archive(0, 2, 5).ok());  // again, after a trim that failed
  ASSERT_TRUE(Archive(0, 1, 5).ok());
  Open();
  ASSERT_TRUE(Archive(0, 4, 6).ok());
  EXPECT_EQ(Read(), Rows(0, 1, 6));
}

TEST_F(FileArchive, GapsAndMarksAreKept) {
  Open();
  ASSERT_TRUE(Archive(1, 1, 1).ok());
  archiver_->OnGap(1, 2, 9);
  archiver_->OnGap(1, 2, 9);
  Mark(77);
  ASSERT_TRUE(Archive(1, 10, 10).ok());
  EXPECT_EQ(Read(), (std::vector<std::string>{"row 1 1", "gap 2-9", "gap 2-9", "mark 77", "row 1 10"}));
}

TEST_F(FileArchive, EverySegmentSaysWhatTheOnesBeforeHold) {
  options_.segment_bytes = 200;
  Open();
  for (Lsn lsn = 1; lsn <= 20; ++lsn) {
    ASSERT_TRUE(Archive(0, lsn, lsn).ok());
    ASSERT_TRUE(Archive(2, lsn, lsn).ok());
  }
  const auto segments = Segments();
  ASSERT_GT(segments.size(), 5U);
  std::map<ShardId, Lsn> last;
  for (const ArchiveSegment& segment : segments) {
    EXPECT_LE(segment.bytes, 200U);
    const auto reader = ArchiveReader::Open(segment.path);
    ASSERT_TRUE(reader.ok());
    std::map<ShardId, Lsn> said;
    for (const ArchiveShardState& state : (*reader)->header().shards) said[state.shard] = state.last_lsn;
    EXPECT_EQ(said, last) << segment.path;
    ArchiveBlock block;
    while ((*reader)->Next(&block)) {
      for (const ArchivedRow& row : block.rows) last[row.shard] = row.last_lsn;
    }
  }
  // Across an opening, and with the oldest files removed.
  fs::remove(segments[0].path);
  Open();
  ASSERT_TRUE(Archive(0, 15, 21).ok());
  EXPECT_EQ(Read().back(), "row 0 21");
  EXPECT_EQ(Segments().front().number, 2U);
}

// As a crash leaves it at each byte of the last write.
TEST_F(FileArchive, ATornEndIsCutOffAndGivenAgain) {
  Open();
  ASSERT_TRUE(Archive(0, 1, 3).ok());
  const std::string segment = Segments()[0].path;
  const std::uint64_t before = fs::file_size(segment);
  ASSERT_TRUE(Archive(0, 4, 6).ok());
  const std::uint64_t after = fs::file_size(segment);
  archiver_.reset();
  for (std::uint64_t size = after - 1; size >= before; --size) {
    fs::resize_file(segment, size);
    EXPECT_EQ(Read(false), Rows(0, 1, 3)) << size;
    Open();
    EXPECT_EQ(fs::file_size(segment), before) << size;
    ASSERT_TRUE(Archive(0, 4, 6).ok());
    EXPECT_EQ(Read(), Rows(0, 1, 6)) << size;
    archiver_.reset();
  }
  // Zeroes, where a power loss took the bytes and left the length.
  fs::resize_file(segment, before);
  fs::resize_file(segment, before + 4096);
  Open();
  EXPECT_EQ(fs::file_size(segment), before);
}

TEST_F(FileArchive, DamageInFrontOfIntactRowsIsNoTornEnd) {
  Open();
  ASSERT_TRUE(Archive(0, 1, 3).ok());
  const std::string segment = Segments()[0].path;
  const std::uint64_t begin = fs::file_size(segment);
  ASSERT_TRUE(Archive(0, 4, 6).ok());
  const std::uint64_t end = fs::file_size(segment);
  ASSERT_TRUE(Archive(0, 7, 9).ok());
  const std::uint64_t size = fs::file_size(segment);
  archiver_.reset();
  for (std::uint64_t at = begin; at < end; ++at) {
    Flip(segment, at);
    const Status status = TryOpen();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << at;
    EXPECT_THAT(status.message(), HasSubstr(segment + " at offset " + std::to_string(begin)));
    EXPECT_EQ(fs::file_size(segment), size) << "nothing is cut off";
    Flip(segment, at);
  }
  Open();
  EXPECT_EQ(Read(), Rows(0, 1, 9));
}

TEST_F(FileArchive, AFullArchiveRefusesAndTakesAgainWhenFilesAreRemoved) {
  options_.segment_bytes = 300;
  options_.max_bytes = 1000;
  Open();
  Lsn lsn = 1;
  while (Archive(0, lsn, lsn).ok()) ++lsn;
  ASSERT_GT(lsn, 10U);
  const Status full = Archive(0, lsn, lsn);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("prune"));
  archiver_->OnGap(0, lsn, lsn + 2);  // the log could not wait
  EXPECT_EQ(Read(), Rows(0, 1, lsn - 1));
  Open();
  EXPECT_EQ(Archive(0, lsn, lsn).code(), StatusCode::kResourceExhausted) << "also after an opening";
  archiver_->OnGap(0, lsn, lsn + 2);
  fs::remove(Segments()[0].path);
  EXPECT_TRUE(Archive(0, lsn + 3, lsn + 3).ok());
  const auto items = Read();
  ASSERT_GE(items.size(), 2U);
  EXPECT_EQ(items[items.size() - 2], "gap " + std::to_string(lsn) + "-" + std::to_string(lsn + 2)) << "told when there is room";
}

TEST_F(FileArchive, BelongsToOneStoreInOneIncarnation) {
  Open();
  ASSERT_TRUE(Archive(0, 1, 1).ok());
  store_.incarnation = 9;
  ASSERT_TRUE(WriteStoreManifest(options_.store, store_).ok());
  const Status other = TryOpen();
  EXPECT_EQ(other.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.message(), HasSubstr("incarnation 9"));
  options_.store = directory_ / "none";
  EXPECT_EQ(TryOpen().code(), StatusCode::kFailedPrecondition) << "what will be created there is another store";
}

TEST_F(FileArchive, AStorePutBackFromACopyIsNotMixedIn) {
  Open();
  ASSERT_TRUE(Archive(0, 1, 9, 3).ok());
  EXPECT_TRUE(Archive(0, 5, 6, 2).ok()) << "rows of an earlier opening, given again";
  EXPECT_EQ(Archive(0, 5, 6, 4).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Read(), Rows(0, 1, 9));
}

TEST_F(FileArchive, IsOpenOnce) {
  Open();
  const auto second = OpenFileLogArchiver(path_, options_);
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  archiver_.reset();
  EXPECT_TRUE(TryOpen().ok());
  EXPECT_EQ(OpenFileLogArchiver(path_, {}).status().code(), StatusCode::kInvalidArgument);
}

class ArchivedStore : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, ArchivedStore, AllEngines(), EngineName);

// On a store: each checkpoint marks what it has left behind, in all shards.
TEST_P(ArchivedStore, MarksFollowWhatTheyStandFor) {
  const std::string path = store_.directory() / "archive";
  auto clock = std::make_shared<FakeClock>(1'700'000'000'000);
  store_.options().clock = clock;
  const auto open = [&] {
    store_.options().log_archiver.reset();
    auto archiver = OpenFileLogArchiver(path, {.store = store_.path()});
    ASSERT_TRUE(archiver.ok()) << archiver.status().ToString();
    store_.options().log_archiver = *archiver;
  };
  open();
  store_.Open();
  std::vector<std::int64_t> marks;
  for (int i = 1; i <= 6; ++i) {
    for (int n = 0; n < 5; ++n) {
      clock->Set(clock->NowMs() + 10);
      store_.Write({{"__name__", "m"}, {"i", std::to_string(n)}}, {{1'700'000'000'000 + i, 1}});
    }
    clock->Set(clock->NowMs() + 10);
    marks.push_back(clock->NowMs());
    store_.Checkpoint();
    if (i != 3) continue;
    store_.Close();
    open();
    store_.Open();
  }
  std::vector<std::int64_t> found;
  std::map<ShardId, Lsn> last;
  std::int64_t newest = 0;
  const auto segments = ListArchiveSegments(path);
  ASSERT_TRUE(segments.ok());
  for (const ArchiveSegment& segment : *segments) {
    const auto reader = ArchiveReader::Open(segment.path);
    ASSERT_TRUE(reader.ok());
    ArchiveBlock block;
    while ((*reader)->Next(&block)) {
      for (const ArchivedRow& row : block.rows) {
        EXPECT_EQ(row.first_lsn, last[row.shard] + 1);
        last[row.shard] = row.last_lsn;
        newest = std::max(newest, row.write_time_ms);
      }
      if (block.type != ArchiveBlockType::kMark) continue;
      found.push_back(block.mark.time_ms);
      EXPECT_LT(newest, block.mark.time_ms);
      ASSERT_EQ(block.mark.archived_to.size(), 4U);
      for (ShardId k = 0; k < 4; ++k) EXPECT_EQ(block.mark.archived_to[k], last[k]) << k;
    }
  }
  EXPECT_EQ(found, marks);
  EXPECT_EQ(newest + 10, marks.back());
}

}  // namespace
}  // namespace chronolith

// A backup and the archived log, restored to moments between: what comes back is what had been written until then, no more, no
// less.
#include "ops/point_in_time.h"

#include <gmock/gmock.h>

#include <fstream>
#include <random>

#include "chronolith/file_log_archiver.h"
#include "ops/backup.h"
#include "ops/log_archive_list.h"
#include "ops/restore.h"
#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kStart = 1'700'000'000'000;
constexpr Timestamp kHour = 3'600'000;

// A store with an archive, a clock that the test moves, and all that was done to it.
class PointInTimeTest : public testing::Test {
 protected:
  PointInTimeTest() : store_("rocksdb") {
    store_.options().clock = clock_;
    store_.options().shards = 4;
  }

  void Open(bool archived = true) {
    store_.options().log_archiver.reset();
    if (archived) {
      auto archiver = OpenFileLogArchiver(archive_, {.store = store_.path(), .segment_bytes = segment_bytes_});
      ASSERT_TRUE(archiver.ok()) << archiver.status().ToString();
      store_.options().log_archiver = *archiver;
    }
    store_.Open();
  }
  void Reopen(bool archived = true) {
    store_.Close();
    Open(archived);
  }
  std::int64_t Tick(std::int64_t ms = 10) {
    clock_->Set(clock_->NowMs() + ms);
    return clock_->NowMs();
  }
  static Labels LabelsOf(int series) { return {{"__name__", "m"}, {"s", std::to_string(series)}}; }
  void Write(int series, Timestamp t, double value) {
    history_.push_back({Tick(), series, t, value});
    store_.Write(LabelsOf(series), {{t, value}});
  }
  void Delete(int series, TimeRange range) {
    history_.push_back({Tick(), series, 0, 0, range});
    ASSERT_TRUE(store_->Delete({Matcher::Equal("s", std::to_string(series))}, range).ok());
  }
  void Checkpoint() {
    Tick();
    store_.Checkpoint();
  }
  // In order and late, of old series and new ones, overwritten, deleted.
  void WriteSome(int n) {
    for (int i = 0; i < n; ++i) {
      const int series = static_cast<int>(random_() % (4 + history_.size() / 8));
      const Timestamp t = kStart + static_cast<Timestamp>(random_() % (6 * kHour)) / 1000 * 1000;
      Write(series, t, static_cast<double>(random_() % 1000));
      if (random_() % 12 == 0) Delete(static_cast<int>(random_() % 8), {t - kHour, t + kHour});
    }
  }
  // What had been written until `time`.
  Contents Expected(std::int64_t time) const {
    Contents contents;
    for (const Done& done : history_) {
      if (done.time > time) break;
      Points& points = contents[LabelsOf(done.series).ToString()];
      if (!done.deleted) {
        points[done.t] = Shown(done.value);
        continue;
      }
      points.erase(points.lower_bound(done.deleted->start), points.lower_bound(done.deleted->end));
    }
    std::erase_if(contents, [](const auto& series) { return series.second.empty(); });
    return contents;
  }
  static Contents ReadStore(const std::string& path) {
    Options options;
    options.read_only = true;
    options.create_if_missing = false;
    const auto store = Storage::Open(options, path);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    if (!store.ok()) return {};
    Contents contents = Read(store->get());
    std::erase_if(contents, [](const auto& series) { return series.second.empty(); });
    return contents;
  }
  std::string Backup() {
    const Result<BackupReport> made = MakeBackup(store_.path(), backups_, {}, {});
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return made.ok() ? made->path : "";
  }
  Result<RestoreReport> Restore(std::optional<std::int64_t> to, const std::string& from = {}, bool allow_earlier = false,
                                bool dry_run = false) {
    target_ = store_.directory() / ("restored" + std::to_string(++restores_));
    RestoreOptions options;
    options.point = PointInTime{archive_, to, allow_earlier};
    options.dry_run = dry_run;
    return ops::Restore(from.empty() ? backups_ : from, target_, options, {});
  }
  void ExpectRefused(const Result<RestoreReport>& restored, StatusCode code, const std::vector<std::string>& says) {
    ASSERT_FALSE(restored.ok());
    EXPECT_EQ(restored.status().code(), code) << restored.status().ToString();
    for (const std::string& text : says) EXPECT_THAT(restored.status().message(), HasSubstr(text));
    EXPECT_FALSE(fs::exists(target_)) << "nothing was written";
  }
  void ExpectRestored(std::int64_t time, const std::string& from = {}) {
    SCOPED_TRACE("to " + std::to_string(time));
    const auto restored = Restore(time, from);
    ASSERT_TRUE(restored.ok()) << restored.status().ToString();
    EXPECT_TRUE(restored->shortfall.ok());
    EXPECT_EQ(restored->reached_ms, time);
    EXPECT_EQ(ReadStore(target_), Expected(time));
  }

  struct Done {
    std::int64_t time;
    int series;
    Timestamp t;
    double value;
    std::optional<TimeRange> deleted = {};
  };
  TestStore store_;
  std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>(kStart);
  const std::string archive_ = store_.directory() / "archive";
  const std::string backups_ = store_.directory() / "backups";
  std::string target_;
  int restores_ = 0;
  std::uint64_t segment_bytes_ = 64 << 20;
  std::vector<Done> history_;
  std::mt19937 random_{static_cast<std::uint32_t>(TestSeed())};
};

TEST_F(PointInTimeTest, EveryMomentBetweenComesBack) {
  segment_bytes_ = 4 << 10;  // several files
  Open();
  WriteSome(60);
  Checkpoint();
  WriteSome(20);
  Backup();
  const std::size_t behind = history_.size();
  WriteSome(40);
  Checkpoint();
  WriteSome(30);
  store_.Kill();  // the log's end is not archived yet; a new epoch
  Reopen();
  WriteSome(50);
  Checkpoint();
  WriteSome(30);
  Checkpoint();
  EXPECT_GT(ListArchive(archive_, {})->segments, 2U);
  for (const std::size_t i :
       {behind - 1, behind, behind + 1, behind + 37, behind + 75, behind + 76, behind + 120, history_.size() - 2}) {
    ASSERT_LT(i, history_.size());
    ExpectRestored(history_[i].time);
    ExpectRestored(history_[i].time + 5);
  }
  // Without a time: all of it.
  const auto all = Restore({});
  ASSERT_TRUE(all.ok()) << all.status().ToString();
  EXPECT_EQ(ReadStore(target_), Expected(clock_->NowMs()));
  EXPECT_EQ(ReadStore(target_), ReadStore(store_.path()));
  EXPECT_EQ(all->reached_ms, clock_->NowMs());
  EXPECT_NE(all->store.incarnation, all->backup.incarnation);
}

TEST_F(PointInTimeTest, TheNewestBackupThatIsEarlyEnoughIsTaken) {
  Open();
  WriteSome(20);
  const std::string first = Backup();
  const std::int64_t between = history_.back().time + 5;
  WriteSome(20);
  Checkpoint();
  const std::string second = Backup();
  WriteSome(20);
  Checkpoint();
  const auto early = Restore(between);
  ASSERT_TRUE(early.ok()) << early.status().ToString();
  EXPECT_EQ(early->from, first);
  EXPECT_EQ(ReadStore(target_), Expected(between));
  const std::int64_t late = history_.back().time;
  const auto newest = Restore(late);
  ASSERT_TRUE(newest.ok()) << newest.status().ToString();
  EXPECT_EQ(newest->from, second);
  EXPECT_EQ(ReadStore(target_), Expected(late));
  ExpectRefused(Restore(between, second), StatusCode::kFailedPrecondition, {second, "name an earlier backup"});
  ExpectRefused(Restore(kStart), StatusCode::kFailedPrecondition, {"all backups in " + backups_ + " are later"});
}

TEST_F(PointInTimeTest, ABackupThatCannotBeReadIsPassedByForAnOlderOne) {
  Open();
  WriteSome(20);
  const std::string first = Backup();
  WriteSome(20);
  Checkpoint();
  const std::string second = Backup();
  WriteSome(20);
  Checkpoint();
  const std::string third = Backup();
  WriteSome(20);
  Checkpoint();
  const std::int64_t time = history_.back().time;
  fs::remove_all(third + "/log");
  std::ofstream(second + "/BACKUP", std::ios::app) << "more\n";
  const auto restored = Restore(time);
  ASSERT_TRUE(restored.ok()) << restored.status().ToString();
  EXPECT_EQ(restored->from, first);
  EXPECT_THAT(restored->passed_by, ElementsAre(HasSubstr(third), HasSubstr(second + "/BACKUP")));
  EXPECT_EQ(ReadStore(target_), Expected(time));
  // With none left it says why of the newest.
  fs::remove_all(first);
  const auto none = Restore(time);
  EXPECT_THAT(none.status().message(), HasSubstr(third));
  EXPECT_FALSE(fs::exists(target_));
}

// Keeps what the work directory of a restore says when the store is whole.
class Keeping : public ProgressSink {
 public:
  explicit Keeping(const std::string& target) : file_(target + "/.restore/WHAT") {}
  void Begin(std::string_view phase, std::uint64_t, std::string_view) override {
    if (phase != "scrubbing") return;
    std::ifstream file(file_);
    what.assign(std::istreambuf_iterator<char>(file), {});
  }
  void Add(std::uint64_t) override {}
  std::string what;

 private:
  const std::string file_;
};

// Killed when all was moved but not cleared up: it is told from another restore into the same directory.
TEST_F(PointInTimeTest, ARestoreThatEndedButForClearingUpIsKnownByItsIdentity) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(40);
  Checkpoint();
  const auto restore = [&](const std::string& target, ProgressSink* sink) {
    RestoreOptions options;
    options.point = PointInTime{archive_, std::nullopt};
    OpsContext context;
    context.progress = sink;
    target_ = target;
    return ops::Restore(backups_, target, options, context);
  };
  const std::string target = store_.directory() / "made";
  Keeping kept(target);
  const auto made = restore(target, &kept);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  ASSERT_THAT(kept.what, HasSubstr("incarnation " + std::to_string(made->store.incarnation)));
  const auto killed = [&](const std::string& what, const std::string& place) {
    fs::create_directory(target + "/.restore");
    std::ofstream(target + place) << what;
    const auto again = restore(target, nullptr);
    EXPECT_NE(fs::exists(target + "/.restore"), again.ok());
    EXPECT_NE(fs::exists(target + place), again.ok());
    fs::remove_all(target + "/.restore");
    fs::remove(target + "/.restored");
    return again;
  };
  for (const char* const place : {"/.restore/WHAT", "/.restored"}) {
    const auto again = killed(kept.what, place);
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(again->reached_ms, made->reached_ms);
    EXPECT_EQ(again->store.incarnation, made->store.incarnation);
  }

  const std::string other = store_.directory() / "other";
  Keeping of_other(other);
  ASSERT_TRUE(restore(other, &of_other).ok());
  const auto expect_refused = [&](const std::string& what, const char* why) {
    for (const char* const place : {"/.restore/WHAT", "/.restored"}) {
      const auto refused = killed(what, place);
      EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition) << why << refused.status().ToString();
      EXPECT_THAT(refused.status().message(), HasSubstr("Remove " + target + "/.restore")) << why;
    }
  };
  expect_refused(of_other.what, "another restore of the same");
  expect_refused("", "cut off");
  const Contents before = ReadStore(target);
  WriteSome(20);
  Checkpoint();
  expect_refused(kept.what, "the archive goes further now");
  EXPECT_EQ(ReadStore(target), before);
}

// As above, of the backups of two stores that were begun in the same second.
TEST_F(PointInTimeTest, ABackupOfAnotherStoreWithTheSameIdIsNotTakenForDone) {
  Open(false);
  WriteSome(20);
  const std::string first = Backup();
  TestStore other("rocksdb");
  other.Open();
  other.Write(LabelsOf(1), {{kStart, 1}});
  const Result<BackupReport> made = MakeBackup(other.path(), other.directory() / "backups", {}, {});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  const std::string second = fs::path(made->path).parent_path() / fs::path(first).filename();
  if (second != made->path) fs::rename(made->path, second);
  BackupManifest manifest = made->manifest;
  manifest.id = fs::path(first).filename();
  std::ofstream(second + "/" + std::string(kBackupFile)) << EncodeBackupManifest(manifest);

  target_ = store_.directory() / "target";
  Keeping kept(target_);
  OpsContext context;
  context.progress = &kept;
  ASSERT_TRUE(ops::Restore(first, target_, {}, context).ok());
  const Contents before = ReadStore(target_);
  for (const char* const place : {"/.restored", "/.restore/WHAT"}) {
    fs::create_directory(target_ + "/.restore");
    std::ofstream(target_ + place) << kept.what;
    const Result<RestoreReport> refused = ops::Restore(second, target_, {}, {});
    EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition) << place << refused.status().ToString();
    EXPECT_THAT(refused.status().message(), HasSubstr(manifest.uuid)) << place;
    const Result<RestoreReport> again = ops::Restore(first, target_, {}, {});
    EXPECT_TRUE(again.ok()) << place << again.status().ToString();
  }
  EXPECT_EQ(ReadStore(target_), before);
}

TEST_F(PointInTimeTest, WhatIsNotArchivedYetIsSaidAndNotPassedOver) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(20);
  Checkpoint();
  const std::int64_t marked = clock_->NowMs();
  WriteSome(5);
  const std::int64_t later = history_.back().time;
  ExpectRefused(Restore(later), StatusCode::kFailedPrecondition, {"does not go as far"});
  const auto earlier = Restore(later, {}, true);
  ASSERT_TRUE(earlier.ok()) << earlier.status().ToString();
  EXPECT_FALSE(earlier->shortfall.ok());
  EXPECT_EQ(earlier->reached_ms, marked);
  EXPECT_EQ(ReadStore(target_), Expected(marked));
  Checkpoint();
  ExpectRestored(later);
}

TEST_F(PointInTimeTest, ADryRunSaysTheSameAndWritesNothing) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(30);
  Checkpoint();
  const std::int64_t time = history_[history_.size() - 10].time;
  const auto dry = Restore(time, {}, false, true);
  ASSERT_TRUE(dry.ok()) << dry.status().ToString();
  EXPECT_FALSE(fs::exists(target_));
  const auto done = Restore(time);
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(dry->archived_rows, done->archived_rows);
  EXPECT_EQ(dry->archived_bytes, done->archived_bytes);
  EXPECT_GT(dry->archived_rows, 0U);
  EXPECT_EQ(dry->reached_ms, time);
}

TEST_F(PointInTimeTest, AnOpeningWithoutTheArchiverLeavesAHoleThatIsNamed) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(20);
  Checkpoint();
  const std::int64_t whole = clock_->NowMs();
  Reopen(false);
  WriteSome(20);
  Checkpoint();
  Reopen();
  WriteSome(20);
  Checkpoint();
  const std::int64_t time = history_.back().time;
  ExpectRefused(Restore(time), StatusCode::kDataLoss, {"lacks LSN", "of shard", "at the latest"});
  ExpectRefused(Restore({}), StatusCode::kDataLoss, {"lacks LSN"});
  const auto earlier = Restore(time, {}, true);
  ASSERT_TRUE(earlier.ok()) << earlier.status().ToString();
  EXPECT_EQ(earlier->reached_ms, whole);
  EXPECT_EQ(ReadStore(target_), Expected(whole));
  ExpectRestored(whole - 1);
  // A backup behind the hole goes with the rest of the archive.
  Backup();
  WriteSome(10);
  Checkpoint();
  ExpectRestored(history_.back().time);
}

// The idle shards of a small store have no rows of the time when nothing was archived: what they are told to lack comes from marks.
TEST_F(PointInTimeTest, AHoleInAShardThatIsIdleSinceIsFound) {
  Open();
  Write(1, kStart, 1);
  Checkpoint();
  Backup();
  Reopen(false);
  for (int series = 0; series < 40; ++series) Write(series, kStart + 1, 2);
  Checkpoint();
  // The epoch's record of the next opening would show the hole: it is archived by nobody either.
  Reopen(false);
  Checkpoint();
  store_.options().log_archiver.reset();
  Reopen();
  Write(1, kStart + 2, 3);
  Checkpoint();
  ExpectRefused(Restore(history_.back().time), StatusCode::kDataLoss, {"lacks LSN", "which follow the backup"});
}

TEST_F(PointInTimeTest, DamagedBytesAreNamed) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(30);
  Checkpoint();
  const std::int64_t first = clock_->NowMs();
  const std::string segment = ListArchiveSegments(archive_)->at(0).path;
  const std::uint64_t begin = fs::file_size(segment);
  WriteSome(30);
  Checkpoint();
  const std::int64_t time = history_.back().time;
  {
    std::fstream file(segment, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(begin + 30));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(begin + 30));
    file.put(static_cast<char>(byte ^ 4));
  }
  ExpectRefused(Restore(time), StatusCode::kDataLoss, {segment + " at offset " + std::to_string(begin), "at the latest"});
  ExpectRestored(first - 1);
  const auto list = ListArchive(archive_, {});
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->problems.size(), 1U);
  EXPECT_THAT(list->problems[0], HasSubstr(segment));
}

TEST_F(PointInTimeTest, AnotherStoresArchiveIsRefused) {
  Open();
  WriteSome(20);
  const std::string backup = Backup();
  WriteSome(5);
  Checkpoint();
  store_.Close();
  store_.options().log_archiver.reset();
  fs::remove_all(store_.path());
  fs::remove_all(archive_);
  Open();
  WriteSome(5);
  Checkpoint();
  ExpectRefused(Restore({}, backup), StatusCode::kFailedPrecondition, {"is of store"});
  ExpectRefused(Restore({}), StatusCode::kNotFound, {"no complete backup"});
}

TEST_F(PointInTimeTest, OldFilesGoAndNewBackupsStayGood) {
  segment_bytes_ = 4 << 10;
  Open();
  WriteSome(20);
  const std::string old = Backup();
  for (int i = 0; i < 4; ++i) {
    WriteSome(40);
    Checkpoint();
  }
  Backup();
  const std::int64_t before = clock_->NowMs();
  for (int i = 0; i < 4; ++i) {
    WriteSome(40);
    Checkpoint();
  }
  const std::size_t files = ListArchiveSegments(archive_)->size();
  const auto would = PruneArchive(archive_, before, true);
  ASSERT_TRUE(would.ok());
  EXPECT_EQ(ListArchiveSegments(archive_)->size(), files);
  const auto pruned = PruneArchive(archive_, before, false);
  ASSERT_TRUE(pruned.ok());
  EXPECT_EQ(pruned->removed.size(), would->removed.size());
  EXPECT_GT(pruned->removed.size(), 1U);
  EXPECT_EQ(ListArchiveSegments(archive_)->size(), files - pruned->removed.size());
  EXPECT_EQ(pruned->segments_left, files - pruned->removed.size());
  ExpectRestored(history_.back().time);
  ExpectRestored(before + 15);
  ExpectRefused(Restore(history_.back().time, old), StatusCode::kDataLoss, {"which follow the backup"});
  EXPECT_EQ(PruneArchive(archive_, clock_->NowMs() + 1'000'000, false)->segments_left, 1U) << "the newest stays";
}

TEST_F(PointInTimeTest, AnArchiveThatWasAwayForTooLongIsToldAndANewBackupClosesTheGap) {
  store_.options().log_archive_backlog_bytes = 0;
  const std::string archive = archive_;
  Open();
  WriteSome(20);
  Backup();
  // The archiver's directory is full: every row is refused.
  store_.Close();
  store_.options().log_archiver.reset();
  auto full = OpenFileLogArchiver(archive, {.store = store_.path(), .max_bytes = 1});
  ASSERT_TRUE(full.ok());
  store_.options().log_archiver = *full;
  store_.Open();
  full->reset();
  WriteSome(20);
  Checkpoint();
  std::uint64_t gap_bytes = 0;
  for (const ShardStats& shard : store_->Stats().shards) gap_bytes += shard.wal_archive_gap_bytes;
  EXPECT_GT(gap_bytes, 0U);
  Reopen();
  WriteSome(20);
  Checkpoint();
  ExpectRefused(Restore(history_.back().time), StatusCode::kDataLoss, {"lacks LSN"});
  Backup();
  WriteSome(20);
  Checkpoint();
  ExpectRestored(history_.back().time);
}

// A backup may hold what a power failure took from the store afterwards: other records have those LSNs now.
TEST_F(PointInTimeTest, ABackupOfWhatTheStoreLostIsRefused) {
  Open();
  WriteSome(20);
  Checkpoint();
  const std::string lost = store_.directory() / "lost";
  testing_support::CopyAtOneMoment(store_.path(), lost);
  WriteSome(5);
  const std::string backup = Backup();
  store_.Close();
  fs::remove_all(store_.path());
  fs::rename(lost, store_.path());
  Open();
  WriteSome(20);
  Checkpoint();
  ExpectRefused(Restore(history_.back().time, backup), StatusCode::kFailedPrecondition,
                {"wrote others in their place", "another backup"});
}

TEST_F(PointInTimeTest, ARestoreIsInterruptedAndDoneAgain) {
  Open();
  WriteSome(20);
  Backup();
  WriteSome(60);
  Checkpoint();
  const std::int64_t time = history_.back().time;
  // Told to stop at the n-th step of its progress.
  class StopAt : public ProgressSink {
   public:
    explicit StopAt(int n) : left_(n) {}
    void Begin(std::string_view, std::uint64_t, std::string_view) override { Step(); }
    void Add(std::uint64_t) override { Step(); }
    std::atomic<bool> stopped{false};

   private:
    void Step() {
      if (left_.fetch_sub(1) == 1) stopped = true;
    }
    std::atomic<int> left_;
  };
  RestoreOptions options;
  options.point = PointInTime{archive_, time};
  target_ = store_.directory() / "interrupted";
  int interrupted = 0;
  for (int at = 1;; at += 9) {
    StopAt stop(at);
    OpsContext context;
    context.progress = &stop;
    context.cancelled = &stop.stopped;
    const auto restored = ops::Restore(backups_, target_, options, context);
    if (restored.ok()) break;
    ASSERT_EQ(restored.status().code(), StatusCode::kCancelled) << restored.status().ToString();
    EXPECT_FALSE(fs::exists(target_ + "/STORE")) << at;
    ++interrupted;
  }
  EXPECT_GT(interrupted, 5);
  EXPECT_EQ(ReadStore(target_), Expected(time));
}

TEST_F(PointInTimeTest, AClockThatIsSetBackCutsAtTheFirstLaterGroup) {
  Open();
  WriteSome(10);
  Backup();
  WriteSome(10);
  const std::size_t end = history_.size();
  const std::int64_t time = history_.back().time;
  WriteSome(10);
  clock_->Set(time - 50);
  WriteSome(3);  // seem to be early enough, but came later than what is left out
  clock_->Set(time + 10'000);
  Checkpoint();
  const auto restored = Restore(time);
  ASSERT_TRUE(restored.ok()) << restored.status().ToString();
  history_.resize(end);
  EXPECT_EQ(ReadStore(target_), Expected(time));
}

}  // namespace
}  // namespace chronolith::ops

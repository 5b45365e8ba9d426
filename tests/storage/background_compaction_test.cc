// Compaction and removal that nobody calls for. The tests go on writing until the upkeep thread has done it.
#include <thread>

#include "tests/storage/store_fixture.h"
#include "tests/support/gate.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr Timestamp kWindow = 100'000;
constexpr int kSeries = 30;
constexpr int kRoundsOfACheckpoint = 3;  // of 30 KB of log or more: less than twice checkpoint_bytes

// Holds a checkpoint at its end, where the log is trimmed, until somebody has written so much that the next one is wanted already.
class HoldsCheckpoints : public LogArchiver {
 public:
  Status Archive(std::span<const ArchivedRow> rows) override {
    if (rows.front().shard == 0) gate.Pass();
    return Status::Ok();
  }
  void OnGap(std::uint32_t, Lsn, Lsn) override {}

  Gate gate;
};

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

class BackgroundCompaction : public EveryEngine {
 protected:
  BackgroundCompaction() {
    store_.options().window_ms = kWindow;
    store_.options().checkpoint_bytes = 64 << 10;
    store_.options().shards = 2;
  }
  // One window of samples for every series, `step` ms apart, from `start` on.
  void WriteWindow(Timestamp start, Timestamp step) {
    for (int i = 0; i < kSeries; ++i) {
      std::vector<Sample> samples;
      for (Timestamp t = start; t < start + kWindow; t += step) {
        samples.push_back({t, 1.0 / (1.0 + static_cast<double>(t % 9973) + i)});
        expected_[Numbered(i).ToString()][t] = Shown(samples.back().value);
      }
      store_.Write(Numbered(i), samples);
    }
  }
  // Much that comes late, and a window more, after which it pays to compact the first.
  void WriteAWindowInPieces() {
    const Timestamp late = next_;
    WriteWindow(next_, 4000);  // not enough for a checkpoint that nobody has asked for
    next_ += 2 * kWindow;      // the first window may still grow
    WriteWindow(next_, 4000);
    for (const Timestamp shift : {100, 200, 300}) {
      for (int i = 0; i < kSeries; ++i) {
        const Timestamp t = late + 50'000 + shift;
        store_.Write(Numbered(i), {{t, 1}, {t + 1, 2}, {t + 2, 3}});
        for (int k = 0; k < 3; ++k) expected_[Numbered(i).ToString()][t + k] = Shown(1.0 + k);
      }
      store_.Checkpoint();
    }
    EXPECT_EQ(Compacted(), 0U);
    next_ += kWindow;
  }
  void WriteOn() {
    WriteWindow(next_, 1000);
    next_ += kWindow;
  }
  // Goes on in time until `done`; false where it never is. A checkpoint follows each few rounds, however slow the disk is.
  template <typename Done>
  bool WriteUntil(const Done& done) {
    for (int rounds = 0; rounds < 3000 && !done(); ++rounds) {
      const std::uint64_t before = store_->Stats().checkpoints;
      for (int i = 0; i < kRoundsOfACheckpoint; ++i) WriteOn();
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
      while (store_->Stats().checkpoints == before) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
      }
    }
    return done();
  }
  // Until so many checkpoints have been made by the upkeep thread, each of which finds the next one wanted when it ends.
  void WriteWithoutAPause(HoldsCheckpoints* archiver, std::uint64_t checkpoints) {
    const std::uint64_t last = store_->Stats().checkpoints + checkpoints;
    archiver->gate.Close();
    for (int i = 0; i < kRoundsOfACheckpoint; ++i) WriteOn();
    while (store_->Stats().checkpoints < last) {
      archiver->gate.AwaitHeld(1);
      for (int i = 0; i < kRoundsOfACheckpoint; ++i) WriteOn();
      archiver->gate.LetHeldGo();
    }
  }
  std::uint64_t Compacted() { return store_->Stats().compacted_windows; }

  Contents expected_;
  Timestamp next_ = kT - kT % kWindow;
};
INSTANTIATE_TEST_SUITE_P(Engines, BackgroundCompaction, AllEngines(), EngineName);

TEST_P(BackgroundCompaction, WindowsWithMuchLateDataAreCompactedAndReadTheSame) {
  store_.Open();
  WriteAWindowInPieces();
  ASSERT_TRUE(WriteUntil([&] { return Compacted() >= 2; })) << "one window of two shards";
  EXPECT_EQ(store_.Read(), expected_);
  store_.Restart();
  EXPECT_EQ(store_.Read(), expected_);
}

TEST_P(BackgroundCompaction, WritersThatNeverPauseDoNotKeepWindowsAndSeriesForEver) {
  const auto archiver = std::make_shared<HoldsCheckpoints>();
  store_.options().log_archiver = archiver;
  store_.options().clock = std::make_shared<FakeClock>(kT + 10'000'000'000);
  store_.Open();
  for (int i = 0; i < 10; ++i) store_.Write({{"__name__", "short"}, {"i", std::to_string(i)}}, {{next_, 1}});
  WriteAWindowInPieces();
  WriteWithoutAPause(archiver.get(), 6);
  EXPECT_EQ(Compacted(), 0U) << "there was a pause";
  WriteWithoutAPause(archiver.get(), 18);
  EXPECT_EQ(Compacted(), 2U) << "one window of two shards";
  EXPECT_EQ(store_->SeriesIds({Matcher::Equal("__name__", "short")})->size(), 10U);
  archiver->gate.Open();
  store_.Close();
  store_.options().retention_ms = 10 * kWindow;
  archiver->gate.Close();  // opening asks for a checkpoint of what the last life has left
  store_.Open();
  WriteWithoutAPause(archiver.get(), 6);
  EXPECT_EQ(store_->SeriesIds({Matcher::Equal("__name__", "short")})->size(), 10U) << "there was a pause";
  WriteWithoutAPause(archiver.get(), 18);
  EXPECT_TRUE(store_->SeriesIds({Matcher::Equal("__name__", "short")})->empty());
  archiver->gate.Open();
  EXPECT_EQ(store_->SeriesIds({})->size(), std::size_t{kSeries});
}

TEST_P(BackgroundCompaction, InOrderDataIsNeverReadAgain) {
  store_.Open();
  ASSERT_TRUE(WriteUntil([&] { return store_->Stats().checkpoints >= 8; }));
  EXPECT_EQ(Compacted(), 0U);
}

TEST_P(BackgroundCompaction, ItCanBeSwitchedOff) {
  store_.options().background_compaction = false;
  store_.options().retention_ms = 3 * kWindow;
  store_.options().clock = std::make_shared<FakeClock>(kT + 10'000'000'000);
  store_.Open();
  store_.Write({{"__name__", "short"}}, {{next_, 1}});
  ASSERT_TRUE(WriteUntil([&] { return store_->Stats().checkpoints >= 8; }));
  EXPECT_EQ(Compacted(), 0U);
  EXPECT_EQ(store_->SeriesIds({Matcher::Equal("__name__", "short")})->size(), 1U);
}

TEST_P(BackgroundCompaction, SeriesWhoseDataHasExpiredLeaveTheIndex) {
  store_.options().retention_ms = 3 * kRoundsOfACheckpoint * kWindow;
  store_.options().clock = std::make_shared<FakeClock>(kT + 10'000'000'000);
  store_.Open();
  for (int i = 0; i < 10; ++i) store_.Write({{"__name__", "short"}, {"i", std::to_string(i)}}, {{next_, 1}});
  store_.Write({{"__name__", "long"}}, {{next_, 1}});
  EXPECT_TRUE(WriteUntil([&] {
    store_.Write({{"__name__", "long"}}, {{next_ + 1, 1}});
    return store_->SeriesIds({Matcher::Equal("__name__", "short")})->empty();
  }));
  EXPECT_EQ(store_->SeriesIds({})->size(), kSeries + 1U);
  std::uint64_t removed = 0;
  for (const ShardStats& s : store_->Stats().shards) removed += s.series_removed;
  EXPECT_EQ(removed, 10U);
  store_.Kill();
  EXPECT_TRUE(store_->SeriesIds({Matcher::Equal("__name__", "short")})->empty());
  EXPECT_EQ(store_->SeriesIds({})->size(), kSeries + 1U);
}

}  // namespace
}  // namespace chronolith

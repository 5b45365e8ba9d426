// Compaction and removal that nobody calls for. The tests go on writing until the upkeep thread has done it.
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr Timestamp kWindow = 100'000;
constexpr int kSeries = 30;

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
  // Goes on in time until `done`; false where it never is.
  template <typename Done>
  bool WriteUntil(const Done& done) {
    for (int rounds = 0; rounds < 3000 && !done(); ++rounds) {
      WriteWindow(next_, 1000);
      next_ += kWindow;
    }
    return done();
  }
  std::uint64_t Compacted() { return store_->Stats().compacted_windows; }

  Contents expected_;
  Timestamp next_ = kT - kT % kWindow;
};
INSTANTIATE_TEST_SUITE_P(Engines, BackgroundCompaction, AllEngines(), EngineName);

TEST_P(BackgroundCompaction, WindowsWithMuchLateDataAreCompactedAndReadTheSame) {
  store_.Open();
  const Timestamp late = next_;
  WriteWindow(next_, 1000);
  next_ += 2 * kWindow;  // the first window may still grow
  WriteWindow(next_, 1000);
  for (const Timestamp shift : {100, 200, 300}) {  // much, and in pieces
    for (int i = 0; i < kSeries; ++i) {
      const Timestamp t = late + 50'000 + shift;
      store_.Write(Numbered(i), {{t, 1}, {t + 1, 2}, {t + 2, 3}});
      for (int k = 0; k < 3; ++k) expected_[Numbered(i).ToString()][t + k] = Shown(1.0 + k);
    }
    store_.Checkpoint();
  }
  EXPECT_EQ(Compacted(), 0U);
  next_ += kWindow;
  ASSERT_TRUE(WriteUntil([&] { return Compacted() >= 2; })) << "one window of two shards";
  EXPECT_EQ(store_.Read(), expected_);
  store_.Restart();
  EXPECT_EQ(store_.Read(), expected_);
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
  store_.options().retention_ms = 3 * kWindow;
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

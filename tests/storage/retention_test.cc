// The retention floor is one for all shards, whatever a crash has left of it in their logs.
#include "format/index_rows.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSeries = 24;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

std::size_t SeriesWithOldSamples(Storage* store) { return Read(store, {}, {kT, kT + 1}).size(); }

// The process dies during one of the engine's writes, after the other: at some point that is the group which carries the floor to
// all shards, and of it any part survives.
TEST(Retention, ACrashHalfWayThroughRaisingTheFloorLeavesOneFloor) {
  int expired = 0;
  int kept = 0;
  bool crashed = true;
  for (std::uint64_t nth = 1; crashed; ++nth) {
    for (std::uint64_t seed = 1; seed <= 6 && crashed; ++seed) {
      SCOPED_TRACE("write " + std::to_string(nth) + ", seed " + std::to_string(seed));
      AdversarialOptions adversarial;
      adversarial.seed = seed;
      TestStore store("memory", adversarial);
      const auto clock = std::make_shared<FakeClock>(kT + 10'000'000);
      store.options().clock = clock;
      store.options().window_ms = 10'000;
      store.options().retention_ms = 60'000;
      store.Open();
      for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1}, {kT + 200'000, 2}});
      store.memory().CrashDuringCall(EngineMethod::kWrite, nth, CrashKind::kKill);
      crashed = !store->Checkpoint().ok();
      if (!crashed) break;  // the fault lies behind all that a checkpoint writes
      store.memory().CrashAll(CrashKind::kKill);
      {
        Options reader = store.options();
        reader.read_only = true;
        auto opened = Storage::Open(reader, store.path());
        ASSERT_TRUE(opened.ok()) << opened.status().ToString();
        const std::size_t seen = SeriesWithOldSamples(opened->get());
        EXPECT_TRUE(seen == 0 || seen == kSeries) << "a reader sees " << seen;
      }
      store.Open();
      const std::size_t seen = SeriesWithOldSamples(store.get());
      EXPECT_TRUE(seen == 0 || seen == kSeries) << seen << " series have a sample that the others say has expired";
      ++(seen == 0 ? expired : kept);
      // And so it stays: what lagged was logged again.
      store.Kill();
      EXPECT_EQ(SeriesWithOldSamples(store.get()), seen);
      if (seen == 0) {
        const WriteResult late = store->Write(MakeSeries(Numbered(3), {{kT, 3}}));
        EXPECT_EQ(late.refused.size(), 1U) << "below the floor";
      }
      store.Write(Numbered(0), {{kT + 201'000, 3}});
      store.Checkpoint();
      EXPECT_EQ(SeriesWithOldSamples(store.get()), 0U);
      EXPECT_EQ(store.Read().size(), static_cast<std::size_t>(kSeries));
    }
    ASSERT_LT(nth, 200U);
  }
  EXPECT_GT(expired, 0);
  EXPECT_GT(kept, 0);
}

// One shard, windows of ten seconds, a minute of retention.
class ExpiringStore : public TestStore {
 public:
  ExpiringStore() : TestStore("memory") {
    options().shards = 1;
    options().clock = clock_;
    options().window_ms = 10'000;
    options().retention_ms = 60'000;
  }
  void SetTime(Timestamp now) { clock_->Set(now); }

 private:
  const std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>(kT);
};

// Series that come and go take no memory for having been there, whoever removed them.
TEST(Retention, MemoryDoesNotGrowWithTheSeriesThatHaveBeen) {
  ExpiringStore store;
  store.Open();
  SeriesRef first;
  SeriesRef recent;
  std::vector<std::uint64_t> bytes;
  for (int generation = 0; generation < 12; ++generation) {
    const Timestamp now = kT + generation * 100'000;
    store.SetTime(now);
    std::vector<TimeSeries> batch;
    for (int i = 0; i < 1500; ++i) batch.push_back(MakeSeries(Numbered(generation * 1500 + i), {{now, 1}}));
    ASSERT_TRUE(store->Write(batch).ok());
    if (generation == 0) first = store->NewAppender()->Ref(Numbered(0)).value();
    if (generation == 9) recent = store->NewAppender()->Ref(Numbered(9 * 1500)).value();
    store.Compact();
    store.Compact();  // gives back what the one before has removed
    bytes.push_back(store->Stats().shards[0].head_bytes);
    EXPECT_EQ(store.Read().size(), 1500U);
    if (generation == 8) store.Kill();
  }
  EXPECT_LE(bytes.back(), bytes[2] + (64 << 10)) << "9 generations more are 800 KiB of entries";
  // References to what is gone: of this process, and of an earlier one, whose labels are gone too.
  const auto appender = store->NewAppender();
  appender->Append(recent, kT + 11 * 100'000 + 1, 5);
  EXPECT_TRUE(appender->Commit().ok());
  EXPECT_EQ(store.Read().size(), 1501U) << "it is created again";
  appender->Append(first, kT + 11 * 100'000 + 1, 5);
  EXPECT_EQ(appender->Commit().status.code(), StatusCode::kNotFound);
  EXPECT_EQ(store.Read().size(), 1501U);
}

// As SeriesRef says.
TEST(Retention, LabelsAreKeptForReferencesToTheNewest65536SeriesThatExpired) {
  ExpiringStore store;
  store.Open();
  const auto appender = store->NewAppender();
  const auto expire = [&](int generation, int first, int n) {
    const Timestamp now = kT + generation * 100'000;
    store.SetTime(now);
    for (int at = 0; at < n; at += 4096) {
      std::vector<TimeSeries> batch;
      for (int i = at; i < std::min(n, at + 4096); ++i) batch.push_back(MakeSeries(Numbered(first + i), {{now, 1}}));
      ASSERT_TRUE(store->Write(batch).ok());
    }
    store.Compact();
  };
  const auto append = [&](SeriesRef ref, Timestamp t) {
    appender->Append(ref, t, 5);
    return appender->Commit().status.code();
  };
  expire(0, 0, 2);
  const SeriesRef oldest = appender->Ref(Numbered(0)).value();
  const SeriesRef second = appender->Ref(Numbered(1)).value();
  expire(1, 10, 65'536 - 1);
  expire(2, 100'000, 1);
  expire(3, 100'001, 1);
  EXPECT_EQ(append(oldest, kT + 300'001), StatusCode::kNotFound) << "65,536 others have expired since";
  EXPECT_EQ(append(second, kT + 300'001), StatusCode::kOk);
  EXPECT_EQ(store.Read().size(), 2U) << "the newest, and the one that was created again";
}

// The pass that removes series looks for the labels of those that are gone: one row that it cannot read must not keep it from its
// work.
TEST(Retention, ADamagedRowOfLabelsKeepsNoSeriesFromExpiring) {
  ExpiringStore store;
  store.Open();
  for (int i = 0; i < 20; ++i) store.Write(Numbered(i), {{kT, 1}});
  store.SetTime(kT + 100'000);
  store.Write(Numbered(20), {{kT + 100'000, 1}});
  store.Compact();  // twenty are gone, and no pass has looked at them since
  for (int i = 21; i < 40; ++i) store.Write(Numbered(i), {{kT + 100'000, 1}});
  store.Checkpoint();
  store.KillWithoutOpening();
  ASSERT_TRUE(
      store.memory().FlipBit(store.path() + "/data", "index.0", index_rows::OrdinalKey(index_rows::kLabelsPrefix, 5), 77).ok());
  store.SetTime(kT + 200'000);
  store.Open();
  store.Write(Numbered(50), {{kT + 200'000, 1}});
  EXPECT_EQ(store->Compact().status().code(), StatusCode::kDataLoss) << "it is told all the same";
  EXPECT_EQ(store->Stats().shards[0].series_total, 1U);
}

// An operator shortens the retention of a store that nobody writes to: the log is trimmed, so no head knows the newest sample.
TEST(Retention, AShorterOneAppliesToAStoreWithoutNewSamples) {
  for (const std::string& engine : EngineRegistry::Default()->Names()) {
    SCOPED_TRACE(engine);
    TestStore store(engine);
    store.options().clock = std::make_shared<FakeClock>(kT + 10'000'000);
    store.options().window_ms = 10'000;
    store.Open();
    for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1}, {kT + 200'000, 2}});
    store.Checkpoint();
    store.Close();
    store.options().retention_ms = 60'000;
    store.Open();
    EXPECT_EQ(SeriesWithOldSamples(store.get()), static_cast<std::size_t>(kSeries));
    store.Compact();
    EXPECT_EQ(SeriesWithOldSamples(store.get()), 0U);
    EXPECT_EQ(store.Read().size(), static_cast<std::size_t>(kSeries)) << "the newest samples stay";
  }
}

}  // namespace
}  // namespace chronolith

#include "block/chunk_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

#include "chunk/packed_chunk.h"
#include "plugins/memory/memory_engine.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kWindow = 1000;

class ChunkStoreTest : public ::testing::Test {
 protected:
  explicit ChunkStoreTest(AdversarialOptions adversary = {}) : factory_(MakeAdversarialMemoryEngineFactory(std::move(adversary))) {
    Open();
  }

  void Open() {
    store_.reset();
    if (engine_ != nullptr) {
      EXPECT_TRUE(engine_->Close().ok());
    }
    engine_.reset();
    EngineOptions options;
    expiry_ = std::make_shared<ExpiryFilter>(kWindow);
    options.families = {{"meta", FamilyRole::kMeta, nullptr, nullptr}, {"chunk.3", FamilyRole::kChunk, nullptr, expiry_}};
    auto engine = factory_->Open("db", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(*engine);
    ChunkStoreOptions store;
    store.shard = 3;
    store.family = 1;
    store.window_ms = kWindow;
    store.expiry = expiry_;
    store_ = std::make_unique<ChunkStore>(engine_.get(), store);
  }

  static Chunk MakeChunk(std::uint32_t ordinal, Lsn lsn, std::vector<Timestamp> times) {
    Chunk chunk;
    std::vector<Sample> samples;
    for (const Timestamp t : times) samples.push_back({t, static_cast<double>(lsn)});
    chunk.meta.window = WindowOf(times.front(), kWindow);
    chunk.meta.ordinal = ordinal;
    chunk.meta.creation_lsn = lsn;
    chunk.meta.min_time = times.front();
    chunk.meta.max_time = times.back();
    chunk.meta.samples = static_cast<std::uint32_t>(times.size());
    chunk.data = EncodeXor(samples);
    return chunk;
  }

  std::vector<std::vector<Lsn>> ReadLsns(const std::vector<Ordinal>& ordinals, TimeRange range) {
    ChunkSet set;
    const Status s = store_->Read(ordinals, {.range = range}, &set);
    EXPECT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(set.series(), ordinals.size());
    std::vector<std::vector<Lsn>> lsns(ordinals.size());
    for (std::size_t i = 0; i < ordinals.size(); ++i) {
      for (const ChunkSlice& chunk : set.Of(i)) {
        EXPECT_EQ(chunk.meta.ordinal, ordinals[i]);
        lsns[i].push_back(chunk.meta.creation_lsn);
      }
    }
    return lsns;
  }

  std::shared_ptr<MemoryEngineFactory> factory_;
  std::shared_ptr<ExpiryFilter> expiry_;
  std::unique_ptr<KvEngine> engine_;
  std::unique_ptr<ChunkStore> store_;
};

TEST_F(ChunkStoreTest, PacksFloatsUnlessTold) {
  std::vector<Timestamp> times(100);
  std::iota(times.begin(), times.end(), 100);
  const Chunk closed = MakeChunk(1, 10, times);
  const Chunk open = MakeChunk(2, 11, times);
  const auto stored = [&](Ordinal ordinal) {
    ChunkSet set;
    EXPECT_TRUE(store_->Read(std::vector<Ordinal>{ordinal}, {}, &set).ok());
    EXPECT_EQ(set.chunks(), 1U);
    return std::string(set.Of(0)[0].data);
  };
  ASSERT_TRUE(store_->Write({closed}).ok());
  ASSERT_TRUE(store_->Write({open}, Packing::kNone).ok());
  EXPECT_EQ(stored(2), open.data);
  std::string unpacked;
  ASSERT_TRUE(IsPacked(stored(1)));
  ASSERT_TRUE(Unpack(stored(1), &unpacked).ok());
  EXPECT_EQ(unpacked, closed.data);
  ASSERT_TRUE(store_->Write({open}).ok());  // the same row again, packed now
  EXPECT_TRUE(IsPacked(stored(2)));
}

TEST_F(ChunkStoreTest, ReadsWhatWasWrittenByRangeAndSeries) {
  ASSERT_TRUE(store_
                  ->Write({MakeChunk(7, 30, {1500, 1600}), MakeChunk(5, 10, {100, 200}), MakeChunk(5, 20, {1100}),
                           MakeChunk(7, 12, {-300, -200}), MakeChunk(6, 11, {100})})
                  .ok());
  using Lsns = std::vector<std::vector<Lsn>>;
  EXPECT_EQ(ReadLsns({5, 7}, {}), (Lsns{{10, 20}, {12, 30}}));
  EXPECT_EQ(ReadLsns({5, 7}, {200, 1100}), (Lsns{{10}, {}}));
  EXPECT_EQ(ReadLsns({5, 7}, {201, 1101}), (Lsns{{20}, {}}));
  EXPECT_EQ(ReadLsns({4, 6, 8}, {}), (Lsns{{}, {11}, {}}));
  EXPECT_EQ(ReadLsns({7}, {-1000, -200}), (Lsns{{12}}));
  EXPECT_EQ(ReadLsns({7}, {-1000, -300}), (Lsns{{}}));
  EXPECT_EQ(ReadLsns({}, {}), Lsns{});
  EXPECT_EQ(ReadLsns({5}, {10, 10}), (Lsns{{}}));
}

TEST_F(ChunkStoreTest, AnOpenChunkOverwritesItsRow) {
  ASSERT_TRUE(store_->Write({MakeChunk(5, 10, {100, 200})}).ok());
  ASSERT_TRUE(store_->Write({MakeChunk(5, 10, {100, 200, 300})}).ok());
  ChunkSet set;
  const std::vector<Ordinal> ordinals = {5};
  ASSERT_TRUE(store_->Read(ordinals, {}, &set).ok());
  ASSERT_EQ(set.Of(0).size(), 1U);
  EXPECT_EQ(set.Of(0)[0].meta.samples, 3U);
  const auto samples = DecodeXor(set.Of(0)[0].data);
  ASSERT_TRUE(samples.ok());
  EXPECT_EQ(samples->size(), 3U);
}

TEST_F(ChunkStoreTest, ReadsTheTypesThatAreAskedFor) {
  Chunk exemplars = MakeChunk(5, 10, {100, 200});
  exemplars.meta.type = ChunkType::kExemplar;
  Chunk histogram = exemplars;
  histogram.meta.type = ChunkType::kHistogram;
  ASSERT_TRUE(store_->Write({MakeChunk(5, 10, {100, 200}), exemplars, histogram}).ok());
  ChunkSet set;
  const std::vector<Ordinal> ordinals = {5};
  ASSERT_TRUE(store_->Read(ordinals, {}, &set).ok());
  EXPECT_EQ(set.Of(0).size(), 2U);
  ASSERT_TRUE(store_->Read(ordinals, {.type_from = ChunkType::kExemplar, .type_to = ChunkType::kExemplar}, &set).ok());
  ASSERT_EQ(set.Of(0).size(), 1U);
  EXPECT_EQ(set.Of(0)[0].meta.type, ChunkType::kExemplar);
}

TEST_F(ChunkStoreTest, TellsWhichSeriesHaveRowsOfAType) {
  std::vector<Chunk> chunks;
  std::vector<Ordinal> ordinals;
  std::vector<bool> expected;
  for (Ordinal o = 0; o < 300; ++o) {
    chunks.push_back(MakeChunk(o, 10, {100, 200}));
    if (o % 7 == 3) {
      chunks.push_back(MakeChunk(o, 11, {kWindow * 5}));
      chunks.back().meta.type = ChunkType::kExemplar;
    }
    if (o % 2 == 0 && o != 8) continue;  // so that some are passed by, one after the other and with a seek
    ordinals.push_back(o);
    expected.push_back(o % 7 == 3);
  }
  ASSERT_TRUE(store_->Write({chunks.begin(), chunks.end()}).ok());
  ChunkReadOptions options{.type_from = ChunkType::kExemplar, .type_to = ChunkType::kExemplar};
  std::vector<bool> have;
  ASSERT_TRUE(store_->HaveRows(ordinals, options, &have).ok());
  EXPECT_EQ(have, expected);
  options.range = {0, kWindow};
  ASSERT_TRUE(store_->HaveRows(ordinals, options, &have).ok());
  EXPECT_EQ(have, std::vector<bool>(ordinals.size())) << "another window";
  options.range = {};
  options.poll = [] { return Cancelled("enough"); };
  for (Ordinal o = 1000; o < 3000; ++o) ASSERT_TRUE(store_->Write({MakeChunk(o, 12, {300})}).ok());
  EXPECT_EQ(store_->HaveRows({}, options, &have), Status::Ok());
  std::vector<Ordinal> all(3000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(store_->HaveRows(all, options, &have).code(), StatusCode::kCancelled);
}

TEST_F(ChunkStoreTest, SparseAndDenseReadsAgreeWithAModel) {
  std::mt19937_64 random(TestSeed());
  std::map<std::tuple<Timestamp, std::uint32_t, Lsn>, Chunk> model;
  std::vector<Chunk> chunks;
  for (int i = 0; i < 4000; ++i) {
    const auto ordinal = static_cast<std::uint32_t>(random() % 500);
    const auto t = static_cast<Timestamp>(random() % 10'000) - 3000;
    const Timestamp last = std::min(t + static_cast<Timestamp>(random() % 300), WindowOf(t, kWindow) + kWindow - 1);
    Chunk chunk = MakeChunk(ordinal, 1 + random() % 50, last > t ? std::vector<Timestamp>{t, last} : std::vector<Timestamp>{t});
    model[{chunk.meta.window, ordinal, chunk.meta.creation_lsn}] = chunk;
    chunks.clear();
  }
  for (const auto& [key, chunk] : model) chunks.push_back(chunk);
  ASSERT_TRUE(store_->Write({chunks.begin(), chunks.end()}).ok());
  for (int round = 0; round < 60; ++round) {
    std::vector<Ordinal> ordinals;
    const std::uint64_t keep = 1 + random() % 100;
    for (Ordinal o = 0; o < 510; ++o) {
      if (random() % 100 < keep) ordinals.push_back(o);
    }
    const auto start = static_cast<Timestamp>(random() % 12'000) - 4000;
    const TimeRange range = round == 0 ? TimeRange{} : TimeRange{start, start + static_cast<Timestamp>(random() % 5000)};
    std::vector<std::vector<Lsn>> expected(ordinals.size());
    OrdinalSet with_data;
    for (const auto& [key, chunk] : model) {
      if (!range.Overlaps(chunk.meta.min_time, chunk.meta.max_time) || range.empty()) continue;
      with_data.Add(chunk.meta.ordinal);
      const auto at = std::lower_bound(ordinals.begin(), ordinals.end(), chunk.meta.ordinal);
      if (at != ordinals.end() && *at == chunk.meta.ordinal) {
        expected[static_cast<std::size_t>(at - ordinals.begin())].push_back(chunk.meta.creation_lsn);
      }
    }
    ASSERT_EQ(ReadLsns(ordinals, range), expected);
    OrdinalSet found;
    ASSERT_TRUE(store_->OrdinalsWithData(range, &found).ok());
    ASSERT_EQ(found.ToVector(), with_data.ToVector());
  }
}

TEST_F(ChunkStoreTest, StateAndTombstonesSurviveReopen) {
  EXPECT_EQ(store_->Load()->applied_lsn, 0U);
  Tombstone small{.lsn = 40, .range = {1, 5}, .ordinals = {}};
  small.ordinals.Add(9);
  Tombstone large{.lsn = 50, .range = {2, 6}, .ordinals = {}};
  for (std::uint32_t i = 0; i < 100'000; ++i) large.ordinals.Add(i * 999);
  Tombstone later{.lsn = 51, .range = {3, 7}, .ordinals = {}};
  store_->tombstones().Add(small);
  store_->tombstones().Add(large);
  store_->tombstones().Add(later);
  ASSERT_TRUE(store_->Finish({.applied_lsn = 50, .floor = -20, .epoch = 4}).ok());
  ASSERT_TRUE(engine_->Flush(FamilyId{1}).ok());
  Open();
  const auto state = store_->Load();
  ASSERT_TRUE(state.ok()) << state.status().ToString();
  EXPECT_EQ(state->applied_lsn, 50U);
  EXPECT_EQ(state->floor, -20);
  EXPECT_EQ(state->epoch, 4U);
  EXPECT_EQ(store_->tombstones().floor(), -20);
  const auto list = store_->tombstones().Get();
  ASSERT_EQ(list->size(), 2U);  // the third lies behind applied_lsn: the log has it
  EXPECT_EQ((*list)[0]->ordinals.ToVector(), small.ordinals.ToVector());
  EXPECT_EQ((*list)[1]->ordinals.ToVector(), large.ordinals.ToVector());
  EXPECT_EQ((*list)[1]->range, large.range);
}

TEST_F(ChunkStoreTest, ATombstoneCutShortByACrashIsLeftToTheLog) {
  Tombstone large{.lsn = 50, .range = {2, 6}, .ordinals = {}};
  for (std::uint32_t i = 0; i < 100'000; ++i) large.ordinals.Add(i * 999);
  const std::vector<ChunkFamilyRow> rows = EncodeTombstone(large);
  const std::vector<Op> ops = {{Op::Type::kPut, rows[1].key, rows[1].value}};
  const std::vector<Batch> batches = {{1, "t", 0, ops}};
  ASSERT_TRUE(engine_->Write(batches, {})[0].ok());
  ASSERT_TRUE(store_->Load().ok());
  EXPECT_TRUE(store_->tombstones().Get()->empty());
  const ChunkFamilyRow state = EncodeChunkState({.applied_lsn = 60});
  const std::vector<Op> state_ops = {{Op::Type::kPut, state.key, state.value}};
  const std::vector<Batch> state_batches = {{1, "s", 0, state_ops}};
  ASSERT_TRUE(engine_->Write(state_batches, {})[0].ok());
  const auto damaged = store_->Load();
  EXPECT_EQ(damaged.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(damaged.status().message(), HasSubstr("50"));
}

TEST_F(ChunkStoreTest, DamageNamesFamilyAndKey) {
  const Chunk chunk = MakeChunk(5, 10, {100, 200});
  ASSERT_TRUE(store_->Write({chunk}).ok());
  const ChunkKey key = EncodeChunkKey(chunk.meta);
  for (const std::size_t bit : {3, 40, 100}) {
    ASSERT_TRUE(factory_->FlipBit("db", "chunk.3", {key.data(), key.size()}, bit).ok());
    ChunkSet set;
    const std::vector<Ordinal> ordinals = {5};
    const Status s = store_->Read(ordinals, {}, &set);
    EXPECT_EQ(s.code(), StatusCode::kDataLoss);
    EXPECT_THAT(s.message(), HasSubstr("chunk.3"));
    EXPECT_THAT(s.message(), HasSubstr("6380000000000000000000000500000000000"));
    OrdinalSet set2;
    EXPECT_EQ(store_->OrdinalsWithData({}, &set2).code(), StatusCode::kDataLoss);
    ASSERT_TRUE(factory_->FlipBit("db", "chunk.3", {key.data(), key.size()}, bit).ok());
    EXPECT_TRUE(store_->Read(ordinals, {}, &set).ok());
  }
}

TEST_F(ChunkStoreTest, AForeignKeyIsDamage) {
  const std::vector<Op> ops = {{Op::Type::kPut, "chronolith", "x"}};
  const std::vector<Batch> batches = {{1, "c", 0, ops}};
  ASSERT_TRUE(engine_->Write(batches, {})[0].ok());
  ChunkSet set;
  const std::vector<Ordinal> ordinals = {5};
  EXPECT_EQ(store_->Read(ordinals, {}, &set).code(), StatusCode::kDataLoss);
  EXPECT_EQ(store_->Windows().status().code(), StatusCode::kDataLoss);
}

TEST_F(ChunkStoreTest, AnOversizedPayloadIsRefused) {
  Chunk chunk = MakeChunk(5, 10, {100, 200});
  chunk.data.resize(65 << 10);
  EXPECT_EQ(store_->Write({chunk}).code(), StatusCode::kInvalidArgument);
}

TEST_F(ChunkStoreTest, TheSearchForSeriesWithDataCanBeStopped) {
  for (std::uint32_t i = 0; i < 600; ++i) ASSERT_TRUE(store_->Write({MakeChunk(i, 10, {100, 200})}).ok());
  int looks = 0;
  OrdinalSet found;
  EXPECT_EQ(store_->OrdinalsWithData({}, &found, [&] { return ++looks == 2; }).code(), StatusCode::kCancelled);
  EXPECT_EQ(looks, 2);
  EXPECT_TRUE(store_->OrdinalsWithData({}, &found, [] { return false; }).ok());
  EXPECT_EQ(found.size(), 600U);
}

TEST_F(ChunkStoreTest, ManyChunksGoInBatchesWithinTheLimits) {
  std::vector<Chunk> chunks;
  for (std::uint32_t i = 0; i < 300; ++i) {
    chunks.push_back(MakeChunk(i, 10, {100, 200}));
    chunks.back().data.resize(40 << 10);
  }
  ASSERT_TRUE(store_->Write({chunks.begin(), chunks.end()}).ok());  // 12 MB, the limit is 8 MiB
  OrdinalSet found;
  ASSERT_TRUE(store_->OrdinalsWithData({}, &found).ok());
  EXPECT_EQ(found.size(), 300U);
  ShardStats stats;
  store_->FillStats(&stats);
  EXPECT_EQ(stats.chunk_rows_written, 300U);
  EXPECT_EQ(stats.chunk_samples, 600U);
  EXPECT_EQ(stats.chunk_payload_bytes, 300U * (40 << 10));
}

TEST_F(ChunkStoreTest, PollEndsARead) {
  std::vector<Chunk> chunks;
  for (std::uint32_t i = 0; i < 3000; ++i) chunks.push_back(MakeChunk(i, 10, {100, 200}));
  ASSERT_TRUE(store_->Write({chunks.begin(), chunks.end()}).ok());
  std::vector<Ordinal> ordinals(3000);
  for (Ordinal i = 0; i < 3000; ++i) ordinals[i] = i;
  int polls = 0;
  ChunkSet set;
  const Status s = store_->Read(ordinals, {.poll = [&] { return ++polls == 2 ? Cancelled("enough") : Status::Ok(); }}, &set);
  EXPECT_EQ(s.code(), StatusCode::kCancelled);
  EXPECT_EQ(polls, 2);
}

TEST_F(ChunkStoreTest, ExpireDropsWholeWindowsOnly) {
  ASSERT_TRUE(store_->Write({MakeChunk(1, 10, {100}), MakeChunk(1, 11, {1100}), MakeChunk(1, 12, {2100, 2900})}).ok());
  ASSERT_EQ(store_->Windows()->size(), 3U);
  store_->tombstones().RaiseFloor(2500);
  ASSERT_EQ(store_->Windows()->size(), 1U);
  EXPECT_EQ((*store_->Windows())[0].window, 2000);
  OrdinalSet found;
  ASSERT_TRUE(store_->OrdinalsWithData({0, 2500}, &found).ok());
  EXPECT_TRUE(found.empty());
  ASSERT_TRUE(store_->Expire().ok());
  ASSERT_TRUE(engine_->Compact(1, "", std::nullopt).ok());  // an engine may wait until then
  EXPECT_EQ(ReadLsns({1}, {}), (std::vector<std::vector<Lsn>>{{12}}));
}

TEST(ExpiryFilter, DropsNothingButRowsOfExpiredWindows) {
  ExpiryFilter filter(kWindow);
  ChunkMeta meta;
  const auto drops = [&](Timestamp window) {
    meta.window = window;
    const ChunkKey key = EncodeChunkKey(meta);
    return filter.ShouldDrop({key.data(), key.size()}, "");
  };
  EXPECT_FALSE(drops(-5000));
  filter.RaiseFloor(1999);
  EXPECT_TRUE(drops(0));
  EXPECT_FALSE(drops(1000));
  filter.RaiseFloor(500);
  EXPECT_TRUE(drops(0));
  filter.RaiseFloor(2000);
  EXPECT_TRUE(drops(1000));
  EXPECT_FALSE(filter.ShouldDrop("s", ""));
  EXPECT_FALSE(filter.ShouldDrop(TombstonePrefix(1) + "0000", ""));
  EXPECT_FALSE(filter.ShouldDrop("", ""));
}

class UnknownOutcomes : public ChunkStoreTest {
 protected:
  UnknownOutcomes()
      : ChunkStoreTest({.seed = TestSeed(), .unknown_write_probability = 0.4}) {}  // ten tries: one write in 10,000 fails
};

TEST_F(UnknownOutcomes, AreTriedAgain) {
  int told = 0;
  for (Lsn lsn = 1; lsn <= 100; ++lsn) {
    // A write of which not one try is certain says so; whoever gets that repeats it.
    Status s = store_->Write({MakeChunk(5, lsn, {100, 200})});
    for (; s.code() == StatusCode::kUnknown; ++told) s = store_->Write({MakeChunk(5, lsn, {100, 200})});
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  EXPECT_LT(told, 10) << "a write is tried more than once";
  EXPECT_EQ(ReadLsns({5}, {})[0].size(), 100U);
}

TEST_F(ChunkStoreTest, WriteErrorsAreReportedWithTheFamily) {
  factory_->FailCall(EngineMethod::kWrite, 1, IoError("disk on fire"));
  const Status s = store_->Write({MakeChunk(5, 10, {100, 200})});
  EXPECT_EQ(s.code(), StatusCode::kIoError);
  EXPECT_THAT(s.message(), HasSubstr("chunk.3"));
}

}  // namespace
}  // namespace chronolith

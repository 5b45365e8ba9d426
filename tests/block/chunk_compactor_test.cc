// Single steps of compaction. That readers see the same before and after it is shown by tests/query/merge_model_test.cc.
#include "block/chunk_compactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "chunk/exemplar_chunk.h"
#include "chunk/xor_chunk.h"
#include "plugins/memory/memory_engine.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int64_t kWindow = 1000;
constexpr std::uint32_t kMax = 20;  // samples of a chunk

class Compaction : public ::testing::Test {
 protected:
  explicit Compaction(AdversarialOptions adversary = {}) : factory_(MakeAdversarialMemoryEngineFactory(std::move(adversary))) {
    Open();
  }
  ~Compaction() override { Close(); }

  void Close() {
    store_.reset();
    engine_.reset();
  }
  void Open() {
    EngineOptions options;
    options.families = {{"chunk.0", FamilyRole::kChunk, nullptr, nullptr}};
    auto engine = factory_->Open("db", options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(*engine);
    ChunkStoreOptions store;
    store.window_ms = kWindow;
    store.max_samples_per_chunk = kMax;
    store_ = std::make_unique<ChunkStore>(engine_.get(), store);
    ASSERT_TRUE(store_->Load().ok());
  }

  // n samples from `start` on, a millisecond apart; their value is the LSN.
  static Chunk Floats(Ordinal ordinal, Lsn lsn, Timestamp start, int n, bool overlay = false, std::uint64_t epoch = 1) {
    std::vector<Sample> samples;
    for (int i = 0; i < n; ++i) samples.push_back({start + i, static_cast<double>(lsn)});
    Chunk chunk;
    chunk.meta.window = WindowOf(start, kWindow);
    chunk.meta.ordinal = ordinal;
    chunk.meta.creation_lsn = lsn;
    chunk.meta.overlay = overlay;
    chunk.meta.epoch = epoch;
    chunk.meta.min_time = start;
    chunk.meta.max_time = start + n - 1;
    chunk.meta.samples = static_cast<std::uint32_t>(n);
    chunk.data = EncodeXor(samples);
    return chunk;
  }
  void Store(std::vector<Chunk> chunks, Lsn applied = 1000) {
    ASSERT_TRUE(store_->Write({chunks.begin(), chunks.end()}).ok());
    ASSERT_TRUE(store_->Finish({.applied_lsn = applied, .epoch = 1}).ok());
  }
  void Delete(Lsn lsn, TimeRange range, std::vector<Ordinal> ordinals) {
    Tombstone tombstone{.lsn = lsn, .range = range, .ordinals = {}};
    tombstone.ordinals.AddMany(ordinals);
    store_->tombstones().Add(std::move(tombstone));
  }
  CompactResult Compact(bool dry_run = false, Lsn trimmed_to = 1000) {
    CompactResult result;
    const Status s = store_->Compact(
        {.dry_run = dry_run}, trimmed_to, [&](const ChunkMeta& m) { return in_head_.contains(m.creation_lsn); }, &result);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return result;
  }
  std::vector<ChunkMeta> Rows(Ordinal ordinal) {
    ChunkSet set;
    const std::vector<Ordinal> ordinals = {ordinal};
    const Status s = store_->Read(ordinals, {.type_to = ChunkType::kExemplar}, &set);
    EXPECT_TRUE(s.ok()) << s.ToString();
    std::vector<ChunkMeta> rows;
    for (const ChunkSlice& chunk : set.Of(0)) rows.push_back(chunk.meta);
    return rows;
  }
  std::vector<std::uint32_t> Sizes(Ordinal ordinal) {
    std::vector<std::uint32_t> sizes;
    for (const ChunkMeta& m : Rows(ordinal)) sizes.push_back(m.samples);
    return sizes;
  }
  std::map<Timestamp, double> Samples(Ordinal ordinal) {
    ChunkSet set;
    const std::vector<Ordinal> ordinals = {ordinal};
    EXPECT_TRUE(store_->Read(ordinals, {}, &set).ok());
    SeriesParts parts;
    parts.AddAll({}, set.Of(0), store_->tombstones().View(), TimeRange{});
    parts.Sort();
    ChunkMerge merge;
    EXPECT_TRUE(parts.empty() || merge.Run(parts, 0, parts.size(), DuplicatePolicy::kLastWins).ok());
    std::map<Timestamp, double> samples;
    if (!parts.empty()) {
      for (const MergedSample& s : merge.samples()) samples[s.timestamp] = s.value;
    }
    return samples;
  }

  std::shared_ptr<MemoryEngineFactory> factory_;
  std::unique_ptr<KvEngine> engine_;
  std::unique_ptr<ChunkStore> store_;
  std::set<Lsn> in_head_;
};

TEST_F(Compaction, SmallChunksBecomeFullOnes) {
  std::vector<Chunk> chunks;
  for (int i = 0; i < 10; ++i) chunks.push_back(Floats(1, static_cast<Lsn>(i + 1), i * 10, 5));
  Store(chunks);
  const auto before = Samples(1);
  const CompactResult dry = Compact(true);
  EXPECT_EQ(Rows(1).size(), 10U);  // a dry run writes nothing
  const CompactResult result = Compact();
  EXPECT_EQ(dry.rows_after, result.rows_after);
  EXPECT_EQ(dry.bytes_after, result.bytes_after);
  EXPECT_EQ(result.rows_before, 10U);
  EXPECT_EQ(result.rows_after, 3U);
  EXPECT_LT(result.bytes_after, result.bytes_before);
  EXPECT_THAT(Sizes(1), ElementsAre(kMax, kMax, 10));
  for (const ChunkMeta& m : Rows(1)) {
    EXPECT_EQ(m.creation_lsn, 10U);
    EXPECT_GE(m.sequence, kCompactedSequence);
    EXPECT_FALSE(m.overlay);
  }
  EXPECT_EQ(Samples(1), before);
  EXPECT_EQ(Compact().rows_after, 3U);
}

TEST_F(Compaction, FullChunksAndLoneSmallOnesAreLeftAlone) {
  Store({Floats(1, 1, 0, 20), Floats(1, 2, 20, 5), Floats(1, 3, 30, 20), Floats(1, 4, 1000, 5), Floats(2, 5, 0, 5)});
  const CompactResult result = Compact();
  EXPECT_EQ(result.rows_after, 5U);
  EXPECT_EQ(result.bytes_after, result.bytes_before);
  for (const ChunkMeta& m : Rows(1)) EXPECT_LT(m.sequence, kCompactedSequence);
}

TEST_F(Compaction, OverlappingChunksAreMergedByPrecedence) {
  Store({Floats(1, 10, 0, 20), Floats(1, 30, 20, 20), Floats(1, 20, 15, 10, true)});
  Compact();
  EXPECT_THAT(Sizes(1), ElementsAre(kMax, kMax));
  const auto samples = Samples(1);
  EXPECT_EQ(samples.size(), 40U);
  EXPECT_EQ(samples.at(14), 10);
  EXPECT_EQ(samples.at(15), 20);
  EXPECT_EQ(samples.at(24), 20);
  EXPECT_EQ(samples.at(25), 30);
}

TEST_F(Compaction, WhatTheHeadMayWriteAgainIsLeftAlone) {
  Store({Floats(1, 1, 0, 3), Floats(1, 2, 10, 3), Floats(1, 3, 20, 3), Floats(1, 70, 30, 3)}, 50);
  in_head_ = {2};
  EXPECT_EQ(Compact().rows_after, 4U);  // 1 and 3 would come to overlap 2; 70 is not settled
  in_head_.clear();
  EXPECT_EQ(Compact().rows_after, 2U);
  ASSERT_TRUE(store_->Finish({.applied_lsn = 70}).ok());
  EXPECT_EQ(Compact().rows_after, 1U);
}

TEST_F(Compaction, AMergeThatWouldChangeTheWinnerWaits) {
  // The overlay beats the open in-order chunk at equal times; merged with the old chunk it would not: the result is no overlay.
  Store({Floats(1, 10, 0, 5), Floats(1, 20, 2, 10, true), Floats(1, 30, 6, 10)});
  in_head_ = {30};
  const auto before = Samples(1);
  EXPECT_EQ(before.at(8), 20);
  EXPECT_EQ(Compact().rows_after, 3U);
  EXPECT_EQ(Samples(1), before);
  in_head_.clear();
  EXPECT_EQ(Compact().rows_after, 1U);
  EXPECT_EQ(Samples(1), before);
}

TEST_F(Compaction, DeletedSamplesAndTheirTombstoneGo) {
  Store({Floats(1, 1, 0, 20), Floats(1, 2, 20, 20), Floats(1, 60, 40, 20), Floats(2, 3, 0, 20), Floats(3, 4, 0, 20)});
  Delete(50, {10, 50}, {1, 2});
  Delete(51, {0, 20}, {3});
  ASSERT_TRUE(store_->Finish({.applied_lsn = 1000}).ok());
  const CompactResult result = Compact();
  EXPECT_EQ(result.samples_deleted, 10U + 20U + 10U + 20U);
  EXPECT_EQ(result.rows_after, 3U);  // of series 1 the first is cut, the second gone, the third newer than the delete
  EXPECT_THAT(Sizes(1), ElementsAre(10, 20));
  EXPECT_THAT(Sizes(2), ElementsAre(10));
  EXPECT_TRUE(Rows(3).empty());
  EXPECT_TRUE(store_->tombstones().Get()->empty());
  ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
  Close();
  Open();
  EXPECT_TRUE(store_->tombstones().Get()->empty());  // its rows are gone too
}

TEST_F(Compaction, ATombstoneStaysWhereReplayOrTheHeadMayStillNeedIt) {
  Store({Floats(1, 1, 0, 20), Floats(2, 2, 0, 20)});
  Delete(50, {0, 10}, {1, 2});
  ASSERT_TRUE(store_->Finish({.applied_lsn = 1000}).ok());
  EXPECT_EQ(Compact(false, 49).samples_deleted, 20U);
  EXPECT_EQ(store_->tombstones().Get()->size(), 1U);  // the log still has records below it
  EXPECT_EQ(Compact(false, 49).samples_deleted, 0U);
  in_head_ = {2};
  Compact();
  EXPECT_EQ(store_->tombstones().Get()->size(), 1U);  // the head holds a chunk that it may hide something in
  in_head_.clear();
  Compact();
  EXPECT_TRUE(store_->tombstones().Get()->empty());
}

TEST_F(Compaction, ATombstoneThatIsNotStoredYetIsNotApplied) {
  Store({Floats(1, 1, 0, 20)}, 40);
  Delete(50, {0, 10}, {1});  // the log may not be synced up to here: a power loss would take the delete back
  EXPECT_EQ(Compact().samples_deleted, 0U);
  EXPECT_THAT(Sizes(1), ElementsAre(20));
  EXPECT_EQ(Samples(1).size(), 10U);
}

TEST_F(Compaction, TheFloorIsApplied) {
  Store({Floats(1, 1, 0, 20), Floats(1, 2, 1000, 20), Floats(1, 3, 1100, 20)});
  store_->tombstones().RaiseFloor(1110);
  const CompactResult result = Compact();
  EXPECT_EQ(result.samples_deleted, 30U);
  EXPECT_EQ(Samples(1).size(), 10U);
  EXPECT_EQ(result.rows_after, 1U);  // the window before the floor's is Expire's, and not counted
}

TEST_F(Compaction, ExemplarsAreMergedAndEqualOnesDropped) {
  std::vector<Chunk> chunks;
  for (Lsn lsn = 1; lsn <= 4; ++lsn) {
    const auto t = static_cast<Timestamp>(lsn) * 10;
    const std::vector<Exemplar> exemplars = {{Labels{{"trace", "x"}}, 1, 5}, {Labels{{"trace", "y"}}, 2, t}};
    Chunk chunk = Floats(1, lsn, 5, 2);
    chunk.meta.type = ChunkType::kExemplar;
    chunk.meta.max_time = t;
    chunk.data = EncodeExemplars(exemplars);
    chunks.push_back(chunk);
  }
  Store(chunks);
  EXPECT_EQ(Compact().rows_after, 1U);
  EXPECT_THAT(Sizes(1), ElementsAre(5));
}

TEST_F(Compaction, DamageEndsIt) {
  const Chunk chunk = Floats(1, 1, 0, 20);
  Store({chunk});
  const ChunkKey key = EncodeChunkKey(chunk.meta);
  ASSERT_TRUE(factory_->FlipBit("db", "chunk.0", {key.data(), key.size()}, 77).ok());
  CompactResult result;
  const Status s = store_->Compact(
      {}, 1000, [](const ChunkMeta&) { return false; }, &result);
  EXPECT_EQ(s.code(), StatusCode::kDataLoss);
  EXPECT_THAT(s.message(), ::testing::HasSubstr("chunk.0"));
}

class CompactionCutShort : public Compaction {
 protected:
  CompactionCutShort() : Compaction({.seed = seed_}) {}
  static inline const std::uint64_t seed_ = TestSeed();
};

TEST_F(CompactionCutShort, ByACrashLosesNothing) {
  std::mt19937_64 random(seed_);
  std::map<Ordinal, std::map<Timestamp, double>> expected;
  std::vector<Chunk> chunks;
  for (Ordinal o = 0; o < 40; ++o) {
    for (Lsn lsn = 1; lsn <= 6; ++lsn) {
      chunks.push_back(
          Floats(o, lsn, static_cast<Timestamp>(random() % 3000), 1 + static_cast<int>(random() % 5), random() % 3 == 0));
      const ChunkMeta& m = chunks.back().meta;
      if (m.max_time >= m.window + kWindow) chunks.pop_back();
    }
  }
  Store(chunks);
  Delete(4, {500, 1500}, {1, 3, 5, 7});
  ASSERT_TRUE(store_->Finish({.applied_lsn = 1000, .epoch = 1}).ok());
  ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
  for (Ordinal o = 0; o < 40; ++o) expected[o] = Samples(o);
  for (int round = 0; round < 20; ++round) {
    CompactResult result;
    factory_->CrashDuringCall(EngineMethod::kWrite, 1 + random() % 2, CrashKind::kPowerLoss);
    (void)store_->Compact(
        {}, 1000, [](const ChunkMeta&) { return false; }, &result);
    factory_->ForgetFaults();
    (void)factory_->Crash("db", CrashKind::kPowerLoss);  // keeps a prefix of what was written
    Close();
    Open();
    for (Ordinal o = 0; o < 40; ++o) ASSERT_EQ(Samples(o), expected[o]) << "ordinal " << o << ", round " << round;
  }
  Compact();
  for (Ordinal o = 0; o < 40; ++o) EXPECT_EQ(Samples(o), expected[o]);
  EXPECT_TRUE(store_->tombstones().Get()->empty());
}

// ---- In the background: one window at a time ----

TEST_F(Compaction, OnlyWindowsThatTookLateChunksAreUntidy) {
  Store({Floats(1, 1, 0, kMax), Floats(1, 2, 1000, kMax), Floats(1, 3, 2000, kMax)});
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), IsEmpty()) << "in order";
  Store({Floats(1, 4, 1005, 10, true), Floats(1, 5, 2005, 10, true)});
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(1000, 2000));
  EXPECT_THAT(store_->UntidyWindows(2000), ElementsAre(1000)) << "the other may still grow";
  EXPECT_THAT(store_->UntidyWindows(1999), IsEmpty());
  store_->tombstones().RaiseFloor(2000);
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(2000)) << "what has expired is not compacted";
}

TEST_F(Compaction, ALittleLateDataIsNotWorthReadingAWindow) {
  for (Ordinal o = 0; o < 100; ++o) Store({Floats(o, 1, 0, kMax)});
  Store({Floats(7, 2, 5, 3, true)});
  ASSERT_TRUE(engine_->Flush(0).ok());
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), IsEmpty());
  for (Ordinal o = 0; o < 40; ++o) Store({Floats(o, 3, 5, 10, true)});
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(0));
}

TEST_F(Compaction, AWindowIsCompactedAloneAndIsTidyThen) {
  Store({Floats(1, 1, 0, 10), Floats(1, 2, 5, 10, true), Floats(1, 3, 1000, 10), Floats(1, 4, 1005, 10, true)});
  Delete(5, {0, 3}, {1});
  const auto before = Samples(1);
  const auto window = [&](bool stop) {
    return store_->CompactWindow(
        0, [](const ChunkMeta&) { return false; }, [&] { return stop; });
  };
  EXPECT_EQ(window(true).value(), false);
  EXPECT_EQ(Rows(1).size(), 4U);
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(0, 1000)) << "it was stopped";
  EXPECT_EQ(window(false).value(), true);
  EXPECT_THAT(Sizes(1), ElementsAre(12, 10, 10)) << "merged, without what was deleted";
  EXPECT_EQ(Samples(1), before);
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(1000));
  EXPECT_FALSE(store_->tombstones().View().list().empty()) << "other windows may need it";
  Compact();
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), IsEmpty());
  EXPECT_EQ(Samples(1), before);
}

TEST_F(Compaction, LateChunksThatComeMeanwhileLeaveTheirWindowUntidy) {
  Store({Floats(1, 1, 0, 10), Floats(1, 2, 5, 10, true), Floats(1, 3, 1000, 10), Floats(1, 4, 1005, 10, true)});
  const auto compact = [&](const Status& after) {
    CompactResult result;
    const auto between = [&] {
      Store({Floats(1, 6, 7, 10, true)});
      return after;
    };
    return store_->Compact(
        {}, 1000, [](const ChunkMeta&) { return false; }, &result, between);
  };
  EXPECT_TRUE(compact(Status::Ok()).ok());
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(0)) << "the other is tidy";
  Store({Floats(1, 7, 1005, 10, true)});
  EXPECT_EQ(compact(ResourceExhausted("no room")).code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(0, 1000)) << "it did not come to its end";
}

TEST_F(Compaction, WhatIsStoredFirstAfterReopeningIsUntidy) {
  Store({Floats(1, 1, 0, 5), Floats(1, 2, 1000, 5)});
  ASSERT_TRUE(engine_->Flush(0).ok());
  Close();
  Open();
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), IsEmpty());
  Store({Floats(1, 1001, 1005, 5)}, 2000);  // the series goes on in another chunk
  Store({Floats(1, 2001, 2000, kMax)}, 3000);
  EXPECT_THAT(store_->UntidyWindows(kMaxTimestamp), ElementsAre(1000));
}

}  // namespace
}  // namespace chronolith

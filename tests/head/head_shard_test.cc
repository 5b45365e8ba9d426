#include "head/head_shard.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/head/head_harness.h"

namespace chronolith {
namespace {

HeadOptions Options(std::int64_t window_ms = 1000, DuplicatePolicy policy = DuplicatePolicy::kLastWins) {
  return {.epoch = 7, .window_ms = window_ms, .max_samples_per_chunk = 240, .duplicate_policy = policy};
}

Samples Floats(std::initializer_list<std::pair<Timestamp, double>> rows) {
  Samples samples;
  for (const auto& [t, value] : rows) samples[t] = ValueOf(value);
  return samples;
}

Histogram Hist(double sum) {
  FloatHistogram h;
  h.sum = sum;
  h.count = 1;
  h.zero_count = 1;
  return h;
}

bool Find(HeadHarness* h, Ordinal ordinal, Timestamp t, double* value) {
  MeasuredReaderLock lock(&h->head().mu());
  return h->head().FindSample(ordinal, t, value);
}

Timestamp Newest(HeadHarness* h, Ordinal ordinal) {
  MeasuredReaderLock lock(&h->head().mu());
  return h->head().NewestOf(ordinal);
}

// ---- Windows ----

TEST(HeadShard, ChunksEndWithTheirWindow) {
  HeadHarness h(Options(1000));
  for (const Timestamp t : {-2001, -2000, -1001, -1000, -1, 0, 999, 1000}) h.Append(0, t, static_cast<double>(t));
  std::map<Timestamp, std::vector<Timestamp>> windows;
  for (const Chunk& chunk : h.ChunksOf(0)) {
    EXPECT_FALSE(chunk.meta.overlay);
    for (const auto& [t, value] : DecodeChunk(chunk).samples) windows[chunk.meta.window].push_back(t);
  }
  EXPECT_EQ(windows, (std::map<Timestamp, std::vector<Timestamp>>{
                         {-3000, {-2001}}, {-2000, {-2000, -1001}}, {-1000, {-1000, -1}}, {0, {0, 999}}, {1000, {1000}}}));
}

TEST(HeadShard, TakesEveryTimestampOfItsType) {
  for (const std::int64_t window : {1LL, 1000LL, 7'200'000LL, 1LL << 20, 1LL << 40}) {
    SCOPED_TRACE(window);
    HeadHarness h(Options(window));
    Samples expected;
    const std::vector<Timestamp> ascending = {kMinTimestamp,
                                              kMinTimestamp + 1,
                                              kMinTimestamp + window,
                                              kMinTimestamp + 2 * window,
                                              -window - 1,
                                              -window,
                                              -1,
                                              0,
                                              window - 1,
                                              window,
                                              kMaxTimestamp - 2 * window - 1,
                                              kMaxTimestamp - window - 1,
                                              kMaxTimestamp - 1};
    for (int round = 0; round < 2; ++round) {  // in order, then all of them late and again
      for (const Timestamp t : ascending) {
        h.Append(0, t, static_cast<double>(round));
        expected[t] = ValueOf(static_cast<double>(round));
      }
    }
    EXPECT_EQ(h.SamplesOf(0), expected);
    EXPECT_EQ(Newest(&h, 0), kMaxTimestamp - 1);
    h.Checkpoint();
    EXPECT_EQ(h.SamplesOf(0), expected);
    h.Reopen();
    EXPECT_EQ(h.SamplesOf(0), expected);
  }
}

TEST(HeadShard, FirstSampleMayBeAnywhere) {
  for (const Timestamp t : {kMinTimestamp, Timestamp{-1}, Timestamp{0}, Timestamp{1}, kMaxTimestamp - 1}) {
    HeadHarness h(Options());
    EXPECT_EQ(Newest(&h, 3), kMinTimestamp);
    EXPECT_EQ(h.head().newest(), kMinTimestamp);
    h.Append(3, t, 1);
    EXPECT_EQ(h.SamplesOf(3), Floats({{t, 1}}));
    EXPECT_FALSE(h.Collected(3)[0].meta.overlay) << t;
    EXPECT_EQ(Newest(&h, 3), t);
    EXPECT_EQ(h.head().newest(), t);
  }
}

// ---- Order and duplicates ----

TEST(HeadShard, LateSamplesAndDuplicatesGoToOneOverlayAWindow) {
  HeadHarness h(Options(1000));
  for (const Timestamp t : {100, 500, 1500, 500, 400, 1500, 450}) h.Append(0, t, static_cast<double>(h.last_lsn()));
  EXPECT_EQ(h.SamplesOf(0), Floats({{100, 0}, {400, 4}, {450, 6}, {500, 3}, {1500, 5}}));
  int overlays = 0;
  for (const Chunk& chunk : h.Collected(0)) overlays += chunk.meta.overlay;
  EXPECT_EQ(overlays, 2);
  ShardStats stats;
  h.head().FillStats(&stats);
  EXPECT_EQ(stats.samples_appended, 7U);
  EXPECT_EQ(stats.samples_out_of_order, 4U);
}

TEST(HeadShard, UnderRejectTheFirstOfOneOverlayStays) {
  HeadHarness h(Options(1000, DuplicatePolicy::kReject));
  for (const Timestamp t : {500, 400, 400}) h.Append(0, t, static_cast<double>(h.last_lsn()));
  EXPECT_EQ(h.SamplesOf(0), Floats({{400, 1}, {500, 0}}));
}

TEST(HeadShard, TheLaterOfTwoTypesWinsAtOneTimestamp) {
  HeadHarness h(Options(1000));
  h.Append(0, 500, 1);
  h.Do(HistogramOp{0, {500, Hist(2)}});
  EXPECT_EQ(h.SamplesOf(0), (Samples{{500, ValueOf(Hist(2))}}));
  h.Append(0, 500, 3);
  EXPECT_EQ(h.SamplesOf(0), Floats({{500, 3}}));
  h.Do(HistogramOp{0, {500, Hist(4)}});
  EXPECT_EQ(h.SamplesOf(0), (Samples{{500, ValueOf(Hist(4))}}));
  h.Checkpoint();
  h.Append(0, 500, 5);
  EXPECT_EQ(h.SamplesOf(0), Floats({{500, 5}}));
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(0), Floats({{500, 5}}));
}

TEST(HeadShard, AnOverlayIsBoundedInSize) {
  HeadHarness h(Options(1'000'000));
  h.Append(0, 900'000, 0);
  Samples expected = Floats({{900'000, 0}});
  std::vector<SampleEntry> samples;
  for (int i = 0; i < 2500; ++i) {
    samples.push_back({0, 0, 800'000 - i, i * 0.1});
    expected[800'000 - i] = ValueOf(i * 0.1);
  }
  h.Do(SamplesOp{samples});  // one record fills several overlays: their sequence numbers tell them apart
  EXPECT_EQ(h.SamplesOf(0), expected);
  h.Checkpoint();
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(0), expected);
}

TEST(HeadShard, ChunksOfOneRecordHaveDistinctKeys) {
  HeadHarness h({.epoch = 1, .window_ms = 1'000'000, .max_samples_per_chunk = 16});
  std::vector<SampleEntry> samples;
  Samples expected;
  for (int i = 0; i < 200; ++i) {
    const Timestamp t = i % 3 == 2 ? i * 100 - 150 : i * 100;
    samples.push_back({0, 0, t, i * 1.5});
    expected[t] = ValueOf(i * 1.5);
  }
  h.Do(SamplesOp{samples});
  EXPECT_EQ(h.SamplesOf(0), expected);  // ChunksOf checks the keys
  h.Begin();
  while (h.Slice(100)) {
  }
  h.Reopen();  // the checkpoint's rows are there, its state is not: everything is replayed over them
  EXPECT_EQ(h.SamplesOf(0), expected);
}

TEST(HeadShard, FindSampleLooksEverywhere) {
  HeadHarness h(Options(1000, DuplicatePolicy::kReject));
  double value = 0;
  EXPECT_FALSE(Find(&h, 0, 0, &value));
  EXPECT_FALSE(Find(&h, 100'000, 0, &value)) << "an ordinal that no page has";
  h.Append(0, 100, 1);
  h.Append(0, 1100, 2);  // the first chunk is closed
  h.Append(0, 50, 3);    // late
  h.Do(HistogramOp{0, {1200, Hist(1)}});
  const struct {
    Timestamp t;
    bool found;
    double value;
  } rows[] = {{100, true, 1},  {1100, true, 2},  {50, true, 3},    {0, false, 0},    {99, false, 0},
              {101, false, 0}, {1101, false, 0}, {1200, false, 0}, {5000, false, 0}, {kMinTimestamp, false, 0}};
  for (const auto& row : rows) {
    ASSERT_EQ(Find(&h, 0, row.t, &value), row.found) << row.t;
    if (row.found) {
      EXPECT_EQ(value, row.value) << row.t;
    }
  }
}

// ---- Deletes ----

TEST(HeadShard, WhatIsWrittenAfterADeleteIsNotHiddenByIt) {
  HeadHarness h(Options(100'000));
  h.Append(0, 100, 1);
  h.Append(0, 200, 2);
  h.Do(DeleteOp{{0}, {150, 1000}});
  h.Append(0, 300, 3);
  h.Append(0, 160, 4);
  EXPECT_EQ(h.SamplesOf(0), Floats({{100, 1}, {160, 4}, {300, 3}}));
}

// The range lies ahead of everything the open chunk holds, but the chunk would have taken the samples that come into it.
TEST(HeadShard, ADeleteAheadOfTheOpenChunkDoesNotHideWhatComesLater) {
  HeadHarness h(Options(100'000));
  h.Append(0, 100, 1);
  h.Do(HistogramOp{1, {100, Hist(1)}});
  h.Do(ExemplarOp{2, {Labels({{"a", "1"}}), 1, 100}});
  h.Do(DeleteOp{{0, 1, 2}, {150, 1000}});
  h.Append(0, 200, 2);
  h.Do(HistogramOp{1, {200, Hist(2)}});
  h.Do(ExemplarOp{2, {Labels({{"a", "1"}}), 2, 200}});
  EXPECT_EQ(h.SamplesOf(0), Floats({{100, 1}, {200, 2}}));
  EXPECT_EQ(h.SamplesOf(1), (Samples{{100, ValueOf(Hist(1))}, {200, ValueOf(Hist(2))}}));
  EXPECT_EQ(h.ExemplarsOf(2).size(), 2U);
}

TEST(HeadShard, ADeleteElsewhereLeavesTheOpenChunkOpen) {
  HeadHarness h(Options(1000));
  h.Append(0, 1100, 1);
  const ChunkMeta before = h.Collected(0)[0].meta;
  for (const TimeRange range : {TimeRange{0, 1100}, TimeRange{2000, 5000}, TimeRange{1100, 1100}, TimeRange{kMinTimestamp, 0}}) {
    h.Do(DeleteOp{{0}, range});
    h.Append(0, h.Collected(0)[0].meta.max_time + 1, 2);
    ASSERT_EQ(h.Collected(0).size(), 1U);
    EXPECT_TRUE(h.Collected(0)[0].meta.SameChunk(before));
  }
  h.Do(DeleteOp{{900'000}, {}});  // an ordinal that no page has
}

// ---- Checkpoints ----

TEST(HeadShard, AFinishedCheckpointFreesClosedChunksOnly) {
  HeadHarness h(Options(1000));
  h.Append(0, 100, 1);
  h.Append(0, 1100, 2);
  h.Append(0, 50, 3);
  const std::vector<Chunk> before = h.Collected(0);
  ASSERT_EQ(before.size(), 3U);
  for (const Chunk& chunk : before) EXPECT_TRUE(h.head().MayGrow(chunk.meta));
  h.Checkpoint();
  const std::vector<Chunk> after = h.Collected(0);
  ASSERT_EQ(after.size(), 1U) << "the open chunk stays";
  EXPECT_EQ(after[0].meta.min_time, 1100);
  for (const Chunk& chunk : before) EXPECT_EQ(h.head().MayGrow(chunk.meta), chunk.meta.min_time == 1100);
  EXPECT_EQ(h.SamplesOf(0), Floats({{50, 3}, {100, 1}, {1100, 2}}));
}

TEST(HeadShard, ACheckpointCopiesOnlyWhatChanged) {
  HeadHarness h(Options(1000));
  for (Ordinal i = 0; i < 100; ++i) h.Append(i, 10, 1);
  h.Checkpoint();
  h.Append(42, 20, 1);
  h.Begin();
  CheckpointSlice slice;
  ASSERT_TRUE(h.head().TakeSlice(1 << 20, &slice));
  ASSERT_EQ(slice.chunks.size(), 1U);
  EXPECT_EQ(slice.chunks[0].meta.ordinal, 42U);
  EXPECT_EQ(slice.chunks[0].meta.samples, 2U);
  EXPECT_FALSE(h.head().TakeSlice(1 << 20, &slice));
  h.Finish();
  h.Begin();
  EXPECT_FALSE(h.head().TakeSlice(1 << 20, &slice)) << "nothing changed";
  h.Finish();
}

TEST(HeadShard, AnAbortedCheckpointIsCopiedAgain) {
  HeadHarness h(Options(1000));
  for (Ordinal i = 0; i < 10; ++i) h.Append(i, 10, 1);
  h.Append(0, 1010, 2);
  h.Append(0, 5, 3);
  h.Begin();
  CheckpointSlice slice;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(h.head().TakeSlice(1, &slice));
  h.Append(0, 1020, 4);
  h.Abort();
  h.Checkpoint();
  h.Append(9, 20, 9);
  h.Checkpoint();
  h.Reopen();  // nothing is left to replay: all of it must have been stored
  EXPECT_EQ(h.SamplesOf(0), Floats({{5, 3}, {10, 1}, {1010, 2}, {1020, 4}}));
  EXPECT_EQ(h.SamplesOf(9), Floats({{10, 1}, {20, 9}}));
  for (Ordinal i = 1; i < 9; ++i) EXPECT_EQ(h.SamplesOf(i), Floats({{10, 1}}));
}

TEST(HeadShard, ASampleBehindTheCutMayBeStoredAndIsReplayedOnTop) {
  HeadHarness h(Options(1000));
  h.Append(0, 10, 1);
  h.Begin();
  h.Append(0, 20, 2);
  while (h.Slice(1 << 20)) {
  }
  h.Finish();
  h.Append(0, 20, 3);
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(0), Floats({{10, 1}, {20, 3}}));
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(0), Floats({{10, 1}, {20, 3}}));
}

// Its index rows are not in the checkpoint: a chunk row of it could be there, after a crash, without them.
TEST(HeadShard, ASeriesBehindTheCutIsInTheNextCheckpoint) {
  HeadHarness h(Options(1000));
  h.Append(0, 10, 1);
  h.Begin(1);
  h.Append(1, 10, 1);
  h.Append(1, 1010, 2);  // closes a chunk
  h.Append(1, 5, 3);
  h.Append(0, 1010, 2);  // closes one that the checkpoint holds
  CheckpointSlice slice;
  std::size_t taken = 0;
  while (h.head().TakeSlice(1 << 20, &slice)) {
    for (const ChunkSlice& chunk : slice.chunks) EXPECT_EQ(chunk.meta.ordinal, 0U);
    taken += slice.chunks.size();
  }
  EXPECT_GE(taken, 1U);
  h.Append(1, 2010, 4);  // and one more behind what the checkpoint looked at
  const Samples expected = Floats({{5, 3}, {10, 1}, {1010, 2}, {2010, 4}});
  EXPECT_EQ(h.SamplesOf(1), expected);
  h.Finish();
  EXPECT_EQ(h.SamplesOf(1), expected) << "what was not copied stays";
  h.Checkpoint();
  EXPECT_EQ(h.Collected(1).size(), 1U) << "the open chunk";
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(1), expected);
}

// ---- Idle series ----

TEST(HeadShard, ReleaseIdleKeepsWhatIsNotStored) {
  HeadHarness h(Options(1000));
  h.Append(0, 10, 1);
  h.Append(1, 10, 1);
  h.Append(2, 5000, 1);
  EXPECT_TRUE(h.head().ReleaseIdle(kMaxTimestamp).empty()) << "nothing is stored";
  h.Checkpoint();
  h.Append(1, 20, 2);
  EXPECT_EQ(h.head().ReleaseIdle(4000), std::vector<Ordinal>{0});
  EXPECT_TRUE(h.Collected(0).empty());
  EXPECT_TRUE(h.head().ReleaseIdle(4000).empty()) << "once is enough";
  h.Append(0, 30, 3);
  h.Checkpoint();
  EXPECT_EQ(h.head().ReleaseIdle(4000), (std::vector<Ordinal>{0, 1})) << "written to again";
  h.Append(1, 30, 2);
  MeasuredReaderLock lock(&h.head().mu());
  EXPECT_FALSE(h.head().HasData(0));
  EXPECT_TRUE(h.head().HasData(1));
  EXPECT_TRUE(h.head().HasData(2));
}

TEST(HeadShard, AReleasedSeriesStillKnowsWhatIsLate) {
  HeadHarness h(Options(1000));
  h.Append(0, 500, 1);
  h.Checkpoint();
  ASSERT_EQ(h.head().ReleaseIdle(4000).size(), 1U);
  EXPECT_EQ(Newest(&h, 0), 500);
  h.Append(0, 500, 2);  // a duplicate of what only the store has
  h.Append(0, 600, 3);
  EXPECT_EQ(h.SamplesOf(0), Floats({{500, 2}, {600, 3}}));
  h.Checkpoint();
  h.Reopen();
  EXPECT_EQ(h.SamplesOf(0), Floats({{500, 2}, {600, 3}}));
}

// ---- Memory ----

TEST(HeadShard, EntriesOfSeriesThatAreGoneAreGivenBack) {
  HeadHarness h(Options(1000));
  for (const Ordinal o : {0U, 7U, 300U, 511U, 599U}) h.Append(o, 10, 1);
  const std::uint64_t before = h.head().memory_bytes();
  const std::vector<Ordinal> live = {300};
  h.head().Forget(600, live);
  EXPECT_EQ(h.SamplesOf(0).size(), 1U) << "they hold data that is not stored";
  EXPECT_EQ(h.head().memory_bytes(), before);
  h.Checkpoint();
  h.Append(7, 20, 1);
  (void)h.head().ReleaseIdle(kMaxTimestamp);
  const std::uint64_t idle = h.head().memory_bytes();
  h.head().Forget(600, live);
  EXPECT_EQ(h.head().memory_bytes(), idle)
      << "one of the first page has data, one of the second lives, the third may get new series";
  h.Checkpoint();
  (void)h.head().ReleaseIdle(kMaxTimestamp);
  const std::uint64_t all_idle = h.head().memory_bytes();
  h.head().Forget(600, live);
  EXPECT_EQ(h.head().memory_bytes() + 256 * 64, all_idle);
  // Nothing that looks at it, or at all, minds.
  EXPECT_TRUE(h.Collected(0).empty());
  EXPECT_EQ(Newest(&h, 7), kMinTimestamp);
  {
    MeasuredLock lock(&h.head().mu());
    OrdinalSet all;
    all.AddRange(0, 599);
    h.head().Cut(all, {kMinTimestamp, kMaxTimestamp});
    EXPECT_FALSE(h.head().HasData(0));
  }
  OrdinalSet with_data;
  h.head().OrdinalsWithData({kMinTimestamp, kMaxTimestamp}, &with_data);
  EXPECT_TRUE(with_data.empty());
  h.Append(300, 30, 1);
  h.Append(599, 30, 1);
  h.Checkpoint();
  EXPECT_EQ(h.head().ReleaseIdle(kMaxTimestamp), (std::vector<Ordinal>{300, 599}));
  h.head().Forget(600, live);
}

TEST(HeadShard, SeriesBetweenThoseItHasRoomForTakeNone) {
  constexpr Ordinal kFar = 1'000'000;
  HeadShard head(Options());
  const auto bytes_with = [&head](Ordinal ordinal) {
    MeasuredLock lock(&head.mu());
    head.EnsureOrdinal(ordinal);
    head.EnsureOrdinal(ordinal);
    const SampleEntry sample{.ordinal = ordinal, .timestamp = 5, .value = 1};
    head.Append({&sample, 1}, ordinal + 1);
    OrdinalSet range;
    range.AddRange(kFar / 2, kFar / 2 + 9);
    head.Cut(range, {});
    return head.memory_bytes();
  };
  const std::uint64_t far = bytes_with(kFar), both = bytes_with(3);
  EXPECT_LT(both, 1U << 20);
  EXPECT_LT(far, both) << "room for another one";
  std::vector<std::vector<Chunk>> chunks;
  head.Collect(std::vector<Ordinal>{3, 4, 300, kFar / 2, kFar, kFar + 1, 2 * kFar}, {}, ChunkType::kXor, ChunkType::kXor, &chunks);
  for (std::size_t i = 0; i < chunks.size(); ++i) EXPECT_EQ(chunks[i].size(), i == 0 || i == 4 ? 1U : 0U) << i;
  OrdinalSet with_data;
  head.OrdinalsWithData({}, &with_data);
  EXPECT_EQ(with_data.ToVector(), (std::vector<Ordinal>{3, kFar}));
  EXPECT_EQ(head.Extent().chunks, 2U);
}

TEST(HeadShard, ItsExtentIsThatOfTheChunksItHolds) {
  HeadHarness h(Options(1000));
  EXPECT_EQ(h.head().Extent().chunks, 0U);
  EXPECT_GT(h.head().Extent().min_time, h.head().Extent().max_time);
  h.Append(0, 5500, 1);
  h.Append(300, 6100, 1);
  h.Append(300, 7200, 2);  // closes the one before
  h.Append(300, 4100, 3);  // late: an overlay
  h.Do(HistogramOp{1, {3900, Hist(1)}});
  h.Do(ExemplarOp{1, {{{"trace_id", "x"}}, 1, 9000}});  // a chunk, but no sample
  const HeadExtent extent = h.head().Extent();
  EXPECT_EQ(extent.chunks, 6U);
  EXPECT_EQ(extent.min_time, 3900);
  EXPECT_EQ(extent.max_time, 7200);
}

TEST(HeadShard, CountsTheMemoryOfEveryTypeOfSample) {
  const auto grown = [](const auto& add) {
    HeadHarness h(Options(1'000'000));
    h.Append(0, 900'000, 1);
    const std::uint64_t before = h.head().memory_bytes();
    for (int i = 0; i < 2000; ++i) add(&h, i);
    const std::uint64_t after = h.head().memory_bytes();
    h.Checkpoint();
    EXPECT_LT(h.head().memory_bytes(), before + (64 << 10)) << "given back: only open chunks stay";
    return after - before;
  };
  EXPECT_GT(grown([](HeadHarness* h, int i) { h->Append(0, i, 0.1 * i); }), 15000U) << "late floats";
  EXPECT_GT(grown([](HeadHarness* h, int i) { h->Do(HistogramOp{0, {900'001 + i, Hist(0.1 * i)}}); }), 15000U) << "histograms";
  EXPECT_GT(grown([](HeadHarness* h, int i) { h->Do(HistogramOp{0, {i, Hist(0.1 * i)}}); }), 15000U) << "late histograms";
  EXPECT_GT(grown([](HeadHarness* h, int i) {
              h->Do(ExemplarOp{0, {Labels({{"trace_id", std::to_string(i * 7919)}}), 0.1 * i, i}});
            }),
            15000U)
      << "exemplars";
}

}  // namespace
}  // namespace chronolith

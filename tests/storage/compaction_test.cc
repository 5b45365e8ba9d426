// Storage::Compact as a host or an operator uses it: what it would do, how far it is, at which pace, and only some shards.
#include <semaphore>
#include <thread>

#include "format/chunk_rows.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kWindow = 100'000;
constexpr Timestamp kT = 1'700'000'000'000 - 1'700'000'000'000 % kWindow;
constexpr int kSeries = 24;
constexpr int kWindows = 4;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

class Compaction : public EveryEngine {
 protected:
  Compaction() {
    store_.options().shards = 2;
    store_.options().window_ms = kWindow;
    store_.options().background_compaction = false;
  }
  // Late samples in every window, three deletes, and a series that had samples in the first window only. Then all of it is stored,
  // and nothing lies in the head.
  void Fill() {
    store_.Open();
    store_.Write({{"__name__", "short"}}, {{kT, 1}});
    for (int late = 0; late < 4; ++late) {
      for (int i = 0; i < kSeries; ++i) {
        std::vector<Sample> samples;
        for (Timestamp t = kT + late * 250; t < kT + kWindows * kWindow; t += 1000)
          samples.push_back({t, 1.0 / (1.0 + i + static_cast<double>(t % 9973))});
        store_.Write(Numbered(i), samples);
      }
      store_.Checkpoint();
    }
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "3")}, TimeRange{}).ok());
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "4")}, {kT + 50'000, kT + 250'000}).ok());
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "5")}, {kT + 350'000, kT + 351'000}).ok());
    store_.Checkpoint();
    store_.Restart();
    expected_ = store_.Read();
    EXPECT_EQ(expected_.size(), 0U + kSeries);
  }
  // From the next opening on the first window is past retention, and half of the second.
  void ExpireSome() {
    store_.Close();
    store_.options().clock = std::make_shared<FakeClock>(kT + kWindows * kWindow - 1000);
    store_.options().retention_ms = kWindow + kWindow / 2;  // before the newest window: nothing lies in the head
    store_.Open();
  }
  CompactResult Compact(const CompactOptions& options = {}) {
    Result<CompactResult> result = store_->Compact(options);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result.ok() ? *result : CompactResult();
  }

  Contents expected_;
};
INSTANTIATE_TEST_SUITE_P(Engines, Compaction, AllEngines(), EngineName);

void ExpectSame(const CompactFigures& a, const CompactFigures& b) {
  EXPECT_EQ(a.rows_before, b.rows_before);
  EXPECT_EQ(a.rows_after, b.rows_after);
  EXPECT_EQ(a.bytes_before, b.bytes_before);
  EXPECT_EQ(a.bytes_after, b.bytes_after);
  EXPECT_EQ(a.bytes_written, b.bytes_written);
  EXPECT_EQ(a.windows, b.windows);
  EXPECT_EQ(a.samples_deleted, b.samples_deleted);
  EXPECT_EQ(a.series_removed, b.series_removed);
}

void ExpectSame(const CompactResult& a, const CompactResult& b) {
  ExpectSame(static_cast<const CompactFigures&>(a), b);
  ASSERT_EQ(a.shards.size(), b.shards.size());
  for (std::size_t i = 0; i < a.shards.size(); ++i) {
    SCOPED_TRACE("shard " + std::to_string(a.shards[i].shard));
    EXPECT_EQ(a.shards[i].shard, b.shards[i].shard);
    ExpectSame(a.shards[i], b.shards[i]);
  }
}

TEST_P(Compaction, ADryRunSaysWhatTheRealOneDoes) {
  Fill();
  EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "6")}, TimeRange{}).ok());  // only the log has it
  expected_ = store_.Read();
  const CompactResult dry = Compact({.dry_run = true});
  EXPECT_EQ(store_.Read(), expected_);
  const CompactResult again = Compact({.dry_run = true});
  ExpectSame(dry, again);
  const CompactResult real = Compact();
  ExpectSame(dry, real);
  EXPECT_TRUE(real.complete);
  EXPECT_EQ(real.samples_deleted, 2 * 4 * kWindows * 100U + 4 * 200 + 4);
  EXPECT_EQ(real.series_removed, 2U);
  EXPECT_LT(real.rows_after, real.rows_before);
  EXPECT_LT(real.bytes_after, real.bytes_before);
  EXPECT_EQ(store_.Read(), expected_);
  const CompactResult rest = Compact();
  EXPECT_EQ(rest.rows_after, rest.rows_before) << "the first has left nothing to do";
  EXPECT_EQ(rest.bytes_written + rest.samples_deleted + rest.series_removed, 0U);
}

TEST_P(Compaction, ADryRunCountsWhatRetentionTakes) {
  Fill();
  ExpireSome();
  const CompactResult dry = Compact({.dry_run = true});
  EXPECT_EQ(store_.Read().count(Labels({{"__name__", "short"}}).ToString()), 1U) << "nothing has expired yet";
  const CompactResult real = Compact();
  ExpectSame(dry, real);
  EXPECT_EQ(real.series_removed, 2U) << "the one that was deleted, and the one whose window has expired";
  EXPECT_EQ(real.windows, 2U * (kWindows - 1)) << "of two shards, without the one that has expired as a whole";
  EXPECT_GT(real.samples_deleted, (kSeries - 2U) * 4 * 149);
  for (const auto& [series, points] : store_.Read()) EXPECT_GE(points.begin()->first, kT + 150'000) << series;
}

TEST_P(Compaction, AReaderSaysWhatAWriterWouldDo) {
  Fill();
  store_.Close();
  CompactResult dry;
  {
    Options reader = store_.options();
    reader.read_only = true;
    auto opened = Storage::Open(reader, store_.path());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    Result<CompactResult> result = (*opened)->Compact({.dry_run = true});
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    dry = *result;
    EXPECT_EQ((*opened)->Compact().status().code(), StatusCode::kFailedPrecondition);
  }
  store_.Open();
  ExpectSame(dry, Compact());
}

// Cancelled at each of the points at which it looks, it leaves a store that reads the same, and another run does the rest.
TEST_P(Compaction, CancelledAnywhereItLosesNothingAndTheNextRunDoesTheRest) {
  Fill();
  const int step = store_.is_memory() ? 1 : 3;
  bool complete = false;
  int calls = 0;
  for (int looks = 0; !complete; looks += step) {
    ASSERT_LT(looks, 100);
    if (looks > 0) {  // anew: untidy
      for (int i = 0; i < kSeries; ++i) store_.Write(Numbered(i), {{kT + 7 + looks, 7}, {kT + 3 * kWindow + 7, 7}});
      store_.Checkpoint();
      store_.Restart();
      expected_ = store_.Read();
    }
    std::atomic<bool> cancelled{false};
    CompactOptions options;
    options.cancelled = &cancelled;
    calls = 0;
    options.progress = [&](const CompactProgress&) { cancelled.store(++calls > looks); };
    complete = Compact(options).complete;
    EXPECT_EQ(complete, !cancelled.load());
    ASSERT_EQ(store_.Read(), expected_) << "after " << calls << " looks";
    if (looks % 2 == 0) {
      store_.Kill();
      ASSERT_EQ(store_.Read(), expected_) << "killed after " << calls << " looks";
    }
    if (looks % 4 != 3) continue;
    EXPECT_TRUE(Compact().complete);
    const CompactResult rest = Compact();
    EXPECT_EQ(rest.rows_before, rest.rows_after);
    ASSERT_EQ(store_.Read(), expected_);
  }
  EXPECT_GT(calls, 2 * kWindows) << "once a window and shard at least";
}

TEST_P(Compaction, ProgressAddsUp) {
  Fill();
  for (const bool dry_run : {true, false}) {
    std::vector<CompactProgress> seen;
    CompactOptions options;
    options.dry_run = dry_run;
    options.progress = [&](const CompactProgress& p) { seen.push_back(p); };
    const CompactResult result = Compact(options);
    ASSERT_GE(seen.size(), 2U * kWindows);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i].windows_total, (dry_run ? 1U : 2U) * 2 * kWindows);
      EXPECT_LE(seen[i].windows_done, seen[i].windows_total);
      if (i == 0) continue;
      EXPECT_GE(seen[i].windows_done, seen[i - 1].windows_done);
      EXPECT_GE(seen[i].bytes, seen[i - 1].bytes);
      EXPECT_GE(seen[i].shard, seen[i - 1].shard);
    }
    EXPECT_EQ(seen.back().windows_done, seen.back().windows_total);
    EXPECT_EQ(seen.back().shard, 1U);
    EXPECT_GE(seen.back().bytes, result.bytes_before + (dry_run ? 0 : result.bytes_written));
  }
}

// At a byte a second it never comes to its end by itself. While it waits checkpoints are made, and it can be ended.
TEST_P(Compaction, ThePaceIsKeptWithoutHoldingAnythingUp) {
  Fill();
  std::atomic<bool> cancelled{false};
  std::binary_semaphore merging{0};
  CompactOptions options;
  options.bytes_per_second = 1;
  options.cancelled = &cancelled;
  std::uint64_t done = 0;
  options.progress = [&](const CompactProgress& p) {
    done = p.windows_done;
    if (p.windows_done == 1) merging.release();
  };
  CompactResult result;
  std::thread compacting([&] { result = Compact(options); });
  merging.acquire();
  store_.Write(Numbered(0), {{kT + kWindows * kWindow, 5}});
  store_.Checkpoint();
  EXPECT_EQ(store_.Read().size(), expected_.size());
  cancelled.store(true);
  compacting.join();
  EXPECT_FALSE(result.complete);
  EXPECT_EQ(done, 1U);
  EXPECT_EQ(result.windows, 1U);
}

TEST_P(Compaction, OnlyTheShardsThatWereAskedFor) {
  Fill();
  const CompactResult one = Compact({.shards = {1}});
  ASSERT_EQ(one.shards.size(), 1U);
  EXPECT_EQ(one.shards[0].shard, 1U);
  EXPECT_LT(one.rows_after, one.rows_before);
  const CompactResult both = Compact();
  EXPECT_LT(both.shards[0].rows_after, both.shards[0].rows_before) << "it was left alone";
  EXPECT_EQ(both.shards[1].rows_after, both.shards[1].rows_before);
  EXPECT_EQ(store_.Read(), expected_);
  EXPECT_EQ(store_->Compact({.shards = {0, 2}}).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(Compaction, TellsTheBytesOnDiskOfEachShard) {
  Fill();
  EXPECT_TRUE(store_->Delete({Matcher::Equal("__name__", "n")}, {kMinTimestamp, kT + 3 * kWindow}).ok());
  const auto on_disk = [&](std::uint32_t shard) {
    std::uint64_t bytes = 0;
    for (const FamilyStats& family : store_->Stats().data_engine.families) {
      const bool of_shard = family.name == "chunk." + std::to_string(shard) || family.name == "index." + std::to_string(shard);
      bytes += of_shard ? family.file_bytes : 0;
    }
    return bytes;
  };
  store_.Checkpoint();
  const std::uint64_t before[] = {on_disk(0), on_disk(1)};
  const CompactResult result = Compact();
  for (const ShardCompactResult& shard : result.shards) {
    EXPECT_GE(shard.disk_bytes_before, before[shard.shard]);
    EXPECT_LT(shard.disk_bytes_after, shard.disk_bytes_before);
    EXPECT_EQ(shard.disk_bytes_after, on_disk(shard.shard));
  }
  EXPECT_EQ(result.disk_bytes_after, on_disk(0) + on_disk(1));
}

TEST(CompactionOfADamagedShard, IsToldAndTheOthersAreCompacted) {
  TestStore store("memory");
  store.options().shards = 2;
  store.options().window_ms = kWindow;
  store.options().background_compaction = false;
  store.Open();
  for (int late = 0; late < 2; ++late) {
    for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT + 500 - late * 100, 1}, {kT + 600 - late * 100, 2}});
    store.Checkpoint();
  }
  store.KillWithoutOpening();
  // The first row that there is.
  ChunkMeta meta;
  bool flipped = false;
  for (Lsn lsn = 1; lsn < 200 && !flipped; ++lsn) {
    meta.window = WindowOf(kT, kWindow);
    meta.creation_lsn = lsn;
    const ChunkKey key = EncodeChunkKey(meta);
    flipped = store.memory().FlipBit(store.path() + "/data", "chunk.1", {key.data(), key.size()}, 77).ok();
  }
  ASSERT_TRUE(flipped);
  store.Open();
  EXPECT_EQ(store->Compact({.dry_run = true}).status().code(), StatusCode::kDataLoss);
  const Result<CompactResult> result = store->Compact({.skip_damaged = true});
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_TRUE(result->complete);
  EXPECT_TRUE(result->shards[0].damage.ok());
  EXPECT_LT(result->shards[0].rows_after, result->shards[0].rows_before);
  EXPECT_EQ(result->shards[1].damage.code(), StatusCode::kDataLoss);
  EXPECT_THAT(result->shards[1].damage.message(), testing::HasSubstr("shard 1"));
  EXPECT_EQ(store->Compact().status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace chronolith

// Random chunks, of all kinds and in all places, against a model that looks at one timestamp at a time; before, during and after
// compaction.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "query_fixture.h"

namespace chronolith {
namespace {

struct ModelChunk {
  ChunkMeta meta;
  std::vector<Seen> samples;  // of the newest version
};

class MergeModel : public QueryFixture, public ::testing::WithParamInterface<DuplicatePolicy> {
 protected:
  static constexpr int kShards = 2;
  static constexpr Lsn kApplied = 100;

  MergeModel() : QueryFixture(kShards, GetParam()), random_(TestSeed()) {}

  std::uint64_t Below(std::uint64_t n) { return random_() % n; }
  bool Chance(int percent) { return static_cast<int>(Below(100)) < percent; }

  // Ascending, distinct times within a window; dense, sparse, or a narrow stretch.
  std::vector<Seen> RandomSamples(Timestamp window, bool histogram) {
    std::set<Timestamp> times;
    const std::uint64_t start = Below(kTestWindow);
    const std::uint64_t length = Chance(50) ? 30 + Below(100) : 1 + Below(kTestWindow);
    const std::uint64_t step = 1 + Below(4) * 5;  // equal timestamps are common
    const std::uint64_t n = 1 + Below(kTestMaxSamples);
    for (std::uint64_t i = 0; i < n; ++i) {
      times.insert(window + static_cast<Timestamp>(std::min<std::uint64_t>(start + Below(length) / step * step, kTestWindow - 1)));
    }
    std::vector<Seen> samples;
    for (const Timestamp t : times) samples.push_back({t, histogram, next_id_++});
    return samples;
  }

  void AddRandomChunks(int shard, Ordinal ordinal, Timestamp window) {
    Shard& s = *shards_[static_cast<std::size_t>(shard)];
    std::set<std::pair<Lsn, std::uint32_t>> taken;
    const bool only_in_order = Chance(30);
    for (std::uint64_t n = Below(9); n > 0; --n) {
      ModelChunk chunk;
      ChunkMeta& meta = chunk.meta;
      const bool newest = Chance(15);  // no checkpoint has covered it yet
      meta.creation_lsn = newest ? kApplied + 1 + Below(20) : 1 + Below(kApplied);
      meta.sequence = static_cast<std::uint32_t>(Below(2));
      if (!taken.insert({meta.creation_lsn, meta.sequence}).second) continue;
      meta.ordinal = ordinal;
      meta.epoch = 1 + meta.creation_lsn / 40;
      meta.overlay = newest ? true : !only_in_order && Chance(30);
      chunk.samples = RandomSamples(window, Chance(25));
      if (only_in_order) {  // one behind the other
        const Timestamp at = window + 1 + static_cast<Timestamp>(meta.creation_lsn) * 7;
        for (std::size_t i = 0; i < chunk.samples.size(); ++i) chunk.samples[i].t = at + static_cast<Timestamp>(i) % 7;
        chunk.samples.resize(std::min<std::size_t>(chunk.samples.size(), 7));
      }
      const Chunk whole = TestChunk(meta, chunk.samples);
      chunk.meta = whole.meta;
      const bool in_head = newest ? Chance(70) : Chance(15);
      if (in_head) s.head.Put(whole);
      if (!in_head || (Chance(50) || !newest)) {  // the head's chunk may have grown since it was stored
        std::vector<Seen> stored = chunk.samples;
        if (in_head) stored.resize(1 + Below(stored.size()));
        ASSERT_TRUE(s.chunks->Write({TestChunk(meta, stored)}).ok());
      }
      model_[{shard, ordinal}].push_back(chunk);
    }
  }

  void AddTombstones(int shard, std::uint64_t n) {
    for (; n > 0; --n) {
      Tombstone tombstone;
      tombstone.lsn = 1 + Below(kApplied + 20);
      const auto start = static_cast<Timestamp>(Below(3 * kTestWindow)) - kTestWindow;
      tombstone.range = {start, start + static_cast<Timestamp>(Below(Chance(50) ? 100 : 2 * kTestWindow))};
      for (Ordinal o = 0; o < shards_[static_cast<std::size_t>(shard)]->next_ordinal; ++o) {
        if (Chance(60)) tombstone.ordinals.Add(o);
      }
      auto& list = tombstones_[shard];
      if (std::any_of(list.begin(), list.end(), [&](const Tombstone& t) { return t.lsn == tombstone.lsn; })) continue;
      list.push_back(tombstone);
      shards_[static_cast<std::size_t>(shard)]->chunks->tombstones().Add(tombstone);
    }
  }

  void Generate() {
    model_.clear();
    tombstones_.clear();
    labels_.clear();
    floor_ = Chance(40) ? static_cast<Timestamp>(Below(2 * kTestWindow)) - kTestWindow : kMinTimestamp;
    for (int shard = 0; shard < kShards; ++shard) {
      for (std::uint64_t i = 0; i < 4; ++i) {
        const Labels labels{{"__name__", "m"}, {"series", std::to_string(i * kShards + static_cast<std::uint64_t>(shard))}};
        const Ordinal ordinal = AddSeries(shard, labels);
        labels_[labels.ToString()] = {shard, ordinal};
        for (const Timestamp window : {-kTestWindow, Timestamp{0}, kTestWindow}) AddRandomChunks(shard, ordinal, window);
      }
      AddTombstones(shard, Chance(60) ? Below(4) : 0);
      ChunkStore& store = *shards_[static_cast<std::size_t>(shard)]->chunks;
      store.tombstones().RaiseFloor(floor_);
      ASSERT_TRUE(store.Finish({.applied_lsn = kApplied, .floor = floor_, .epoch = 3}).ok());
    }
  }

  std::vector<Seen> Expected(std::pair<int, Ordinal> series, TimeRange range) {
    std::map<Timestamp, std::pair<const ModelChunk*, Seen>> best;
    for (const ModelChunk& chunk : model_[series]) {
      for (const Seen& sample : chunk.samples) {
        if (!range.Contains(sample.t) || sample.t < floor_) continue;
        const auto& list = tombstones_[series.first];
        if (std::any_of(list.begin(), list.end(), [&](const Tombstone& t) {
              return t.lsn > chunk.meta.creation_lsn && t.range.Contains(sample.t) && t.ordinals.Contains(series.second);
            })) {
          continue;
        }
        const auto [it, is_new] = best.try_emplace(sample.t, &chunk, sample);
        const bool later = chunk.meta.Supersedes(it->second.first->meta);
        if (!is_new && later == (GetParam() == DuplicatePolicy::kLastWins)) it->second = {&chunk, sample};
      }
    }
    std::vector<Seen> seen;
    for (const auto& [t, winner] : best) seen.push_back(winner.second);
    return seen;
  }

  TimeRange RandomRange() {
    if (Chance(30)) return {};
    const auto start = static_cast<Timestamp>(Below(3 * kTestWindow)) - kTestWindow;
    return {start, start + static_cast<Timestamp>(Below(2 * kTestWindow))};
  }

  void Check() {
    for (int i = 0; i < 4; ++i) {
      const TimeRange range = i == 0 ? TimeRange{} : RandomRange();
      AllSeen expected;
      for (const auto& [labels, series] : labels_) {
        if (auto samples = Expected(series, range); !samples.empty()) expected.emplace_back(labels, std::move(samples));
      }
      const AllSeen all = SelectAll({}, range);
      ASSERT_EQ(Difference(all, expected), "") << "range " << range.start << " to " << range.end;
      auto set = SelectSeries(context_, {}, range, {});
      ASSERT_TRUE(set.ok());
      for (const auto& [labels, samples] : expected) {
        ASSERT_TRUE((*set)->Next());
        ASSERT_EQ((*set)->labels().ToString(), labels);
        ASSERT_EQ(ReadInBulk(&(*set)->samples(), 1 + Below(50)), samples);
        ASSERT_EQ(ReadChunks(&(*set)->chunks()), samples);
      }
      ASSERT_FALSE((*set)->Next());
    }
  }

  static std::string Difference(const AllSeen& got, const AllSeen& expected) {
    if (got == expected) return "";
    for (std::size_t i = 0; i < got.size() && i < expected.size(); ++i) {
      if (got[i].first != expected[i].first) return "series " + got[i].first + " instead of " + expected[i].first;
      const auto& [labels, samples] = got[i];
      for (std::size_t j = 0; j < std::max(samples.size(), expected[i].second.size()); ++j) {
        const std::string a = j < samples.size() ? ::testing::PrintToString(samples[j]) : "end";
        const std::string b = j < expected[i].second.size() ? ::testing::PrintToString(expected[i].second[j]) : "end";
        if (a != b) return "series " + labels + ", sample " + std::to_string(j) + ": " + a + " instead of " + b;
      }
    }
    return std::to_string(got.size()) + " series instead of " + std::to_string(expected.size());
  }

  Status Compact(int shard, bool dry_run, Lsn trimmed_to, CompactResult* result) {
    Shard& s = *shards_[static_cast<std::size_t>(shard)];
    return s.chunks->Compact(
        {.dry_run = dry_run}, trimmed_to, [&](const ChunkMeta& m) { return s.head.Holds(m); }, result);
  }

  // What the model's tombstones have become: those that compaction dropped had nothing left to hide.
  std::mt19937_64 random_;
  std::uint64_t next_id_ = 1;
  std::map<std::pair<int, Ordinal>, std::vector<ModelChunk>> model_;
  std::map<int, std::vector<Tombstone>> tombstones_;
  std::map<std::string, std::pair<int, Ordinal>> labels_;
  Timestamp floor_ = kMinTimestamp;
};

TEST_P(MergeModel, SelectAgreesBeforeDuringAndAfterCompaction) {
  std::uint64_t rows_before = 0, rows_after = 0, dropped = 0, further_passes = 0;
  const int rounds = std::getenv("CHRONOLITH_TEST_FULL") != nullptr ? 2000 : 30;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    Open(kShards, GetParam());
    Generate();
    ASSERT_NO_FATAL_FAILURE(Check());
    for (int shard = 0; shard < kShards; ++shard) {
      CompactResult dry, wet;
      ASSERT_TRUE(Compact(shard, true, kApplied, &dry).ok());
      ASSERT_NO_FATAL_FAILURE(Check());
      if (Chance(50)) {  // cut short
        factory_->FailCall(EngineMethod::kWrite, 1, IoError("injected"));
        CompactResult unused;
        (void)Compact(shard, false, kApplied, &unused);
        factory_->ForgetFaults();  // where there was nothing to write
        ASSERT_NO_FATAL_FAILURE(Check());
        dry = {};
        ASSERT_TRUE(Compact(shard, true, kApplied, &dry).ok());
      }
      const std::size_t tombstones = shards_[static_cast<std::size_t>(shard)]->chunks->tombstones().Get()->size();
      ASSERT_TRUE(Compact(shard, false, kApplied, &wet).ok());
      dropped += tombstones - shards_[static_cast<std::size_t>(shard)]->chunks->tombstones().Get()->size();
      ASSERT_EQ(dry.rows_after, wet.rows_after);
      ASSERT_EQ(dry.bytes_after, wet.bytes_after);
      ASSERT_EQ(dry.samples_deleted, wet.samples_deleted);
      ASSERT_LE(wet.rows_after, wet.rows_before);
      rows_before += wet.rows_before;
      rows_after += wet.rows_after;
      ASSERT_NO_FATAL_FAILURE(Check());
      // Further passes find nothing, but for merges that the precedence of a chunk of the other type held back.
      std::uint64_t rows = wet.rows_after, bytes = wet.bytes_after;
      for (int pass = 0;; ++pass) {
        ASSERT_LT(pass, 5);
        CompactResult again;
        ASSERT_TRUE(Compact(shard, false, kApplied, &again).ok());
        ASSERT_EQ(again.rows_before, rows);
        ASSERT_EQ(again.bytes_before, bytes);
        ASSERT_EQ(again.samples_deleted, 0U);
        ASSERT_LE(again.rows_after, rows);
        ASSERT_NO_FATAL_FAILURE(Check());
        if (again.rows_after == rows && again.bytes_after == bytes) break;
        rows = again.rows_after;
        bytes = again.bytes_after;
        ++further_passes;
      }
    }
    // A restart: what the head held is stored, settles, and is compacted as well.
    for (int shard = 0; shard < kShards; ++shard) {
      Shard& s = *shards_[static_cast<std::size_t>(shard)];
      const std::vector<Chunk> moved = s.head.Take();
      ASSERT_TRUE(s.chunks->Write({moved.begin(), moved.end()}).ok());
      s.head.Clear();
      ASSERT_TRUE(s.chunks->Finish({.applied_lsn = kApplied + 30, .floor = floor_, .epoch = 3}).ok());
      ASSERT_NO_FATAL_FAILURE(Check());
      CompactResult result;
      ASSERT_TRUE(Compact(shard, false, kApplied + 30, &result).ok());
      ASSERT_NO_FATAL_FAILURE(Check());
      EXPECT_TRUE(s.chunks->tombstones().Get()->empty());  // all settled: nothing can block them
    }
  }
  std::printf("rows before %llu, after %llu; tombstones dropped %llu; further passes %llu\n",
              static_cast<unsigned long long>(rows_before), static_cast<unsigned long long>(rows_after),
              static_cast<unsigned long long>(dropped), static_cast<unsigned long long>(further_passes));
  EXPECT_LT(rows_after, rows_before);
  EXPECT_GT(dropped, 0U);
}

INSTANTIATE_TEST_SUITE_P(Policies, MergeModel, ::testing::Values(DuplicatePolicy::kLastWins, DuplicatePolicy::kReject),
                         [](const auto& info) { return info.param == DuplicatePolicy::kLastWins ? "LastWins" : "Reject"; });

}  // namespace
}  // namespace chronolith

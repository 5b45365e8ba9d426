// The parts of salvage by themselves: how chunks of one series are merged, and where labels are still found.
#include <gmock/gmock.h>

#include "base/hash.h"
#include "chunk/xor_chunk.h"
#include "ops/salvage_chunks.h"
#include "ops/salvage_labels.h"
#include "plugins/memory/memory_engine.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using ::testing::ElementsAre;

constexpr std::int64_t kWindow = 10'000;

Chunk MakeChunk(Lsn lsn, bool overlay, std::vector<Sample> samples, std::uint64_t epoch = 1) {
  Chunk chunk;
  chunk.meta.ordinal = 3;
  chunk.meta.creation_lsn = lsn;
  chunk.meta.overlay = overlay;
  chunk.meta.epoch = epoch;
  chunk.meta.min_time = samples.front().timestamp;
  chunk.meta.max_time = samples.back().timestamp;
  chunk.meta.samples = static_cast<std::uint32_t>(samples.size());
  chunk.data = EncodeXor(samples);
  return chunk;
}

struct Merged {
  std::vector<std::pair<Timestamp, double>> samples;
  std::size_t bad = 0;
};
Merged Merge(std::vector<Chunk> chunks, const TombstoneView& hidden = {}) {
  Merged merged;
  TimeSeries series;
  const std::size_t n = MergeChunks(
      &chunks, hidden, [&](const ChunkMeta&, const Status&) { ++merged.bad; }, &series);
  EXPECT_EQ(n, series.samples.size());
  for (const Sample& s : series.samples) merged.samples.emplace_back(s.timestamp, s.value);
  return merged;
}

TEST(MergeChunks, TheChunkThatSupersedesWinsInWhateverOrderTheyCome) {
  const Chunk first = MakeChunk(5, false, {{1, 10}, {2, 20}, {3, 30}});
  const Chunk overlay = MakeChunk(4, true, {{2, 21}});
  const Chunk later_epoch = MakeChunk(1, false, {{3, 33}, {4, 40}}, 2);
  using Order = std::vector<Chunk>;
  for (const Order& order :
       {Order{first, overlay, later_epoch}, Order{later_epoch, overlay, first}, Order{overlay, later_epoch, first}}) {
    EXPECT_THAT(Merge(order).samples, ElementsAre(std::pair(1, 10.0), std::pair(2, 21.0), std::pair(3, 33.0), std::pair(4, 40.0)));
  }
}

TEST(MergeChunks, WhatIsDeletedOrExpiredIsLeftOut) {
  Tombstones tombstones;
  Tombstone deleted;
  deleted.lsn = 5;
  deleted.range = {2, 4};
  deleted.ordinals.Add(3);
  tombstones.Add(std::move(deleted));
  tombstones.RaiseFloor(1);
  const Chunk before = MakeChunk(4, false, {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}});
  const Chunk after = MakeChunk(6, false, {{3, 2}});
  EXPECT_THAT(Merge({before, after}, tombstones.View()).samples,
              ElementsAre(std::pair(1, 1.0), std::pair(3, 2.0), std::pair(4, 1.0)));
}

TEST(MergeChunks, OfAChunkThatIsCutOffWhatDecodesIsTaken) {
  Chunk cut = MakeChunk(4, false, {{0, 1.25}, {1000, 2.5}, {2500, 7.125}, {9000, 3.3}});
  cut.data.resize(cut.data.size() - 6);
  const Merged merged = Merge({cut, MakeChunk(9, false, {{5, 5}})});
  EXPECT_EQ(merged.bad, 1U);
  ASSERT_GE(merged.samples.size(), 3U);
  EXPECT_LT(merged.samples.size(), 5U);
  EXPECT_EQ(merged.samples[0], std::pair(Timestamp{0}, 1.25));
}

// One shard's index in a memory engine, as a checkpoint writes it.
class SalvageLabelsTest : public ::testing::Test {
 protected:
  SalvageLabelsTest() {
    StoreManifest manifest;
    manifest.shards = 1;
    manifest.window_ms = kWindow;
    engine_ = MakeMemoryEngineFactory()->Open("index", DataInstanceOptions(manifest)).value();
    for (Ordinal o = 0; o < 6; ++o) Add(o, Of(o));
    Put(index_rows::StateKey(), index_rows::EncodeState({7, 6, 6}));
  }
  static Labels Of(Ordinal o) { return {{"__name__", "n"}, {"i", std::to_string(o)}, {"odd", o % 2 == 0 ? "no" : "yes"}}; }
  void Put(const std::string& key, const std::string& value) { Write(Op::Type::kPut, key, value); }
  void Delete(const std::string& key) { Write(Op::Type::kDelete, key, ""); }
  void Write(Op::Type type, const std::string& key, const std::string& value) {
    const Op op{type, key, value};
    const Batch batch{IndexFamily(0), {}, 0, {&op, 1}};
    ASSERT_TRUE(engine_->Write({&batch, 1}, {})[0].ok());
  }
  void AddPosting(Ordinal o, std::string_view name, std::string_view value) {
    index_rows::PairKey key = index_rows::MakePairKey(name, value);
    index_rows::AppendHigh(0, &key.bytes);
    OrdinalSet set;
    set.Add(o);
    Write(Op::Type::kMerge, key.bytes, index_rows::EncodePostings(key.bytes, key.text, set, {}));
  }
  static std::string HashKey(const Labels& labels) {
    std::string key;
    index_rows::AppendHashKey(StableHash(labels.encoded()), &key);
    return key;
  }
  void Add(Ordinal o, const Labels& labels) {
    std::vector<std::pair<std::string, std::string>> rows;
    index_rows::LongRow row;
    row.hash = StableHash(labels.encoded());
    index_rows::EncodeLongRow(index_rows::kLabelsPrefix, o, row, labels.encoded(), &rows);
    for (const auto& [key, value] : rows) Put(key, value);
    const std::string key = HashKey(labels);
    std::string value;
    index_rows::AppendHashValue(key, std::vector<Ordinal>{o}, {}, &value);
    Write(Op::Type::kMerge, key, value);
    AddPosting(o, "", "");
    for (const Label& label : labels) AddPosting(o, label.name, label.value);
  }
  static std::string LabelsKey(Ordinal o) { return index_rows::OrdinalKey(index_rows::kLabelsPrefix, o); }

  std::unique_ptr<KvEngine> engine_;
  SalvageReport report_;
};

TEST_F(SalvageLabelsTest, ComeFromTheirRow) {
  SalvageLabels labels(engine_.get(), 0, &report_);
  Labels found;
  ASSERT_TRUE(labels.Find(3, &found));
  EXPECT_EQ(found, Of(3));
  EXPECT_FALSE(labels.Find(6, &found));
  EXPECT_TRUE(labels.Knows(5));
  EXPECT_FALSE(labels.Knows(6));
  EXPECT_EQ(labels.next_ordinal(), 6U);
  EXPECT_EQ(report_.series_relabelled, 0U);
}

TEST_F(SalvageLabelsTest, WithoutTheirRowAreThoseThatPostingsAndHashAgreeOn) {
  Delete(LabelsKey(3));
  Put(LabelsKey(4), "damaged");
  SalvageLabels labels(engine_.get(), 0, &report_);
  Labels found;
  for (const Ordinal o : {3U, 4U}) {
    ASSERT_TRUE(labels.Find(o, &found)) << o;
    EXPECT_EQ(found, Of(o));
  }
  EXPECT_EQ(report_.series_relabelled, 2U);
}

TEST_F(SalvageLabelsTest, AreNotThoseOfPostingsOfWhichOneIsLost) {
  Delete(LabelsKey(3));
  Delete(LabelsKey(5));
  index_rows::PairKey key = index_rows::MakePairKey("i", "3");
  index_rows::AppendHigh(0, &key.bytes);
  Delete(key.bytes);
  Delete(HashKey(Of(5)));
  SalvageLabels labels(engine_.get(), 0, &report_);
  Labels found;
  EXPECT_FALSE(labels.Find(3, &found)) << "a label is missing: its hash is another's";
  EXPECT_FALSE(labels.Find(5, &found)) << "nothing vouches for them";
  EXPECT_EQ(report_.series_relabelled, 0U);
}

TEST_F(SalvageLabelsTest, ComeFromTheLogWhereTheIndexIsLost) {
  SalvageLabels labels(nullptr, 0, &report_);
  labels.AddOfLog(9, Of(9).encoded());
  Labels found;
  ASSERT_TRUE(labels.Find(9, &found));
  EXPECT_EQ(found, Of(9));
  EXPECT_FALSE(labels.Find(1, &found));
  EXPECT_FALSE(labels.Knows(1));
}

}  // namespace
}  // namespace chronolith::ops

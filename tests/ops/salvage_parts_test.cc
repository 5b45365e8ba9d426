// The parts of salvage by themselves: how chunks of one series are merged, and where labels are still found.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "base/coding.h"
#include "base/hash.h"
#include "chunk/xor_chunk.h"
#include "format/wal_record.h"
#include "ops/salvage_chunks.h"
#include "ops/salvage_deletes.h"
#include "ops/salvage_labels.h"
#include "ops/salvage_tell.h"
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
    manifest_.shards = 1;
    manifest_.window_ms = kWindow;
    engine_ = MakeMemoryEngineFactory()->Open("index", DataInstanceOptions(manifest_)).value();
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

  StoreManifest manifest_;
  std::unique_ptr<KvEngine> engine_;
  SalvageReport report_;
};

TEST_F(SalvageLabelsTest, ComeFromTheirRow) {
  SalvageLabels labels(engine_.get(), nullptr, 0, &report_);
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
  SalvageLabels labels(engine_.get(), nullptr, 0, &report_);
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
  SalvageLabels labels(engine_.get(), nullptr, 0, &report_);
  Labels found;
  EXPECT_FALSE(labels.Find(3, &found)) << "a label is missing: its hash is another's";
  EXPECT_FALSE(labels.Find(5, &found)) << "nothing vouches for them";
  EXPECT_EQ(report_.series_relabelled, 0U);
}

// A log in a memory engine whose rows create so many series each.
class LogOfSeries {
 public:
  explicit LogOfSeries(const StoreManifest& manifest) {
    engine_ = MakeMemoryEngineFactory()->Open("log", LogInstanceOptions(manifest)).value();
  }
  void Add(Lsn lsn, Ordinal first, const std::vector<std::string>& labels) {
    std::string payload;
    (void)AppendSeriesRecords(first, std::vector<std::string_view>(labels.begin(), labels.end()), &payload);
    std::string value;
    WalRowEncoder().Append(0, {.first_lsn = lsn, .epoch = 1, .group = lsn, .records = 1}, payload, true, &value);
    const std::string key = WalKey(lsn);
    const Op op{Op::Type::kPut, key, value};
    const Batch batch{WalFamily(0), {}, 0, {&op, 1}};
    ASSERT_TRUE(engine_->Write({&batch, 1}, {})[0].ok());
  }
  KvEngine* engine() const { return engine_.get(); }

 private:
  std::unique_ptr<KvEngine> engine_;
};

TEST_F(SalvageLabelsTest, ComeFromTheLogWhereTheIndexIsLost) {
  LogOfSeries log(manifest_);
  const auto encoded = [](Ordinal o) { return std::string(Of(o).encoded()); };
  log.Add(5, 9, {encoded(9), encoded(10)});
  log.Add(8, 12, {encoded(12)});
  SalvageLabels labels(nullptr, log.engine(), 0, &report_);
  labels.NoteLogRow(5, 9);
  labels.NoteLogRow(8, 12);
  Labels found;
  for (const Ordinal o : {12U, 9U, 10U, 12U}) {
    ASSERT_TRUE(labels.Find(o, &found)) << o;
    EXPECT_EQ(found, Of(o));
  }
  for (const Ordinal o : {1U, 8U, 11U, 13U}) EXPECT_FALSE(labels.Find(o, &found)) << o;
  EXPECT_FALSE(labels.Knows(1));
}

// More of them than are kept at once, in rows that do not divide that number, one of which has more by itself; and from the end to
// the beginning.
TEST_F(SalvageLabelsTest, ManyOfTheLogAreReadAgain) {
  LogOfSeries log(manifest_);
  SalvageLabels labels(nullptr, log.engine(), 0, &report_);
  constexpr Ordinal kRows = 100;
  constexpr Ordinal kOfRow = 300;
  constexpr Ordinal kOfLargeRow = 25'000;
  const auto labels_of = [](Ordinal o) { return Of(o % 100); };  // a row is of 64 KiB at most, and compressed
  Ordinal next = 0;
  for (Lsn lsn = 1; lsn <= kRows; ++lsn) {
    const Ordinal first = next;
    std::vector<std::string> encoded;
    for (next += lsn == kRows / 2 ? kOfLargeRow : kOfRow; first + encoded.size() < next;) {
      encoded.emplace_back(labels_of(first + static_cast<Ordinal>(encoded.size())).encoded());
    }
    log.Add(lsn, first, encoded);
    labels.NoteLogRow(lsn, first);
  }
  Labels found;
  for (const bool down : {false, true}) {
    for (Ordinal i = 0; i < next; ++i) {
      const Ordinal o = down ? next - 1 - i : i;
      ASSERT_TRUE(labels.Find(o, &found)) << o;
      ASSERT_EQ(found, labels_of(o));
    }
  }
}

std::string ChunkKeyOf(Timestamp window, Ordinal ordinal) {
  ChunkMeta meta;
  meta.window = window;
  meta.ordinal = ordinal;
  meta.creation_lsn = 1;
  const ChunkKey key = EncodeChunkKey(meta);
  return {key.data(), key.size()};
}

// What the keys of a lost table say.
TEST_F(SalvageLabelsTest, ALostTableIsToldByTheRangeOfItsKeys) {
  const std::string delete_7 = TombstonePrefix(7) + std::string(4, '\0');
  struct Case {
    const char* what;
    FamilyId family;
    std::string smallest, largest;
    std::vector<std::string> told;  // kind, numbers, times
  };
  const FamilyId chunks = ChunkFamily(0);
  const FamilyId index = IndexFamily(0);
  const std::vector<Case> cases = {
      {"some series of one window", chunks, ChunkKeyOf(0, 1), ChunkKeyOf(0, 2), {"samples 1-1 0-10000", "samples 2-2 0-10000"}},
      {"two windows", chunks, ChunkKeyOf(0, 5), ChunkKeyOf(kWindow, 0), {"samples 5-5 0-10000", "samples 0-0 10000-20000"}},
      {"windows between",
       chunks,
       ChunkKeyOf(0, 5),
       ChunkKeyOf(3 * kWindow, 0),
       {"samples 5-5 0-10000", "samples 0-5 10000-30000", "samples 0-0 30000-40000"}},
      {"up to the state", chunks, ChunkKeyOf(0, 5), std::string(kChunkStateKey), {"samples 5-5 0-10000", "samples 0-5 10000-"}},
      {"deletes only", chunks, delete_7, delete_7, {}},
      {"the state only", chunks, std::string(kChunkStateKey), std::string(kChunkStateKey), {}},
      {"of another shard", ChunkFamily(1), ChunkKeyOf(0, 1), ChunkKeyOf(0, 2), {}},
      {"labels", index, LabelsKey(1), LabelsKey(4), {}},
      {"metadata of some", index, LabelsKey(1), index_rows::OrdinalKey(index_rows::kMetadataPrefix, 4), {"metadata 0-4"}},
      {"metadata from one on", index, index_rows::OrdinalKey(index_rows::kMetadataPrefix, 2), "s", {"metadata 2-5"}},
      {"postings", index, "p", "s", {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    SalvageReport report;
    LossList losses(&report);
    SalvageLabels labels(engine_.get(), nullptr, 0, &report);
    LossTeller teller(0, kWindow, &labels, &losses);
    teller.Table({c.family, "000012.sst", c.smallest, c.largest});
    std::vector<std::string> told;
    for (const SalvageLoss& loss : report.losses) {
      std::string text =
          std::string(NameOf(loss.kind)) + " " + std::to_string(*loss.first_ordinal) + "-" + std::to_string(*loss.last_ordinal);
      if (loss.start) text += " " + std::to_string(*loss.start) + "-" + (loss.end ? std::to_string(*loss.end) : "");
      told.push_back(text);
      EXPECT_THAT(loss.what, ::testing::HasSubstr("000012.sst"));
      if (loss.first_ordinal == loss.last_ordinal && loss.kind == LossKind::kSamples) {
        EXPECT_EQ(loss.series, Of(static_cast<Ordinal>(*loss.first_ordinal)).ToString());
      }
    }
    EXPECT_EQ(told, c.told);
  }
}

TEST_F(SalvageLabelsTest, WhereTheIndexIsLostSeriesAreToldByNumber) {
  LossList losses(&report_);
  SalvageLabels labels(nullptr, nullptr, 0, &report_);
  LossTeller teller(0, kWindow, &labels, &losses);
  teller.Table({ChunkFamily(0), "000012.sst", ChunkKeyOf(0, 1), ChunkKeyOf(0, 2)});
  ASSERT_EQ(report_.losses.size(), 2U);
  EXPECT_EQ(report_.losses[1].first_ordinal, 2U);
  EXPECT_EQ(report_.losses[1].series, "");
}

// Only cursors, which fail where they come to the delete of a bad LSN, as they do at a block that cannot be read.
class BadBlocks : public KvEngine {
 public:
  using Ranges = std::vector<std::pair<Lsn, Lsn>>;  // inclusive
  BadBlocks(KvEngine* engine, Ranges bad) : engine_(engine), bad_(std::move(bad)) {}
  Result<std::unique_ptr<KvIterator>> NewIterator(FamilyId family, const IterateOptions& options) override {
    auto it = engine_->NewIterator(family, options);
    if (!it.ok()) return it;
    return std::unique_ptr<KvIterator>(std::make_unique<Cursor>(std::move(*it), &bad_));
  }
  std::string_view Name() const override { return "bad-blocks"; }
  bool Has(Capability) const override { return false; }
  Limits limits() const override { return {}; }
  Status AcquireEpoch(FamilyId, Epoch) override { return No(); }
  Result<Epoch> CurrentEpoch(FamilyId) override { return No(); }
  Outcomes Write(std::span<const Batch> batches, const EngineWriteOptions&) override { return Outcomes(batches.size(), No()); }
  void WriteAsync(std::span<const Batch> b, const EngineWriteOptions& o, WriteCallback done) override { done(Write(b, o)); }
  Status Get(FamilyId, std::string_view, std::string*, ReadTier, Deadline) override { return No(); }
  void MultiGet(FamilyId, std::span<const std::string_view> keys, std::vector<std::string>* values, std::vector<Status>* statuses,
                Deadline) override {
    values->assign(keys.size(), {});
    statuses->assign(keys.size(), No());
  }
  Status Flush(FamilyId) override { return No(); }
  Status Flush(std::span<const FamilyId>) override { return No(); }
  Status SyncLog() override { return No(); }
  Status ExpireRange(FamilyId, std::string_view, std::string_view) override { return No(); }
  Status Compact(FamilyId, std::string_view, std::optional<std::string_view>) override { return No(); }
  Result<std::uint64_t> EstimateBytes(FamilyId, std::string_view, std::string_view) override { return No(); }
  Status CreateCheckpoint(const std::string&) override { return No(); }
  Status ExportFamily(FamilyId, const std::string&) override { return No(); }
  Status ImportFamily(FamilyId, const std::string&) override { return No(); }
  Status VerifyChecksums(FamilyId, std::string_view, VerifyVisitor*) override { return No(); }
  EngineStats Stats() const override { return engine_->Stats(); }
  Status Close() override { return Status::Ok(); }

 private:
  static Status No() { return Unimplemented("only cursors"); }
  class Cursor : public KvIterator {
   public:
    Cursor(std::unique_ptr<KvIterator> it, const Ranges* bad) : it_(std::move(it)), bad_(bad) {}
    void Seek(std::string_view key) override {
      it_->Seek(key);
      failed_ = IsBad();
    }
    void Next() override {
      it_->Next();
      failed_ = IsBad();
    }
    bool Valid() const override { return !failed_ && it_->Valid(); }
    std::string_view key() const override { return it_->key(); }
    std::string_view value() const override { return it_->value(); }
    Status status() const override { return failed_ ? DataLoss("bad block") : it_->status(); }

   private:
    bool IsBad() const {
      if (!it_->Valid() || !it_->key().starts_with(kTombstoneKeyTag)) return false;
      const auto lsn = LoadBigEndian<Lsn>(it_->key().data() + 1);
      return std::any_of(bad_->begin(), bad_->end(),
                         [lsn](const auto& range) { return range.first <= lsn && lsn <= range.second; });
    }
    const std::unique_ptr<KvIterator> it_;
    const Ranges* const bad_;
    bool failed_ = false;
  };
  KvEngine* const engine_;
  const Ranges bad_;
};

// The deletes of a shard in a memory engine.
class SalvageDeletesTest : public SalvageLabelsTest {
 protected:
  static Tombstone MakeDelete(Lsn lsn, TimeRange range, std::vector<std::uint32_t> ordinals) {
    Tombstone tombstone{.lsn = lsn, .range = range, .ordinals = {}};
    tombstone.ordinals.AddMany(ordinals);
    return tombstone;
  }
  // Alternate series, so many that the delete takes several rows.
  static Tombstone Large(Lsn lsn) {
    Tombstone tombstone{.lsn = lsn, .range = {5, 9}, .ordinals = {}};
    for (std::uint32_t o = 0; o < 150'000; o += 2) tombstone.ordinals.Add(o);
    return tombstone;
  }
  void PutChunkRow(const std::string& key, const std::string& value) {
    const Op op{Op::Type::kPut, key, value};
    const Batch batch{ChunkFamily(0), {}, 0, {&op, 1}};
    ASSERT_TRUE(engine_->Write({&batch, 1}, {})[0].ok());
  }
  // `damaged`: numbers of rows whose value is not what it was; `left_out`: of those that are missing.
  void Put(const Tombstone& tombstone, const std::set<std::size_t>& damaged = {}, const std::set<std::size_t>& left_out = {}) {
    const std::vector<ChunkFamilyRow> rows = EncodeTombstone(tombstone);
    rows_ = rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!left_out.contains(i)) PutChunkRow(rows[i].key, damaged.contains(i) ? "x" + rows[i].value : rows[i].value);
    }
  }
  // As salvage goes about it. `of_log`: what the log still has.
  void Settle(std::optional<Lsn> trimmed_to, std::vector<Tombstone> of_log = {}, const BadBlocks::Ranges& bad = {}) {
    BadBlocks blocks(engine_.get(), bad);
    LossList losses(&report_);
    SalvageLabels labels(engine_.get(), nullptr, 0, &report_);
    LossTeller teller(0, kWindow, &labels, &losses);
    deletes_.Read(&blocks, ChunkFamily(0), &*tombstones_);
    for (Tombstone& tombstone : of_log) tombstones_->Add(std::move(tombstone));
    deletes_.Settle(trimmed_to, 0, &*tombstones_, &teller, &losses);
  }
  bool Hides(Lsn lsn, Ordinal ordinal) const {
    for (const auto& tombstone : tombstones_->View().list()) {
      if (tombstone->lsn == lsn && tombstone->ordinals.Contains(ordinal)) return true;
    }
    return false;
  }

  std::size_t rows_ = 0;
  SalvageDeletes deletes_;
  std::optional<Tombstones> tombstones_{std::in_place};
};

TEST_F(SalvageDeletesTest, WholeOnesCountAndLoseNothing) {
  Put(MakeDelete(3, {5, 9}, {1}));
  Put(Large(4));
  ASSERT_GT(rows_, 2U);
  Settle(10);
  EXPECT_EQ(report_.losses_total, 0U);
  EXPECT_TRUE(Hides(3, 1));
  EXPECT_TRUE(Hides(4, 149'998));
}

TEST_F(SalvageDeletesTest, ADamagedOneIsToldUnlessTheLogHasIt) {
  Put(MakeDelete(3, {5, 9}, {1}), {0});
  Put(MakeDelete(4, {5, 9}, {1}), {0});
  Settle(3, {MakeDelete(4, {5, 9}, {1})});
  EXPECT_TRUE(Hides(4, 1));
  EXPECT_FALSE(Hides(3, 1));
  ASSERT_EQ(report_.losses_total, 6U) << "any of the six series";
  for (const SalvageLoss& loss : report_.losses) {
    EXPECT_EQ(loss.kind, LossKind::kDeletes);
    EXPECT_EQ(loss.first_lsn, 3U);
    EXPECT_EQ(loss.last_lsn, 3U);
    EXPECT_EQ(loss.series, Of(static_cast<Ordinal>(*loss.first_ordinal)).ToString());
  }
}

TEST_F(SalvageDeletesTest, OfSeveralRowsTheOthersBoundWhatIsLost) {
  Put(Large(4), {1}, {});
  Put(Large(6), {}, {1});
  Settle(10);
  ASSERT_EQ(report_.losses_total, 2U);
  for (const SalvageLoss& loss : report_.losses) {
    const Lsn lsn = loss.first_lsn;
    EXPECT_EQ(lsn, &loss == &report_.losses[0] ? 4U : 6U);
    EXPECT_TRUE(Hides(lsn, 0));
    EXPECT_TRUE(Hides(lsn, 149'998));
    EXPECT_EQ(loss.start, 5);
    EXPECT_EQ(loss.end, 9);
    EXPECT_GT(*loss.first_ordinal, 10'000U);
    EXPECT_LT(*loss.last_ordinal, 140'000U);
    for (std::uint64_t o = *loss.first_ordinal; o <= *loss.last_ordinal; ++o) ASSERT_FALSE(Hides(lsn, static_cast<Ordinal>(o)));
    EXPECT_TRUE(Hides(lsn, static_cast<Ordinal>(*loss.last_ordinal + 1)));
  }
}

TEST_F(SalvageDeletesTest, ThoseBetweenBlocksThatCannotBeReadAreKept) {
  for (Lsn lsn = 10; lsn <= 2000; lsn += 10) Put(MakeDelete(lsn, {5, 9}, {1}));
  constexpr Lsn kMax = ~Lsn{0};
  Put(MakeDelete(kMax, {5, 9}, {1}));  // else a cursor can be set behind all
  struct Case {
    const char* what;
    BadBlocks::Ranges bad;
    BadBlocks::Ranges told;
  };
  for (const Case& c : {Case{"one", {{101, 300}}, {{100, 300}}}, Case{"the first", {{1, 300}}, {{1, 300}}},
                        Case{"to the end", {{101, kMax}}, {{100, 3000}}}, Case{"all", {{1, kMax}}, {{1, 3000}}},
                        Case{"a delete between two", {{101, 300}, {311, 700}}, {{100, 300}, {310, 700}}},
                        Case{"between three", {{101, 300}, {311, 330}, {351, 700}}, {{100, 300}, {310, 330}, {350, 700}}},
                        Case{"before the end", {{101, 300}, {441, kMax}}, {{100, 300}, {440, 3000}}}}) {
    SCOPED_TRACE(c.what);
    report_ = {};
    deletes_ = {};
    tombstones_.emplace();
    Settle(3000, {}, c.bad);
    for (Lsn lsn = 10; lsn <= 2000; lsn += 10) {
      const bool bad = std::any_of(c.bad.begin(), c.bad.end(), [lsn](const auto& r) { return r.first <= lsn && lsn <= r.second; });
      EXPECT_EQ(Hides(lsn, 1), !bad) << lsn;
    }
    BadBlocks::Ranges told;
    for (const SalvageLoss& loss : report_.losses) told.emplace_back(loss.first_lsn, loss.last_lsn);
    EXPECT_EQ(told, c.told);
  }
}

TEST_F(SalvageDeletesTest, OfALostTableThoseThatTheLogDoesNotHave) {
  const std::string third = TombstonePrefix(3) + std::string(4, '\0');
  const std::string ninth = TombstonePrefix(9) + std::string(4, '\0');
  struct Case {
    std::string smallest, largest;
    std::optional<Lsn> trimmed_to;
    Lsn first, last;  // 0: none told
  };
  for (const Case& c : {Case{third, ninth, 20, 3, 9}, Case{third, ninth, 5, 3, 5}, Case{ChunkKeyOf(0, 1), ninth, 20, 1, 9},
                        Case{third, ninth, std::nullopt, 3, 9}, Case{ninth, ninth, 5, 0, 0},
                        Case{ChunkKeyOf(0, 1), std::string(kChunkStateKey), 20, 0, 0}}) {
    report_ = {};
    deletes_ = {};
    deletes_.AddLostTable({ChunkFamily(0), "000012.sst", c.smallest, c.largest});
    Settle(c.trimmed_to);
    ASSERT_EQ(report_.losses_total, c.first == 0 ? 0U : 1U);
    if (c.first == 0) continue;
    EXPECT_EQ(report_.losses[0].first_lsn, c.first);
    EXPECT_EQ(report_.losses[0].last_lsn, c.last);
  }
}

}  // namespace
}  // namespace chronolith::ops

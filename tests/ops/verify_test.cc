// verify on every engine: sound stores have no problems, whatever has happened to them; rows that are wrong, though the engine's
// checksums are right, are found and named.
#include "ops/verify.h"

#include <gmock/gmock.h>

#include <functional>
#include <set>

#include "base/hash.h"
#include "chronolith/engine_registry.h"
#include "chunk/packed_chunk.h"
#include "chunk/xor_chunk.h"
#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "format/wal_record.h"
#include "storage/store_directory.h"
#include "tests/ops/waited_clock.h"
#include "tests/storage/store_fixture.h"

namespace chronolith::ops {
namespace {

using ::testing::HasSubstr;

constexpr Timestamp kHour = 3'600'000;
constexpr Timestamp kT = 1'700'006'400'000;  // the start of a window of two hours
constexpr int kSeries = 24;

Labels Numbered(int i) { return {{"__name__", "n"}, {"group", std::to_string(i % 3)}, {"i", std::to_string(i)}}; }

class Verify : public EveryEngine {
 protected:
  void Fill() {
    store_.options().max_label_value_bytes = 64 << 10;
    store_.Open();
    for (int i = 0; i < kSeries; ++i) {
      std::vector<Sample> samples;
      for (int s = 0; s < 300; ++s) samples.push_back({kT + s * 60'000, i + 0.25 * s});
      store_.Write(Numbered(i), std::move(samples));
      store_.Write(Numbered(i), {{kT + 30'000, -1}, {kT + 5'000, -2}, {kT + 3 * kHour, -3}});  // late: overlays
    }
    const std::string run(700, 'v');  // beyond what a key of the index holds
    for (const char* end : {"a", "b"}) store_.Write({{"__name__", "odd"}, {"long", run + end}}, {{kT, 1}});
    store_.Write({{"__name__", "huge"}, {"text", std::string(40'000, 'x')}}, {{kT, 1}});  // labels in two rows
    store_.Write({{"only", "one"}}, {{kT, 1}});
    TimeSeries all = MakeSeries(Numbered(1), {});
    IntHistogram histogram;
    histogram.count = 3;
    histogram.sum = 4;
    histogram.positive_spans = {{0, 2}};
    histogram.positive_deltas = {1, 1};
    for (int s = 0; s < 5; ++s) {
      all.histograms.push_back({kT + 6 * kHour + s, histogram});
      all.exemplars.push_back({{{"trace", std::to_string(s)}}, 1.5, kT + (7 - s) * kHour});
    }
    all.metadata = {{MetricType::kCounter, "s", std::string(40, 'h')}};
    EXPECT_TRUE(store_->Write({&all, 1}).ok());
    store_.Checkpoint();
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "3")}, {kT + kHour, kT + 2 * kHour}).ok());
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "7")}, {}).ok());
    store_.Checkpoint();
    // What only the log has: samples, new series, deletes.
    for (int i = 0; i < kSeries + 4; ++i) store_.Write(Numbered(i), {{kT + 8 * kHour, 7.0 * i}});
    EXPECT_TRUE(store_->Delete({Matcher::Equal("i", "9")}, {}).ok());
  }
  // And nobody has it open; all is stored.
  void FillAndClose() {
    store_.options().shards = 1;
    Fill();
    store_.Checkpoint();
    auto appender = store_->NewAppender();
    for (int i = 0; i < kSeries; ++i) ordinals_.push_back(OrdinalOf(appender->Ref(Numbered(i)).value()));
    appender.reset();
    store_.Close();
    ExpectSound();
  }

  VerifyReport MustVerify(VerifyOptions options = {}) {
    options.store.engines = store_.options().engines;
    Result<VerifyReport> report = VerifyStore(store_.path(), options, context_);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : VerifyReport();
  }
  static std::string Shown(const VerifyProblem& p) {
    return std::string(NameOf(p.kind)) + " " + (p.shard ? std::to_string(*p.shard) : "-") + " " + p.where + ": " + p.what;
  }
  VerifyReport ExpectSound() {
    VerifyReport report = MustVerify();
    EXPECT_EQ(report.problems_total, 0U);
    for (const VerifyProblem& p : report.problems) ADD_FAILURE() << Shown(p);
    for (const std::string& note : report.notes) ADD_FAILURE() << note;
    return report;
  }
  // Exactly these kinds, each naming what it is about.
  std::vector<VerifyProblem> ExpectProblems(const std::multiset<ProblemKind>& kinds, const std::string& named) {
    VerifyReport report = MustVerify();
    std::multiset<ProblemKind> found;
    for (const VerifyProblem& p : report.problems) {
      found.insert(p.kind);
      EXPECT_THAT(Shown(p), HasSubstr(named));
      EXPECT_EQ(p.shard, 0U);
      EXPECT_FALSE(AdviceOn(p.kind).empty());
    }
    EXPECT_EQ(report.problems_total, report.problems.size());
    EXPECT_EQ(found, kinds);
    if (found != kinds) {
      for (const VerifyProblem& p : report.problems) ADD_FAILURE() << Shown(p);
    }
    EXPECT_EQ(report.shards.at(0).problems, kinds.size());
    return report.problems;
  }

  // Changes rows of an instance through its engine, which gives them good checksums of its own.
  void Tamper(bool log, FamilyId family,
              const std::function<void(KvEngine*, std::vector<std::pair<Op::Type, ChunkFamilyRow>>*)>& change) {
    const Result<StoreManifest> manifest = ReadStoreManifest(store_.path());
    ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
    EngineOptions options = log ? LogInstanceOptions(*manifest) : DataInstanceOptions(*manifest);
    options.create_if_missing = false;
    const auto engines = store_.options().engines ? store_.options().engines : EngineRegistry::Default();
    const std::string path = log ? LogInstancePath(store_.path(), *manifest) : DataInstancePath(store_.path());
    auto engine = engines->Find(manifest->engine).value()->Open(path, options);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    std::vector<std::pair<Op::Type, ChunkFamilyRow>> changes;
    change(engine->get(), &changes);
    const Epoch epoch = (*engine)->CurrentEpoch(family).value();
    for (const auto& [type, row] : changes) {
      const Op op{type, row.key, row.value};
      const Batch batch{family, {}, epoch, {&op, 1}};
      const Status s = (*engine)->Write({&batch, 1}, {.durability = log ? Durability::kSynced : Durability::kBuffered})[0];
      ASSERT_TRUE(s.ok()) << s.ToString();
    }
    ASSERT_TRUE((*engine)->Flush(family).ok());
    ASSERT_TRUE((*engine)->Close().ok());
  }
  void Put(FamilyId family, const std::string& key, const std::string& value) {
    Tamper(false, family, [&](KvEngine*, auto* changes) { changes->push_back({Op::Type::kPut, {key, value}}); });
  }
  void Delete(FamilyId family, const std::string& key) {
    Tamper(false, family, [&](KvEngine*, auto* changes) { changes->push_back({Op::Type::kDelete, {key, ""}}); });
  }
  // The value of a row, in a form that may be put back.
  std::string Get(FamilyId family, const std::string& key) {
    std::string value;
    Tamper(false, family, [&](KvEngine* engine, auto*) { EXPECT_TRUE(engine->Get(family, key, &value).ok()); });
    return value;
  }
  // The key of the first chunk of floats of series `i`.
  ChunkFamilyRow FirstChunk(int i) {
    ChunkFamilyRow row;
    Tamper(false, ChunkFamily(0), [&](KvEngine* engine, auto*) {
      auto it = engine->NewIterator(ChunkFamily(0), {});
      const std::string prefix = ChunkSeriesPrefix(kT, ordinals_.at(static_cast<std::size_t>(i)));
      (*it)->Seek(prefix);
      ASSERT_TRUE((*it)->Valid() && (*it)->key().starts_with(prefix));
      row = {std::string((*it)->key()), std::string((*it)->value())};
    });
    return row;
  }
  // The same chunk with another row.
  void Rewrite(const ChunkFamilyRow& row, const std::function<void(ChunkMeta*, std::string*)>& change) {
    ChunkMeta meta;
    std::string_view view;
    std::string buffer;
    ASSERT_TRUE(DecodeChunkKey(row.key, &meta));
    ASSERT_TRUE(DecodeChunkValue(row.key, row.value, &meta, &view, &buffer).ok());
    std::string payload(view);
    if (meta.type == ChunkType::kXor && IsPacked(view)) {
      ASSERT_TRUE(Unpack(view, &payload).ok());
    }
    change(&meta, &payload);
    const ChunkKey key = EncodeChunkKey(meta);
    std::string value;
    ASSERT_TRUE(EncodeChunkValue({key.data(), key.size()}, meta, payload, &value).ok());
    Put(ChunkFamily(0), {key.data(), key.size()}, value);
  }
  std::string LabelsKey(int i) const {
    return index_rows::OrdinalKey(index_rows::kLabelsPrefix, ordinals_.at(static_cast<std::size_t>(i)));
  }
  void PutLabels(int i, const Labels& labels, std::uint64_t hash) {
    std::vector<std::pair<std::string, std::string>> rows;
    index_rows::LongRow row;
    row.hash = hash;
    index_rows::EncodeLongRow(index_rows::kLabelsPrefix, ordinals_.at(static_cast<std::size_t>(i)), row, labels.encoded(), &rows);
    ASSERT_EQ(rows.size(), 1U);
    Put(IndexFamily(0), rows[0].first, rows[0].second);
  }
  static std::string PostingKey(std::string_view name, std::string_view value) {
    index_rows::PairKey key = index_rows::MakePairKey(name, value);
    index_rows::AppendHigh(0, &key.bytes);
    return key.bytes;
  }
  void PutPosting(std::string_view name, std::string_view value, const std::vector<Ordinal>& ordinals) {
    OrdinalSet set;
    set.AddMany(ordinals);
    const std::string key = PostingKey(name, value);
    Put(IndexFamily(0), key, index_rows::EncodePostings(key, "", set, {}));
  }
  static std::string HashKey(const Labels& labels) {
    std::string key;
    index_rows::AppendHashKey(StableHash(labels.encoded()), &key);
    return key;
  }
  void PutHash(const Labels& labels, const std::vector<Ordinal>& ordinals) {
    const std::string key = HashKey(labels);
    std::string value;
    index_rows::AppendHashValue(key, ordinals, {}, &value);
    Put(IndexFamily(0), key, value);
  }
  index_rows::State IndexState() { return *index_rows::DecodeState(Get(IndexFamily(0), index_rows::StateKey())); }
  ChunkState StoredChunkState() {
    ChunkState state;
    EXPECT_TRUE(DecodeChunkState(kChunkStateKey, Get(ChunkFamily(0), std::string(kChunkStateKey)), &state).ok());
    return state;
  }
  Ordinal OrdinalAt(int i) const { return ordinals_.at(static_cast<std::size_t>(i)); }
  std::string Series(int i) const { return "series " + std::to_string(OrdinalAt(i)); }

  OpsContext context_;
  std::vector<Ordinal> ordinals_;
};

TEST_P(Verify, ASoundStoreHasNoProblemsWhateverHasHappenedToIt) {
  Fill();
  const VerifyReport live = ExpectSound();
  std::uint64_t series = 0, samples = 0, records = 0;
  for (const ShardVerification& s : live.shards) {
    series += s.series;
    samples += s.samples;
    records += s.log_records;
  }
  EXPECT_EQ(series, kSeries + 4U) << "as of the last checkpoint";
  EXPECT_GE(samples, 300U * kSeries);
  EXPECT_GE(records, kSeries + 4U);
  ThroughEverything([&] { ExpectSound(); });
  EXPECT_TRUE(store_->Delete({Matcher::Equal("group", "1")}, {}).ok());
  store_.Compact();  // removes series
  ExpectSound();
  store_.Write(Numbered(1), {{kT + 9 * kHour, 1}});  // and one comes again, as another
  store_.Kill();
  ExpectSound();
  store_.Checkpoint();
  ExpectSound();
  store_.Close();
  const VerifyReport closed = ExpectSound();
  EXPECT_EQ(closed.shards.size(), 4U);
}

TEST_P(Verify, ExpiredWindowsAndTheSeriesThatWereInThemAreNoProblem) {
  store_.options().shards = 2;
  store_.options().window_ms = 10'000;
  store_.options().retention_ms = 60'000;
  const auto clock = std::make_shared<FakeClock>(kT);
  store_.options().clock = clock;
  store_.Open();
  for (int round = 0; round < 30; ++round) {
    clock->Set(kT + round * 10'000);
    for (int i = 0; i < kSeries; ++i) store_.Write(Numbered(round / 4 * 100 + i), {{kT + round * 10'000 + i, 1.0 * i}});
    store_.Checkpoint();
    if (round % 5 == 4) store_.Compact();
    if (round % 7 == 6) store_.Kill();
    ExpectSound();
  }
}

TEST_P(Verify, OneShardOrNoDecodingIsLess) {
  Fill();
  store_.Close();
  VerifyOptions one;
  one.shards = {2};
  const VerifyReport report = MustVerify(one);
  ASSERT_EQ(report.shards.size(), 1U);
  EXPECT_EQ(report.shards[0].shard, 2U);
  EXPECT_GT(report.shards[0].rows, 0U);
  VerifyOptions none;
  none.shards = {4};
  none.store.engines = store_.options().engines;
  EXPECT_EQ(VerifyStore(store_.path(), none, context_).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(VerifyStore(store_.path() + "/none", none, context_).status().code(), StatusCode::kNotFound);
}

TEST_P(Verify, WithLittleMemoryItReadsTheIndexOftenerAndFindsTheSame) {
  constexpr int kMany = 2500;
  store_.options().shards = 1;
  store_.Open();
  std::vector<TimeSeries> all;
  for (int i = 0; i < kMany; ++i) all.push_back(MakeSeries(Numbered(i), {{kT, 1.0 * i}}));
  EXPECT_TRUE(store_->Write(all).ok());
  store_.Checkpoint();
  auto appender = store_->NewAppender();
  for (int i = 0; i < kMany; ++i) ordinals_.push_back(OrdinalOf(appender->Ref(Numbered(i)).value()));
  appender.reset();
  store_.Close();
  context_.memory_limit_bytes = 1;
  EXPECT_EQ(ExpectSound().shards.at(0).series, 0U + kMany);
  for (const int i : {3, 2400}) PutPosting("i", std::to_string(i), {});
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.problems.size(), 2U);
  EXPECT_THAT(report.problems[0].what + report.problems[1].what, HasSubstr(Series(3) + ", "));
  EXPECT_THAT(report.problems[0].what + report.problems[1].what, HasSubstr(Series(2400) + ", "));
}

TEST_P(Verify, ABoundOnBytesHoldsForAllThatItReads) {
  Fill();
  store_.Close();
  WaitedClock clock;
  context_.clock = &clock;
  const VerifyReport unbound = MustVerify();
  EXPECT_EQ(clock.waits(), 0U);
  VerifyOptions options;
  options.bytes_per_second = 10'000;
  const VerifyReport report = MustVerify(options);
  std::uint64_t bytes = report.file_bytes;
  for (const ShardVerification& shard : report.shards) bytes += shard.row_bytes;
  EXPECT_GT(bytes, 10'000U);
  EXPECT_GE(clock.waited() / 1000, bytes * 1'000'000 / options.bytes_per_second);
  EXPECT_EQ(report.problems_total, 0U);
}

TEST_P(Verify, IsCancelled) {
  Fill();
  store_.Close();
  std::atomic<bool> cancelled{true};
  OpsContext context;
  context.cancelled = &cancelled;
  VerifyOptions options;
  options.store.engines = store_.options().engines;
  EXPECT_EQ(VerifyStore(store_.path(), options, context).status().code(), StatusCode::kCancelled);
}

// ---- What is wrong ----

TEST_P(Verify, ASeriesWithoutLabels) {
  FillAndClose();
  Delete(IndexFamily(0), LabelsKey(5));
  // Its hash row, its three postings and that of all series lead nowhere; so do its chunks, one of floats and overlays in windows.
  const VerifyReport report = MustVerify();
  std::multiset<ProblemKind> kinds;
  for (const VerifyProblem& p : report.problems) {
    EXPECT_THAT(Shown(p), HasSubstr(Series(5)));
    kinds.insert(p.kind);
  }
  EXPECT_EQ(kinds.count(ProblemKind::kHash), 1U);
  EXPECT_EQ(kinds.count(ProblemKind::kPosting), 4U);
  EXPECT_GE(kinds.count(ProblemKind::kOrdinal), 3U) << "chunks of as many windows";
  EXPECT_EQ(kinds.size(),
            kinds.count(ProblemKind::kHash) + kinds.count(ProblemKind::kPosting) + kinds.count(ProblemKind::kOrdinal));
}

TEST_P(Verify, APostingThatLacksASeries) {
  FillAndClose();
  PutPosting("i", "5", {});
  const auto found = ExpectProblems({ProblemKind::kPosting}, Series(5));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].where, "index.0/i=\"5\"");
  EXPECT_THAT(found[0].what, HasSubstr("does not list"));
}

TEST_P(Verify, APostingThatListsAnotherSeries) {
  FillAndClose();
  PutPosting("i", "5", {OrdinalAt(5), OrdinalAt(6)});
  const auto found = ExpectProblems({ProblemKind::kPosting}, Series(6));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0].what, HasSubstr("lists " + Series(6) + ", which is n{"));
}

TEST_P(Verify, APostingOfASeriesThatWasNeverGivenOut) {
  FillAndClose();
  PutPosting("i", "5", {OrdinalAt(5), 60'000});
  ExpectProblems({ProblemKind::kOrdinal}, "series 60000");
}

TEST_P(Verify, AHashThatLeadsToAnotherSeries) {
  FillAndClose();
  PutHash(Numbered(5), {OrdinalAt(6)});
  const auto found = ExpectProblems({ProblemKind::kHash, ProblemKind::kHash}, "index.0/h ");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0].what, HasSubstr("does not list " + Series(5)));
  EXPECT_THAT(found[1].what, HasSubstr("leads to " + Series(6)));
}

TEST_P(Verify, AHashRowThatIsGone) {
  FillAndClose();
  Delete(IndexFamily(0), HashKey(Numbered(5)));
  ExpectProblems({ProblemKind::kHash}, Series(5));
}

TEST_P(Verify, LabelsThatAreNotTheirHashs) {
  FillAndClose();
  PutLabels(5, Numbered(5), 12345);
  ExpectProblems({ProblemKind::kLabels}, "index.0/l " + std::to_string(OrdinalAt(5)));
}

TEST_P(Verify, TwoSeriesWithTheSameLabels) {
  FillAndClose();
  PutLabels(6, Numbered(5), StableHash(Numbered(5).encoded()));
  PutHash(Numbered(5), {std::min(OrdinalAt(5), OrdinalAt(6)), std::max(OrdinalAt(5), OrdinalAt(6))});
  bool twins = false;
  for (const VerifyProblem& p : MustVerify().problems) twins = twins || p.what.find("have the same labels") != std::string::npos;
  EXPECT_TRUE(twins);
}

TEST_P(Verify, LabelsOfAnotherShard) {
  Fill();
  store_.Checkpoint();
  auto appender = store_->NewAppender();
  int i = 0;
  while (ShardOf(appender->Ref(Numbered(i)).value()) != 0) ++i;
  int other = 0;
  while (ShardOf(appender->Ref(Numbered(other)).value()) != 1) ++other;
  for (int s = 0; s <= i; ++s) ordinals_.push_back(OrdinalOf(appender->Ref(Numbered(s)).value()));
  appender.reset();
  store_.Close();
  PutLabels(i, Numbered(other), StableHash(Numbered(other).encoded()));
  bool told = false;
  for (const VerifyProblem& p : MustVerify().problems) told = told || p.what == "its labels belong to shard 1";
  EXPECT_TRUE(told);
}

TEST_P(Verify, ARowThatFailsItsChecksum) {
  FillAndClose();
  const std::pair<FamilyId, std::string> rows[] = {{IndexFamily(0), LabelsKey(5)},
                                                   {IndexFamily(0), HashKey(Numbered(5))},
                                                   {IndexFamily(0), PostingKey("i", "5")},
                                                   {ChunkFamily(0), FirstChunk(5).key}};
  for (const auto& [family, key] : rows) {
    const std::string value = Get(family, key);
    std::string flipped = value;
    flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 4);
    Put(family, key, flipped);
    ExpectProblems({ProblemKind::kRow}, family == IndexFamily(0) ? "index.0" : "chunk.0");
    Put(family, key, value);
  }
  ExpectSound();
  Put(IndexFamily(0), "x", "y");
  ExpectProblems({ProblemKind::kRow}, "there are no such rows");
}

TEST_P(Verify, StateRowsThatDisagree) {
  FillAndClose();
  const index_rows::State index = IndexState();
  const ChunkState chunks = StoredChunkState();
  const auto put_index = [&](index_rows::State state) {
    Put(IndexFamily(0), index_rows::StateKey(), index_rows::EncodeState(state));
  };
  const auto put_chunks = [&](ChunkState state) {
    const ChunkFamilyRow row = EncodeChunkState(state);
    Put(ChunkFamily(0), row.key, row.value);
  };
  put_index({index.applied_lsn + 1000, index.next_ordinal, index.series});
  EXPECT_THAT(ExpectProblems({ProblemKind::kOrder}, "index.0/s").at(0).what, HasSubstr("but the log ends at LSN"));
  put_index({index.applied_lsn, index.next_ordinal, index.series + 1});
  EXPECT_THAT(ExpectProblems({ProblemKind::kOrder}, "index.0/s").at(0).what, HasSubstr("series"));
  put_index(index);
  put_chunks({chunks.applied_lsn - 1, chunks.floor, chunks.epoch});
  EXPECT_THAT(ExpectProblems({ProblemKind::kOrder}, "chunk.0/s").at(0).what, HasSubstr("the log is trimmed up to"));
  put_chunks({chunks.applied_lsn + 1, chunks.floor, chunks.epoch});
  ExpectProblems({ProblemKind::kOrder, ProblemKind::kOrder}, "up to LSN");
  put_chunks(chunks);
  ExpectSound();
  // The number of the last series is forgotten: it would be given out again.
  Ordinal last = 0;
  for (const Ordinal ordinal : ordinals_) last = std::max(last, ordinal);
  put_index({index.applied_lsn, last, index.series});
  bool told = false;
  for (const VerifyProblem& p : MustVerify().problems) {
    told = told || (p.kind == ProblemKind::kOrdinal && p.what.find("series " + std::to_string(last)) != std::string::npos);
  }
  EXPECT_TRUE(told);
}

TEST_P(Verify, ChunksThatAreNotWhatTheirRowsSay) {
  FillAndClose();
  const ChunkFamilyRow row = FirstChunk(5);
  const auto one = [&](const char* what) {
    EXPECT_THAT(ExpectProblems({ProblemKind::kChunk}, "chunk.0/window").at(0).what, HasSubstr(what));
    Put(ChunkFamily(0), row.key, row.value);
  };
  Rewrite(row, [](ChunkMeta* meta, std::string*) { ++meta->samples; });
  one("its row says");
  Rewrite(row, [](ChunkMeta* meta, std::string*) { ++meta->max_time; });
  one("its row says");
  Rewrite(row, [](ChunkMeta*, std::string* payload) { payload->resize(payload->size() / 2); });
  VerifyOptions fast;
  fast.decode = false;
  EXPECT_EQ(MustVerify(fast).problems_total, 0U) << "which only decoding finds";
  one("");
  Rewrite(row, [](ChunkMeta* meta, std::string* payload) {
    std::vector<Sample> samples = *DecodeXor(*payload);
    std::swap(samples[1], samples[2]);
    *payload = EncodeXor(samples);
    EXPECT_EQ(meta->samples, samples.size());
  });
  one("do not ascend");
  Rewrite(row, [](ChunkMeta* meta, std::string* payload) {
    std::vector<Sample> samples = *DecodeXor(*payload);
    samples.back().timestamp += 4 * kHour;
    *payload = EncodeXor(samples);
    meta->max_time = samples.back().timestamp;
  });
  one("of another window");
  ExpectSound();
}

// Their values are not decoded: what a packed chunk is made of tells whether they can be.
TEST_P(Verify, PackedChunksThatDoNotDecode) {
  FillAndClose();
  const ChunkFamilyRow row = FirstChunk(5);
  const auto rewrite_packed = [&](const std::function<void(std::string*)>& change) {
    Rewrite(row, [&](ChunkMeta*, std::string* payload) {
      std::vector<Sample> samples = *DecodeXor(*payload);
      for (std::size_t i = 0; i < samples.size(); ++i) samples[i].value = static_cast<double>(i * i % 1000);
      FloatPacker packer;
      ASSERT_TRUE(packer.Pack(EncodeXor(samples), payload));
      change(payload);
    });
  };
  rewrite_packed([](std::string*) {});
  ExpectSound();
  const auto one = [&](const char* what) {
    EXPECT_THAT(ExpectProblems({ProblemKind::kChunk}, "chunk.0/window").at(0).what, HasSubstr(what));
    Put(ChunkFamily(0), row.key, row.value);
  };
  rewrite_packed([](std::string* payload) { payload->pop_back(); });
  one("malformed");
  rewrite_packed([](std::string* payload) { payload->push_back('x'); });
  one("malformed");
  ExpectSound();
}

TEST_P(Verify, AChunkOfASeriesThatDoesNotExistOrOfALaterLog) {
  FillAndClose();
  const ChunkFamilyRow row = FirstChunk(5);
  Rewrite(row, [](ChunkMeta* meta, std::string*) { meta->ordinal = 1'000'000; });
  const auto found = ExpectProblems({ProblemKind::kOrdinal}, "series 1000000");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0].what, HasSubstr("was never given out"));
  ChunkMeta meta;
  ASSERT_TRUE(DecodeChunkKey(row.key, &meta));
  meta.ordinal = 1'000'000;
  const ChunkKey key = EncodeChunkKey(meta);
  Delete(ChunkFamily(0), {key.data(), key.size()});
  Rewrite(row, [](ChunkMeta* m, std::string*) { m->creation_lsn = 1'000'000'000; });
  ExpectProblems({ProblemKind::kOrder}, "lsn 1000000000");
}

TEST_P(Verify, ADeleteThatLacksAPart) {
  FillAndClose();
  Tombstone tombstone;
  tombstone.lsn = 2;
  tombstone.range = {kT, kT + 1};
  for (Ordinal o = 0; o < 200'000; o += 2) tombstone.ordinals.Add(o);
  const std::vector<ChunkFamilyRow> rows = EncodeTombstone(tombstone);
  ASSERT_GT(rows.size(), 1U);
  Put(ChunkFamily(0), rows[0].key, rows[0].value);
  ExpectProblems({ProblemKind::kTombstone}, "delete of LSN 2");
}

TEST_P(Verify, AHoleInTheLog) {
  store_.options().shards = 1;
  Fill();
  store_.Close();
  ExpectSound();
  Lsn gone = 0;
  Tamper(true, WalFamily(0), [&](KvEngine* engine, auto* changes) {
    std::vector<std::string> keys;
    auto it = engine->NewIterator(WalFamily(0), {.lower = WalKey(0), .upper = std::string(1, kWalRowPrefix + 1)});
    for ((*it)->Seek(WalKey(0)); (*it)->Valid(); (*it)->Next()) keys.emplace_back((*it)->key());
    ASSERT_GT(keys.size(), 6U);
    changes->push_back({Op::Type::kDelete, {keys[keys.size() / 2], ""}});
    for (const char byte : keys[keys.size() / 2].substr(1)) gone = gone << 8 | static_cast<unsigned char>(byte);
  });
  const auto found = ExpectProblems({ProblemKind::kLog}, "wal.0");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0].what, HasSubstr("LSN " + std::to_string(gone)));
}

TEST_P(Verify, RecordsOfSeriesThatTheLogDoesNotCreate) {
  store_.options().shards = 1;
  Fill();
  store_.Close();
  Lsn last = 0;
  WalRowHeader header;
  Tamper(true, WalFamily(0), [&](KvEngine* engine, auto* changes) {
    auto it = engine->NewIterator(WalFamily(0), {.lower = WalKey(0), .upper = std::string(1, kWalRowPrefix + 1)});
    for ((*it)->Seek(WalKey(0)); (*it)->Valid(); (*it)->Next()) {
      std::string_view payload;
      std::string scratch;
      ASSERT_TRUE(DecodeWalRow(0, (*it)->key(), (*it)->value(), &header, &payload, &scratch).ok());
      last = header.first_lsn + header.records - 1;
    }
    ASSERT_GT(last, 0U);
    std::string record;
    const SampleEntry sample{.ordinal = 77'777, .timestamp = kT, .value = 1};
    AppendSamplesRecord({&sample, 1}, &record);
    header.first_lsn = last + 1;
    header.records = 1;
    ++header.group;
    std::string value;
    WalRowEncoder().Append(0, header, record, false, &value);
    changes->push_back({Op::Type::kPut, {WalKey(last + 1), value}});
  });
  ExpectProblems({ProblemKind::kOrdinal}, "series 77777");
}

// The memory engine, whose crashes the test decides.
TEST(VerifyCrashes, WithinACheckpointLeaveNoProblem) {
  for (std::uint64_t nth = 1; nth < 60; nth += 3) {
    TestStore store("memory");
    store.Open();
    for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1.0 * i}});
    store.Checkpoint();
    for (int i = 0; i < 2 * kSeries; ++i) store.Write(Numbered(i), {{kT + 1, 1.0 * i}});
    EXPECT_TRUE(store->Delete({Matcher::Equal("group", "2")}, {}).ok());
    store.memory().CrashDuringCall(nth % 2 == 0 ? EngineMethod::kFlush : EngineMethod::kWrite, nth, CrashKind::kKill);
    (void)store->Compact();
    (void)store->Checkpoint();
    store.memory().ForgetFaults();
    store.memory().CrashAll(CrashKind::kKill);
    VerifyOptions options;
    options.store.engines = store.options().engines;
    const Result<VerifyReport> report = VerifyStore(store.path(), options, {});
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    for (const VerifyProblem& p : report->problems) ADD_FAILURE() << "crash " << nth << ": " << p.where << ": " << p.what;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Verify, AllEngines(), EngineName);

}  // namespace
}  // namespace chronolith::ops

#include "query/select.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "query_fixture.h"

namespace chronolith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::HasSubstr;

class SelectTest : public QueryFixture {
 protected:
  static std::vector<Seen> At(const std::vector<Timestamp>& times) {
    std::vector<Seen> seen;
    for (const Timestamp t : times) seen.push_back({t, false, static_cast<std::uint64_t>(t)});
    return seen;
  }
  Labels Named(const std::string& name) { return Labels{{"__name__", "m"}, {"name", name}}; }
};

TEST_F(SelectTest, SeriesComeInTheOrderOfTheirLabelsOverAllShards) {
  Store(0, AddSeries(0, Named("b")), 1, {10, 20});
  Store(1, AddSeries(1, Named("c")), 1, {30});
  Store(0, AddSeries(0, Named("ab")), 1, {40});
  Store(1, AddSeries(1, Named("a")), 1, {50});
  Store(1, AddSeries(1, Labels{{"__name__", "l"}, {"z", "z"}}), 1, {60});
  EXPECT_EQ(SelectAll({}, {}), (AllSeen{{"l{z=\"z\"}", At({60})},
                                        {"m{name=\"a\"}", At({50})},
                                        {"m{name=\"ab\"}", At({40})},
                                        {"m{name=\"b\"}", At({10, 20})},
                                        {"m{name=\"c\"}", At({30})}}));
  EXPECT_EQ(SelectAll({Matcher::Regex("name", "a.*"), Matcher::NotEqual("name", "ab")}, {}),
            (AllSeen{{"m{name=\"a\"}", At({50})}}));
}

TEST_F(SelectTest, ASeriesWithoutASampleInTheRangeDoesNotAppear) {
  const Ordinal a = AddSeries(0, Named("a"));
  Store(0, a, 1, {100, 200});
  AddSeries(0, Named("b"));
  EXPECT_TRUE(SelectAll({}, {101, 200}).empty());  // inside of the chunk's span, between its samples
  EXPECT_EQ(SelectAll({}, {100, 101}).size(), 1U);
  EXPECT_TRUE(SelectAll({}, {201, 900}).empty());
  Tombstone tombstone{.lsn = 5, .range = {0, 150}, .ordinals = {}};
  tombstone.ordinals.Add(a);
  shards_[0]->chunks->tombstones().Add(tombstone);
  EXPECT_TRUE(SelectAll({}, {0, 150}).empty());
  EXPECT_EQ(SelectAll({}, {0, 201}), (AllSeen{{"m{name=\"a\"}", At({200})}}));
}

TEST_F(SelectTest, TheHeadsCopyOfAChunkWins) {
  const Ordinal a = AddSeries(0, Named("a"));
  Store(0, a, 1, {10, 20});
  shards_[0]->head.Put(Floats(a, 1, {10, 20, 30}));
  EXPECT_EQ(SelectAll({}, {}), (AllSeen{{"m{name=\"a\"}", At({10, 20, 30})}}));
}

// Whoever sees the delete sees what was written before it.
TEST_F(SelectTest, ADeleteThatComesBetweenHeadAndStoreShowsWithWhatCameBeforeIt) {
  const Ordinal a = AddSeries(0, Named("a"));
  Store(0, a, 1, {100});
  shards_[0]->head.after_collect = [&] {
    shards_[0]->head.Put(Floats(a, 2, {200}));
    Tombstone tombstone;
    tombstone.lsn = 3;
    tombstone.range = {100, 101};
    tombstone.ordinals.Add(a);
    shards_[0]->chunks->tombstones().Add(std::move(tombstone));
  };
  EXPECT_EQ(SelectAll({}, {}), (AllSeen{{"m{name=\"a\"}", At({200})}}));
}

// A checkpoint stores a chunk begun after the head was read: then what came before it in older chunks is to be seen as well.
TEST_F(SelectTest, AChunkBegunAndStoredBetweenHeadAndStoreShowsWithWhatCameBeforeIt) {
  const Ordinal a = AddSeries(0, Named("a"));
  shards_[0]->head.Put(Floats(a, 1, {100}));
  shards_[0]->head.SetNewest({0, 1});
  shards_[0]->head.after_collect = [&] {
    shards_[0]->head.Clear();
    shards_[0]->head.Put(Floats(a, 1, {100, 200}));
    shards_[0]->head.SetNewest({0, 3});
    Store(0, a, 3, {50});
  };
  EXPECT_EQ(SelectAll({}, {}), (AllSeen{{"m{name=\"a\"}", At({50, 100, 200})}}));
}

TEST_F(SelectTest, RangesAreHalfOpenAndChecked) {
  Store(0, AddSeries(0, Named("a")), 1, {10, 20, 30});
  EXPECT_EQ(SelectAll({}, {10, 30}), (AllSeen{{"m{name=\"a\"}", At({10, 20})}}));
  EXPECT_TRUE(SelectAll({}, {10, 10}).empty());
  const auto reversed = SelectSeries(context_, {}, {11, 10}, {});
  EXPECT_EQ(reversed.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(reversed.status().message(), HasSubstr("11"));
  EXPECT_EQ(LookupSeries(*context_, {}, {.range = {11, 10}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(LookupLabelNames(*context_, {}, {.range = {11, 10}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(LookupLabelValues(*context_, "a", {}, {.range = {11, 10}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SelectExemplars(*context_, 0, 0, {11, 10}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(LookupSeries(*context_, {}, {.range = {10, 10}})->values.empty());
}

TEST_F(SelectTest, ABadMatcherIsNamed) {
  const auto set = SelectSeries(context_, {Matcher::Regex("name", "a(")}, {}, {});
  EXPECT_EQ(set.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(set.status().message(), HasSubstr("a("));
  EXPECT_EQ(LookupSeriesIds(*context_, {Matcher::Regex("name", "a(")}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SelectTest, MoreSeriesThanTheLimitIsAnErrorWithTheNumber) {
  for (int i = 0; i < 12; ++i) Store(i % 2, AddSeries(i % 2, Named(std::to_string(i))), 1, {10});
  EXPECT_TRUE(SelectSeries(context_, {}, {}, {.max_series = 12}).ok());
  const auto set = SelectSeries(context_, {}, {}, {.max_series = 11});
  EXPECT_EQ(set.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(set.status().message(), HasSubstr("12 series"));
}

TEST_F(SelectTest, APassedDeadlineAndACancellationEndItEverywhere) {
  for (int i = 0; i < 300; ++i) {
    std::vector<Timestamp> times;
    for (Timestamp t = 0; t < 900; t += 10) times.push_back(t);
    Store(0, AddSeries(0, Named(std::to_string(i))), 1, times);
  }
  const SelectOptions passed{.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1)};
  EXPECT_EQ(SelectSeries(context_, {}, {}, passed).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(LookupSeries(*context_, {}, {.deadline = passed.deadline}).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(LookupLabelNames(*context_, {}, {.deadline = passed.deadline}).status().code(), StatusCode::kDeadlineExceeded);

  std::atomic<bool> cancelled = true;
  EXPECT_EQ(SelectSeries(context_, {}, {}, {.cancelled = &cancelled}).status().code(), StatusCode::kCancelled);
  cancelled = false;
  auto set = SelectSeries(context_, {}, {}, {.cancelled = &cancelled});
  ASSERT_TRUE(set.ok());
  ASSERT_TRUE((*set)->Next());
  cancelled = true;  // between series
  int more = 0;
  while ((*set)->Next()) ++more;
  EXPECT_LT(more, 200);
  EXPECT_EQ((*set)->status().code(), StatusCode::kCancelled);

  cancelled = false;
  set = SelectSeries(context_, {}, {}, {.cancelled = &cancelled});
  ASSERT_TRUE(set.ok());
  ASSERT_TRUE((*set)->Next());
  cancelled = true;  // within a series: an iterator that is used again and again comes to look in time
  int rounds = 0;
  while ((*set)->status().ok() && rounds < 1000) {
    ++rounds;
    while ((*set)->samples().Next() != ValueType::kNone) {
    }
    if (!(*set)->Next()) break;
  }
  EXPECT_EQ((*set)->status().code(), StatusCode::kCancelled);
  EXPECT_LT(rounds, 300);
}

TEST_F(SelectTest, UntouchedChunksArePassedThroughOthersAreEncodedAnew) {
  const Ordinal a = AddSeries(0, Named("a"));
  std::vector<Chunk> stored;
  for (Lsn lsn = 1; lsn <= 3; ++lsn) {
    std::vector<Timestamp> times;
    for (Timestamp t = 0; t < 50; ++t) times.push_back(static_cast<Timestamp>(lsn) * 100 + t);
    stored.push_back(Floats(a, lsn, times));
  }
  ASSERT_TRUE(shards_[0]->chunks->Write({stored.begin(), stored.end()}).ok());
  auto set = SelectSeries(context_, {}, {}, {});
  ASSERT_TRUE((*set)->Next());
  for (const Chunk& chunk : stored) {  // larger than chunks are made: untouched all the same
    ASSERT_TRUE((*set)->chunks().Next());
    EXPECT_EQ((*set)->chunks().chunk().data, chunk.data);
    EXPECT_EQ((*set)->chunks().chunk().samples, 50U);
  }
  EXPECT_FALSE((*set)->chunks().Next());
  EXPECT_TRUE((*set)->chunks().status().ok());

  set = SelectSeries(context_, {}, {100, 345}, {});
  ASSERT_TRUE((*set)->Next());
  std::vector<std::uint32_t> sizes;
  std::vector<bool> same;
  while ((*set)->chunks().Next()) {
    sizes.push_back((*set)->chunks().chunk().samples);
    same.push_back(
        std::any_of(stored.begin(), stored.end(), [&](const Chunk& c) { return c.data == (*set)->chunks().chunk().data; }));
  }
  EXPECT_THAT(sizes, ElementsAre(50, 50, kTestMaxSamples, kTestMaxSamples, 5));
  EXPECT_THAT(same, ElementsAre(true, true, false, false, false));
}

TEST_F(SelectTest, DamageIsReportedWhileReadingAndNothingElseIs) {
  const Ordinal a = AddSeries(0, Named("a"));
  Chunk wrong_count = Floats(a, 1, {10, 20});
  wrong_count.meta.samples = 3;  // a right checksum over a wrong row
  ASSERT_TRUE(shards_[0]->chunks->Write({wrong_count}).ok());
  auto set = SelectSeries(context_, {}, {}, {});
  ASSERT_TRUE((*set)->Next());
  SampleIterator& it = (*set)->samples();
  while (it.Next() != ValueType::kNone) {
  }
  EXPECT_EQ(it.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(it.status().message(), HasSubstr("creation LSN 1"));
  EXPECT_EQ((*set)->status().code(), StatusCode::kDataLoss);

  Chunk cut = Floats(a, 1, {10, 20});
  cut.data.resize(cut.data.size() - 2);
  ASSERT_TRUE(shards_[0]->chunks->Write({cut}).ok());
  set = SelectSeries(context_, {}, {15, 900}, {});
  ASSERT_FALSE((*set)->Next());
  EXPECT_EQ((*set)->status().code(), StatusCode::kDataLoss);

  const ChunkKey key = EncodeChunkKey(cut.meta);
  ASSERT_TRUE(factory_->FlipBit("db", "chunk.0", {key.data(), key.size()}, 50).ok());
  set = SelectSeries(context_, {}, {}, {});
  EXPECT_FALSE((*set)->Next());
  EXPECT_EQ((*set)->status().code(), StatusCode::kDataLoss);
  EXPECT_THAT((*set)->status().message(), HasSubstr("chunk.0"));
}

TEST_F(SelectTest, WhatADeviceDoesNotGiveOfOneShardCanBeLeftOut) {
  Store(0, AddSeries(0, Named("a")), 1, {10, 20});
  Store(1, AddSeries(1, Named("b")), 1, {30});
  int left_out = 0;
  for (std::uint64_t nth = 1; nth < 20; ++nth) {
    factory_->FailCall(EngineMethod::kRead, nth, IoError("a bad sector"));
    auto set = SelectSeries(context_, {}, {}, {});
    while (set.ok() && (*set)->Next()) {
    }
    const Status status = set.ok() ? (*set)->status() : set.status();
    if (status.ok()) break;  // fewer reads than that
    EXPECT_EQ(status.code(), StatusCode::kIoError);
    EXPECT_THAT(status.message(), HasSubstr("shard "));

    factory_->FailCall(EngineMethod::kRead, nth, IoError("a bad sector"));
    set = SelectSeries(context_, {}, {}, {.skip_damaged = true});
    ASSERT_TRUE(set.ok()) << set.status().ToString();
    std::vector<std::string> names;
    while ((*set)->Next()) names.push_back((*set)->labels().ToString());
    EXPECT_TRUE((*set)->status().ok()) << (*set)->status().ToString();
    EXPECT_TRUE((*set)->partial());
    EXPECT_EQ(names.size(), 1U);
    ++left_out;
  }
  EXPECT_GE(left_out, 2);
}

TEST_F(SelectTest, ManySeriesComeInSeveralBatches) {
  std::vector<Chunk> chunks[2];
  for (int i = 0; i < 3000; ++i) {
    const Ordinal o = AddSeries(i % 2, Named(std::to_string(100'000 + i * 7919 % 3000)));
    chunks[i % 2].push_back(Floats(o, 1, {i % 900}));
  }
  for (std::size_t k = 0; k < 2; ++k) ASSERT_TRUE(shards_[k]->chunks->Write({chunks[k].begin(), chunks[k].end()}).ok());
  auto set = SelectSeries(context_, {}, {}, {});
  Labels last;
  int n = 0;
  for (; (*set)->Next(); ++n) {
    EXPECT_LT(last, (*set)->labels());
    last = (*set)->labels();
    ASSERT_EQ(ReadSamples(&(*set)->samples()).size(), 1U);
  }
  EXPECT_TRUE((*set)->status().ok());
  EXPECT_EQ(n, 3000);
}

TEST_F(SelectTest, ListsOfValuesAreCountedWithoutThePagesThatTheyCameIn) {
  constexpr int kValues = 3000;
  for (int i = 0; i < kValues; ++i) AddSeries(i % 2, Named(std::to_string(10'000 + i)));
  MemoryBudget budget(1 << 20);
  MemoryShare share(&budget);
  const auto values = LookupLabelValues(*context_, "name", {}, {}, {nullptr, &share});
  ASSERT_TRUE(values.ok()) << values.status().ToString();
  EXPECT_EQ(values->values.size(), static_cast<std::size_t>(kValues));
  EXPECT_GT(share.bytes(), kValues * (sizeof(std::string) + 5));
  EXPECT_LT(share.bytes(), kValues * (4 * sizeof(std::string) + 5));
  MemoryBudget little(100'000);
  MemoryShare less(&little);
  EXPECT_EQ(LookupLabelValues(*context_, "name", {}, {}, {nullptr, &less}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(LookupLabelNames(*context_, {}, {}, {nullptr, &share}).ok());
}

TEST_F(SelectTest, APageEndsWhereItsBoundsDo) {
  for (int i = 0; i < 3000; ++i) AddSeries(0, Named(std::to_string(10'000 + i)));
  const IndexShard& index = *context_->shards[0].index;
  const std::atomic<bool> cancelled{true};
  StringPage page({}, 1 << 20, {&cancelled, nullptr});
  EXPECT_TRUE(index.LabelValues("name", nullptr, &page).ok());
  EXPECT_EQ(page.status().code(), StatusCode::kCancelled);
  EXPECT_LT(page.strings().size(), 2000U);
  MemoryBudget budget(100'000);
  MemoryShare share(&budget);
  StringPage counted({}, 1 << 20, {nullptr, &share});
  EXPECT_TRUE(index.LabelValues("name", nullptr, &counted).ok());
  EXPECT_EQ(counted.status().code(), StatusCode::kFailedPrecondition);
  // One that needs less takes it once, however often it is turned.
  share.ShrinkTo(0);
  StringPage small({}, 10'000, {nullptr, &share});
  ASSERT_TRUE(index.LabelValues("name", nullptr, &small).ok());
  std::size_t seen = small.strings().size();
  const std::uint64_t bytes = share.bytes();
  for (; small.full(); seen += small.strings().size()) {
    small.Turn();
    ASSERT_TRUE(index.LabelValues("name", nullptr, &small).ok());
  }
  EXPECT_EQ(seen, 3000U);
  EXPECT_EQ(share.bytes(), bytes);
  EXPECT_LT(bytes, 20'000U);
}

TEST_F(SelectTest, LookUpsHonourMatchersRangesAndLimits) {
  Store(0, AddSeries(0, Labels{{"__name__", "up"}, {"job", "a"}}), 1, {100});
  Store(1, AddSeries(1, Labels{{"__name__", "up"}, {"job", "b"}}), 1, {1500});
  shards_[0]->head.Put(Floats(AddSeries(0, Labels{{"__name__", "down"}, {"host", "h"}}), 1, {2500}));
  AddSeries(1, Labels{{"__name__", "empty"}, {"nothing", "x"}});
  EXPECT_THAT(LookupLabelNames(*context_, {}, {})->values, ElementsAre("__name__", "host", "job", "nothing"));
  EXPECT_THAT(LookupLabelNames(*context_, {}, {.range = {0, kMaxTimestamp}})->values, ElementsAre("__name__", "host", "job"));
  const std::vector<std::vector<Matcher>> job_a = {{Matcher::Equal("job", "a")}};
  EXPECT_THAT(LookupLabelNames(*context_, job_a, {})->values, ElementsAre("__name__", "job"));
  EXPECT_THAT(LookupLabelValues(*context_, "__name__", {}, {})->values, ElementsAre("down", "empty", "up"));
  EXPECT_THAT(LookupLabelValues(*context_, "__name__", {}, {.range = {0, 2000}})->values, ElementsAre("up"));
  EXPECT_THAT(LookupLabelValues(*context_, "job", {}, {.range = {1000, 2000}})->values, ElementsAre("b"));
  EXPECT_TRUE(LookupLabelValues(*context_, "missing", {}, {})->values.empty());
  const auto two = LookupLabelValues(*context_, "__name__", {}, {.limit = 2});
  EXPECT_THAT(two->values, ElementsAre("down", "empty"));
  EXPECT_TRUE(two->truncated);
  EXPECT_FALSE(LookupLabelValues(*context_, "__name__", {}, {.limit = 3})->truncated);

  const auto series = LookupSeries(*context_, {Matcher::Equal("__name__", "up")}, {});
  ASSERT_EQ(series->values.size(), 2U);
  EXPECT_EQ(series->values[0].Get("job"), "a");
  EXPECT_FALSE(series->truncated);
  const auto one = LookupSeries(*context_, {Matcher::Equal("__name__", "up")}, {.limit = 1});
  EXPECT_EQ(one->values.size(), 1U);
  EXPECT_TRUE(one->truncated);
  EXPECT_EQ(LookupSeries(*context_, {}, {.range = {2000, 3000}})->values.size(), 1U);
  EXPECT_EQ(LookupSeries(*context_, {}, {})->values.size(), 4U);
  shards_[0]->chunks->tombstones().RaiseFloor(2000);  // expired
  EXPECT_TRUE(LookupSeries(*context_, {Matcher::Equal("job", "a")}, {.range = {0, 3000}})->values.empty());

  const auto ids = LookupSeriesIds(*context_, {Matcher::Equal("__name__", "up")});
  EXPECT_THAT(ids->values, ElementsAre(MakeSeriesRef(0, 0), MakeSeriesRef(1, 0)));
  EXPECT_EQ(LookupSeriesIds(*context_, {}, {.range = {2000, 3000}})->values.size(),
            LookupSeries(*context_, {}, {.range = {2000, 3000}})->values.size());
  EXPECT_THAT(LookupSeriesIds(*context_, {}, {.range = {2000, 2000}})->values, IsEmpty());
}

TEST_F(SelectTest, ExemplarsOfHeadAndStoreAreSortedAndEachComesOnce) {
  const Ordinal a = AddSeries(1, Named("a"));
  const auto chunk_of = [&](Lsn lsn, std::vector<Exemplar> exemplars) {
    Chunk chunk;
    chunk.meta.ordinal = a;
    chunk.meta.creation_lsn = lsn;
    chunk.meta.type = ChunkType::kExemplar;
    chunk.meta.min_time = exemplars.front().timestamp;
    chunk.meta.max_time = exemplars.back().timestamp;
    chunk.meta.samples = static_cast<std::uint32_t>(exemplars.size());
    chunk.data = EncodeExemplars(exemplars);
    return chunk;
  };
  const Labels x{{"trace", "x"}};
  const Labels y{{"trace", "y"}};
  ASSERT_TRUE(shards_[1]->chunks->Write({chunk_of(1, {{x, 1, 10}, {y, 2, 20}}), chunk_of(2, {{x, 1, 10}, {x, 3, 30}})}).ok());
  shards_[1]->head.Put(chunk_of(9, {{x, 2, 20}, {y, 2, 20}, {y, 4, 400}}));
  const auto all = SelectExemplars(*context_, 1, a, {});
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(*all, (std::vector<Exemplar>{{x, 1, 10}, {x, 2, 20}, {y, 2, 20}, {x, 3, 30}, {y, 4, 400}}));
  EXPECT_EQ(SelectExemplars(*context_, 1, a, {20, 400})->size(), 3U);
  EXPECT_EQ(SelectExemplars(*context_, 1, a + 1, {})->size(), 0U);
  EXPECT_EQ(SelectExemplars(*context_, 7, a, {}).status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(SelectAll({}, {}).empty());  // exemplars are no samples
  Tombstone tombstone{.lsn = 5, .range = {0, 25}, .ordinals = {}};
  tombstone.ordinals.Add(a);
  shards_[1]->chunks->tombstones().Add(tombstone);
  EXPECT_EQ(*SelectExemplars(*context_, 1, a, {}), (std::vector<Exemplar>{{x, 2, 20}, {y, 2, 20}, {x, 3, 30}, {y, 4, 400}}));

  const Ordinal in_head = AddSeries(1, Named("b"));
  const Ordinal in_store = AddSeries(1, Named("c"));
  const Ordinal without = AddSeries(1, Named("d"));
  Chunk chunk = chunk_of(3, {{x, 1, 10}});
  chunk.meta.ordinal = in_head;
  shards_[1]->head.Put(chunk);
  chunk.meta.ordinal = in_store;
  ASSERT_TRUE(shards_[1]->chunks->Write({chunk, Floats(without, 4, {10, 20})}).ok());
  std::vector<bool> may;
  const std::vector<Ordinal> asked = {a, in_head, in_store, without, without + 1};
  ASSERT_EQ(MayHaveExemplars(*context_, 1, asked, {}, nullptr, &may), Status::Ok());
  EXPECT_EQ(may, (std::vector<bool>{true, true, true, false, false}));
  EXPECT_EQ(MayHaveExemplars(*context_, 7, asked, {}, nullptr, &may).code(), StatusCode::kNotFound);
  EXPECT_EQ(MayHaveExemplars(*context_, 1, asked, {2, 1}, nullptr, &may).code(), StatusCode::kInvalidArgument);
}

TEST_F(SelectTest, AWalkVisitsTheSeriesThatAreGivenInTheirOrderThoseWithoutSamplesToo) {
  const Ordinal a = AddSeries(0, Named("a"));
  const Ordinal b = AddSeries(1, Named("b"));
  const Ordinal empty = AddSeries(1, Named("empty"));
  ASSERT_TRUE(shards_[0]->chunks->Write({Floats(a, 1, {10, 20})}).ok());
  shards_[1]->head.Put(Floats(b, 2, {30}));
  const auto at = [this](ShardId shard, Ordinal ordinal, const char* name) {
    return KnownSeries{MakeSeriesRef(shard, ordinal), Named(name)};
  };
  const std::vector<KnownSeries> series = {at(1, b, "b"), at(1, empty, "empty"), at(0, a, "a")};
  const auto walk = [&](TimeRange range) {
    std::string seen;
    const auto set = WalkSeries(context_, series, range, {});
    EXPECT_TRUE(set.ok()) << set.status().message();
    while ((*set)->Next()) {
      seen += (*set)->labels().ToString() + ((*set)->has_samples() ? ":" : "");
      while ((*set)->samples().Next() != ValueType::kNone) seen += " " + std::to_string((*set)->samples().timestamp());
      seen += "\n";
    }
    EXPECT_EQ((*set)->status(), Status::Ok());
    return seen;
  };
  const std::string name_a = Named("a").ToString();
  const std::string name_b = Named("b").ToString();
  const std::string name_empty = Named("empty").ToString();
  EXPECT_EQ(walk({}), name_b + ": 30\n" + name_empty + "\n" + name_a + ": 10 20\n");
  EXPECT_EQ(walk({15, 30}), name_b + "\n" + name_empty + "\n" + name_a + ": 20\n");
  EXPECT_EQ(walk({5, 5}), name_b + "\n" + name_empty + "\n" + name_a + "\n");
  EXPECT_EQ(WalkSeries(context_, {}, {}, {}).value()->Next(), false);
  EXPECT_EQ(WalkSeries(context_, {at(7, a, "a")}, {}, {}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(WalkSeries(context_, series, {2, 1}, {}).status().code(), StatusCode::kInvalidArgument);
  const std::atomic<bool> cancelled{true};
  const auto cut = WalkSeries(context_, series, {}, {.cancelled = &cancelled}).value();
  EXPECT_FALSE(cut->Next());
  EXPECT_EQ(cut->status().code(), StatusCode::kCancelled);
}

// A checkpoint moves chunks from the head to the store, and compaction rewrites them, while queries run: each sees all samples.
TEST_F(SelectTest, NothingIsMissedOrDoubledWhileChunksMove) {
  constexpr int kSeries = 20;
  constexpr int kRounds = 60;
  std::vector<Ordinal> ordinals;
  for (int i = 0; i < kSeries; ++i) ordinals.push_back(AddSeries(0, Named(std::to_string(100 + i))));
  std::atomic<Timestamp> promised = 0;  // samples up to here are in head or store
  std::atomic<bool> done = false;
  std::thread writer([&] {
    Shard& s = *shards_[0];
    for (int round = 0; round < kRounds; ++round) {
      const Timestamp t = round * 10;
      const auto lsn = static_cast<Lsn>(round + 1);
      for (const Ordinal o : ordinals) s.head.Put(Floats(o, lsn, {t, t + 1, t + 2}));
      promised = t + 3;
      if (round % 3 == 2) {
        const std::vector<Chunk> moved = s.head.Take();
        EXPECT_TRUE(s.chunks->Write({moved.begin(), moved.end()}).ok());
        EXPECT_TRUE(s.chunks->Finish({.applied_lsn = lsn, .epoch = 1}).ok());
        s.head.Clear();
      }
      if (round % 6 == 5) {
        CompactResult result;
        EXPECT_TRUE(s.chunks
                        ->Compact(
                            {}, lsn, [&](const ChunkMeta& m) { return s.head.Holds(m); }, &result)
                        .ok());
        EXPECT_LT(result.rows_after, result.rows_before);
      }
    }
    done = true;
  });
  int queries = 0;
  while (!done || queries < 5) {
    ++queries;
    const Timestamp end = promised;
    const AllSeen all = SelectAll({}, {0, end});
    std::vector<Timestamp> times;
    for (Timestamp t = 0; t < end; t += t % 10 == 2 ? 8 : 1) times.push_back(t);
    ASSERT_EQ(all.size(), end == 0 ? 0U : kSeries);
    for (const auto& [labels, samples] : all) ASSERT_EQ(samples, At(times)) << labels;
  }
  writer.join();
}

}  // namespace
}  // namespace chronolith

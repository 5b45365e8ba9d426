// What goes in comes out: every kind of data, live, after a crash, a checkpoint, a restart and a compaction.
#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "chunk/xor_chunk.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr std::int64_t kWindow = 2 * 60 * 60 * 1000;

Labels Up(std::string_view job) { return {{"__name__", "up"}, {"job", job}}; }

IntHistogram SomeIntHistogram() {
  IntHistogram h;
  h.reset_hint = CounterResetHint::kNo;
  h.schema = 3;
  h.zero_threshold = 1e-128;
  h.zero_count = 2;
  h.count = 2 + 3 + 5 + 4 + 1;
  h.sum = 17.25;
  h.positive_spans = {{-2, 2}, {3, 1}};
  h.positive_deltas = {3, 2, -1};
  h.negative_spans = {{0, 1}};
  h.negative_deltas = {1};
  return h;
}
FloatHistogram SomeFloatHistogram() {
  FloatHistogram h;
  h.reset_hint = CounterResetHint::kGauge;
  h.schema = -1;
  h.zero_threshold = 0.5;
  h.zero_count = 0.25;
  h.count = 10.5;
  h.sum = -3;
  h.positive_spans = {{1, 2}};
  h.positive_counts = {1.5, 2.5};
  h.negative_spans = {{-4, 1}};
  h.negative_counts = {6.25};
  return h;
}
IntHistogram SomeCustomHistogram() {
  IntHistogram h;
  h.schema = kCustomBucketsSchema;
  h.count = 6;
  h.sum = 4;
  h.positive_spans = {{0, 3}};
  h.positive_deltas = {1, 1, 1};
  h.custom_values = {0.1, 1, 10};
  return h;
}

class Lifecycle : public EveryEngine {
 protected:
  Lifecycle() { store_.Open(); }
};
INSTANTIATE_TEST_SUITE_P(Engines, Lifecycle, AllEngines(), EngineName);

TEST_P(Lifecycle, SamplesComeBackWithTheirLabelsInOrder) {
  Contents expected;
  std::vector<TimeSeries> batch;
  for (int s = 0; s < 50; ++s) {
    const Labels labels = Up("job" + std::to_string(s));
    std::vector<Sample> samples;
    for (int i = 0; i < 700; ++i) {  // several chunks and windows
      samples.push_back({kT + i * 60'000 + s, s * 1000.0 + i});
      expected[labels.ToString()][samples.back().timestamp] = Shown(samples.back().value);
    }
    batch.push_back(MakeSeries(labels, samples));
  }
  const WriteResult written = store_->Write(batch);
  ASSERT_TRUE(written.ok()) << written.status.ToString();
  EXPECT_EQ(written.accepted, 50U * 700);
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(), expected);
    EXPECT_EQ(store_.Read({Matcher::Equal("job", "job7")}, {kT + 60'000, kT + 180'000}),
              (Contents{{Up("job7").ToString(), {{kT + 60'007, Shown(7001)}, {kT + 120'007, Shown(7002)}}}}));
    EXPECT_EQ(store_.Read({Matcher::Regex("job", "job[12]")}).size(), 2U);
    EXPECT_EQ(store_.Read({Matcher::NotRegex("job", "job.*")}).size(), 0U);
    EXPECT_EQ(store_.Read({Matcher::NotEqual("job", "job0")}).size(), 49U);
    auto set = store_->Select({}, {});
    ASSERT_TRUE(set.ok());
    std::vector<Labels> order;
    while ((*set)->Next()) order.push_back((*set)->labels());
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end(), [](const Labels& a, const Labels& b) { return (a <=> b) < 0; }));
    EXPECT_EQ(order.size(), 50U);
  });
}

TEST_P(Lifecycle, RawChunksHoldTheSameSamples) {
  std::vector<Sample> samples;
  for (int i = 0; i < 1000; ++i) samples.push_back({kT + i * 15'000, i * 0.5});
  store_.Write(Up("a"), samples);
  ThroughEverything([&] {
    auto set = store_->Select({}, {kT + 15'000, kT + 900 * 15'000});
    ASSERT_TRUE(set.ok());
    ASSERT_TRUE((*set)->Next());
    std::vector<Timestamp> times;
    ChunkIterator& chunks = (*set)->chunks();
    while (chunks.Next()) {
      const RawChunk& chunk = chunks.chunk();
      EXPECT_EQ(chunk.encoding, RawChunk::Encoding::kXor);
      std::uint32_t n = 0;
      for (XorIterator it(chunk.data); it.Next(); ++n) times.push_back(it.sample().timestamp);
      EXPECT_EQ(n, chunk.samples);
      EXPECT_EQ(times.back(), chunk.max_time);
    }
    EXPECT_TRUE(chunks.status().ok());
    ASSERT_EQ(times.size(), 899U);
    EXPECT_EQ(times.front(), kT + 15'000);
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  });
}

TEST_P(Lifecycle, LabelsAndSeriesAreFound) {
  store_.Write({{"__name__", "up"}, {"job", "a"}, {"zone", "x"}}, {{kT, 1}});
  store_.Write({{"__name__", "up"}, {"job", "b"}}, {{kT + 10 * kWindow, 1}});
  store_.Write({{"__name__", "down"}, {"job", "a"}}, {{kT, 1}});
  ThroughEverything([&] {
    EXPECT_THAT(store_->LabelNames({}).value().values, ElementsAre("__name__", "job", "zone"));
    EXPECT_THAT(store_->LabelNames({Matcher::Equal("job", "b")}).value().values, ElementsAre("__name__", "job"));
    EXPECT_THAT(store_->LabelValues("job", {}).value().values, ElementsAre("a", "b"));
    EXPECT_THAT(store_->LabelValues("job", {Matcher::Equal("__name__", "down")}).value().values, ElementsAre("a"));
    EXPECT_THAT(store_->LabelValues("nothing", {}).value().values, IsEmpty());
    LookupOptions late;
    late.range = {kT + 9 * kWindow, kT + 11 * kWindow};
    EXPECT_THAT(store_->LabelValues("job", {}, late).value().values, ElementsAre("b"));
    LookupOptions limited;
    limited.limit = 1;
    const auto one = store_->LabelValues("job", {}, limited).value();
    EXPECT_THAT(one.values, ElementsAre("a"));
    EXPECT_TRUE(one.truncated);
    limited.limit = 2;
    EXPECT_FALSE(store_->LabelValues("job", {}, limited).value().truncated);
    const auto series = store_->Series({Matcher::Equal("job", "a")}).value();
    ASSERT_EQ(series.values.size(), 2U);
    EXPECT_EQ(series.values[0].Get("__name__"), "down");
    EXPECT_EQ(store_->SeriesIds({Matcher::Equal("__name__", "up")}).value().size(), 2U);
  });
}

TEST_P(Lifecycle, EveryLevelIsReachedAndReadable) {
  const auto labels = Up("levels");
  Timestamp t = kT;
  for (const AckLevel level : {AckLevel::kQueued, AckLevel::kLogged, AckLevel::kSynced}) {
    const WriteResult result = store_->Write(MakeSeries(labels, {{t, 1}}), {.level = level});
    ASSERT_TRUE(result.ok()) << result.status.ToString();
    EXPECT_EQ(store_.Read()[labels.ToString()].count(t), 1U);
    EXPECT_TRUE(store_->Wait(result.token, AckLevel::kSynced).ok());
    t += 1000;
  }
  for (std::uint32_t shard = 0; shard < 4; ++shard) {
    const Lsn queued = store_->ReachedLsn(shard, AckLevel::kQueued).value();
    EXPECT_GE(queued, 1U);  // the epoch's record
    EXPECT_EQ(store_->ReachedLsn(shard, AckLevel::kSynced).value(), queued);
  }
}

TEST_P(Lifecycle, ReferencesServeEveryAppender) {
  auto a = store_->NewAppender();
  auto b = store_->NewAppender();
  const SeriesRef ref = a->Ref(Up("shared")).value();
  EXPECT_EQ(b->Ref(Up("shared")).value(), ref);
  a->Append(ref, kT, 1);
  b->Append(ref, kT + 1, 2);
  EXPECT_THAT(store_.Read(), IsEmpty());  // nothing before Commit
  ASSERT_TRUE(b->Commit().ok());
  ASSERT_TRUE(a->Commit().ok());
  a->Append(ref, kT + 2, 3);
  a->Rollback();
  ASSERT_TRUE(a->Commit().ok());
  std::vector<SeriesRef> refs;
  const std::vector<Labels> both = {Up("shared"), Up("other")};
  ASSERT_TRUE(a->Refs(both, &refs).ok());
  EXPECT_EQ(refs[0], ref);
  EXPECT_NE(refs[1], ref);
  a.reset();
  b->Append(refs[1], kT, 9);
  ASSERT_TRUE(b->Commit({.level = AckLevel::kSynced}).ok());
  b.reset();
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(), (Contents{{Up("shared").ToString(), {{kT, Shown(1)}, {kT + 1, Shown(2)}}},
                                       {Up("other").ToString(), {{kT, Shown(9)}}}}));
    auto again = store_->NewAppender();
    EXPECT_EQ(again->Ref(Up("shared")).value(), ref) << "ids are for ever";
  });
}

TEST_P(Lifecycle, HistogramsExemplarsAndMetadataComeBack) {
  TimeSeries series;
  series.labels = Up("typed");
  series.samples = {{kT, 1}};
  series.histograms = {{kT + 1000, SomeIntHistogram()},
                       {kT + 2000, SomeFloatHistogram()},
                       {kT + 3000, SomeCustomHistogram()},
                       {kT + 500, SomeFloatHistogram()},  // late
                       {kT + 2 * kWindow, SomeIntHistogram()}};
  const std::vector<Exemplar> exemplars = {{{{"trace_id", "abc"}}, 0.5, kT + 10}, {{{"trace_id", "def"}}, 1.5, kT + 3 * kWindow}};
  series.exemplars = exemplars;
  series.metadata = {{MetricType::kHistogram, "seconds", "How long it took."}};
  const WriteResult result = store_->Write(series);
  ASSERT_TRUE(result.ok()) << result.status.ToString();
  EXPECT_EQ(result.accepted, 1U + 5 + 2 + 1);
  Points expected = {{kT, Shown(1)}};
  for (const HistogramSample& h : series.histograms) expected[h.timestamp] = Shown(h.timestamp, h.histogram);
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(), (Contents{{series.labels.ToString(), expected}}));
    const auto found = store_->Exemplars(series.labels, {});
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    EXPECT_EQ(*found, exemplars);
    EXPECT_EQ(store_->Exemplars(series.labels, {kT, kT + 11}).value().size(), 1U);
    EXPECT_EQ(store_->Exemplars(series.labels, {kT, kT + 10}).value().size(), 0U);
    EXPECT_EQ(store_->SeriesMetadata(series.labels).value(), series.metadata[0]);
  });
}

TEST_P(Lifecycle, MetadataIsReplaced) {
  TimeSeries series = MakeSeries(Up("m"), {{kT, 1}});
  series.metadata = {{MetricType::kGauge, "", "old"}};
  ASSERT_TRUE(store_->Write(series).ok());
  store_.Checkpoint();
  auto appender = store_->NewAppender();
  const SeriesRef ref = appender->Ref(series.labels).value();
  appender->SetMetadata(ref, {MetricType::kCounter, "bytes", "new"});
  ASSERT_TRUE(appender->Commit().ok());
  appender.reset();
  store_.Write(Up("without"), {{kT, 1}});
  ThroughEverything([&] {
    EXPECT_EQ(store_->SeriesMetadata(series.labels).value(), (Metadata{MetricType::kCounter, "bytes", "new"}));
    EXPECT_EQ(store_->SeriesMetadata(Up("without")).value(), std::nullopt);
    EXPECT_EQ(store_->SeriesMetadata(Up("absent")).status().code(), StatusCode::kNotFound);
  });
}

TEST_P(Lifecycle, DeleteHidesWhatWasThereAndNothingLater) {
  TimeSeries series = MakeSeries(Up("d"), {});
  for (int i = 0; i < 100; ++i) series.samples.push_back({kT + i * 1000, 1.0 * i});
  series.histograms = {{kT + 100'000, SomeIntHistogram()}, {kT + 101'000, SomeIntHistogram()}};
  series.exemplars = {{{{"t", "1"}}, 1, kT + 20'000}, {{{"t", "2"}}, 1, kT + 99'500}};
  ASSERT_TRUE(store_->Write(series).ok());
  store_.Write(Up("kept"), {{kT + 10'000, 5}});
  const WriteResult deleted = store_->Delete({Matcher::Equal("job", "d")}, {kT + 10'000, kT + 100'001});
  ASSERT_TRUE(deleted.ok()) << deleted.status.ToString();
  store_.Write(Up("d"), {{kT + 15'000, 77}});  // after the delete: stays
  Points expected;
  for (int i = 0; i < 10; ++i) expected[kT + i * 1000] = Shown(i);
  expected[kT + 15'000] = Shown(77);
  expected[kT + 101'000] = Shown(kT + 101'000, SomeIntHistogram());
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read({Matcher::Equal("job", "d")}), (Contents{{Up("d").ToString(), expected}}));
    EXPECT_EQ(store_.Read({Matcher::Equal("job", "kept")}).size(), 1U);
    EXPECT_THAT(store_->Exemplars(Up("d"), {}).value(), IsEmpty());
  });
}

TEST_P(Lifecycle, DeleteOfTheFutureHidesNothingThatIsWrittenLater) {
  TimeSeries histograms;
  histograms.labels = Up("h");
  histograms.histograms = {{kT, SomeIntHistogram()}};
  store_.Write(Up("f"), {{kT, 1}});
  ASSERT_TRUE(store_->Write(histograms).ok());
  for (const char* job : {"f", "h"}) ASSERT_TRUE(store_->Delete({Matcher::Equal("job", job)}, {kT + 10, kT + 1000}).ok());
  store_.Write(Up("f"), {{kT + 20, 2}});
  histograms.histograms[0].timestamp = kT + 20;
  ASSERT_TRUE(store_->Write(histograms).ok());
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read({Matcher::Equal("job", "f")}), (Contents{{Up("f").ToString(), {{kT, Shown(1)}, {kT + 20, Shown(2)}}}}));
    EXPECT_EQ(store_.Read({Matcher::Equal("job", "h")})[Up("h").ToString()].size(), 2U);
  });
}

TEST_P(Lifecycle, DeleteOfAllRemovesTheSeriesAtCompaction) {
  store_.Write(Up("gone"), {{kT, 1}, {kT + kWindow, 2}});
  store_.Write(Up("stays"), {{kT, 1}});
  auto appender = store_->NewAppender();
  const SeriesRef old = appender->Ref(Up("gone")).value();
  ASSERT_TRUE(store_->Delete({Matcher::Equal("job", "gone")}, {}).ok());
  store_.Checkpoint();
  const auto compacted = store_->Compact();
  ASSERT_TRUE(compacted.ok()) << compacted.status().ToString();
  EXPECT_EQ(compacted->series_removed, 1U);
  EXPECT_THAT(store_->LabelValues("job", {}).value().values, ElementsAre("stays"));
  // Appending through the old reference creates the series again.
  appender->Append(old, kT + 5, 3);
  const WriteResult result = appender->Commit();
  ASSERT_TRUE(result.ok()) << result.status.ToString();
  appender.reset();
  const Contents expected = {{Up("gone").ToString(), {{kT + 5, Shown(3)}}}, {Up("stays").ToString(), {{kT, Shown(1)}}}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), expected); });
}

// Who has told the metadata of a series keeps its reference, and tells it no more.
TEST_P(Lifecycle, ASeriesThatIsCreatedAgainThroughAReferenceHasTheMetadataOfTheRemovedOne) {
  const Metadata told{MetricType::kCounter, "bytes", "Bytes moved."};
  const Metadata newer{MetricType::kCounter, "bytes", "Bytes sent."};
  const char* const names[] = {"stored", "logged", "told", "untold", "retold"};
  std::map<std::string, SeriesRef> refs;
  auto appender = store_->NewAppender();
  for (const std::string name : names) {
    if (name == "logged") store_.Checkpoint();  // those before it have theirs in rows
    refs[name] = appender->Ref(Up(name)).value();
    appender->Append(refs[name], kT, 1);
    if (name != "untold") appender->SetMetadata(refs[name], told);
    ASSERT_TRUE(appender->Commit().ok());
  }
  for (int removal = 1; removal <= 2; ++removal) {
    SCOPED_TRACE(removal);
    ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "up")}, {}).ok());
    store_.Compact();
    for (const auto& [name, ref] : refs) EXPECT_EQ(store_->SeriesMetadata(Up(name)).status().code(), StatusCode::kNotFound);
    TimeSeries told_by_another = MakeSeries(Up("told"), {{kT, 1}});
    told_by_another.metadata = {newer};
    ASSERT_TRUE(store_->Write(told_by_another).ok());
    for (const auto& [name, ref] : refs) appender->Append(ref, kT + removal, 2);
    appender->SetMetadata(refs["retold"], newer);
    const WriteResult result = appender->Commit();
    ASSERT_TRUE(result.ok()) << result.status.ToString();
    EXPECT_EQ(result.accepted, refs.size() + 1);
  }
  appender.reset();
  ThroughEverything([&] {
    EXPECT_EQ(store_->SeriesMetadata(Up("stored")).value(), told);
    EXPECT_EQ(store_->SeriesMetadata(Up("logged")).value(), told);
    EXPECT_EQ(store_->SeriesMetadata(Up("told")).value(), newer) << "it has its own";
    EXPECT_EQ(store_->SeriesMetadata(Up("untold")).value(), std::nullopt);
    EXPECT_EQ(store_->SeriesMetadata(Up("retold")).value(), newer) << "the same write tells it";
  });
}

// Whichever read fails on the way: the next write through the reference brings it.
TEST(SeriesRemoval, MetadataThatCouldNotBeReadForTheNewSeriesComesWithTheNextWrite) {
  const Metadata told{MetricType::kGauge, "", "Told once."};
  int lacking = 0;
  for (std::uint64_t nth = 1; nth <= 6; ++nth) {
    SCOPED_TRACE("read " + std::to_string(nth));
    TestStore store("memory");
    store.options().shards = 1;
    store.Open();
    auto appender = store->NewAppender();
    const SeriesRef ref = appender->Ref(Up("gone")).value();
    appender->Append(ref, kT, 1);
    appender->SetMetadata(ref, told);
    ASSERT_TRUE(appender->Commit().ok());
    ASSERT_TRUE(store->Delete({Matcher::Equal("job", "gone")}, {}).ok());
    store.Compact();
    store.Checkpoint();
    store.memory().FailCall(EngineMethod::kRead, nth, IoError("a bad sector"));
    appender->Append(ref, kT + 1, 2);
    const WriteResult first = appender->Commit();
    store.memory().ForgetFaults();
    if (first.ok() && !store->SeriesMetadata(Up("gone")).value()) ++lacking;
    appender->Append(ref, kT + 2, 3);
    const WriteResult second = appender->Commit();
    EXPECT_TRUE(second.ok()) << second.status.ToString();
    EXPECT_EQ(store->SeriesMetadata(Up("gone")).value(), told);
    appender.reset();
  }
  EXPECT_GT(lacking, 1);
}

// Whichever read of its look for metadata another writer comes between: what that one tells is newer.
TEST(SeriesRemoval, MetadataThatIsToldMeanwhileIsNotReplaced) {
  const Metadata old{MetricType::kGauge, "", "Old."};
  const Metadata newer{MetricType::kGauge, "", "Newer."};
  int told = 0;
  for (int nth = 1; nth <= 6; ++nth) {
    SCOPED_TRACE("read " + std::to_string(nth));
    std::atomic<int> reads_left = 0;
    std::function<void()> meanwhile;
    TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string&) {
                      if (method == EngineMethod::kRead && reads_left.load() > 0 && --reads_left == 0) meanwhile();
                      return Status::Ok();
                    }});
    store.options().shards = 1;
    store.Open();
    auto appender = store->NewAppender();
    const SeriesRef ref = appender->Ref(Up("gone")).value();
    appender->Append(ref, kT, 1);
    appender->SetMetadata(ref, old);
    ASSERT_TRUE(appender->Commit().ok());
    ASSERT_TRUE(store->Delete({Matcher::Equal("job", "gone")}, {}).ok());
    store.Compact();
    store.Checkpoint();
    bool taken = false;
    meanwhile = [&] {
      // Refused where the lock that keeps it out is held at the moment.
      std::thread([&] {
        TimeSeries series = MakeSeries(Up("gone"), {});
        series.metadata = {newer};
        taken = store->Write(series, {.level = AckLevel::kQueued, .deadline = std::chrono::steady_clock::now()}).refused.empty();
      }).join();
    };
    reads_left = nth;
    appender->Append(ref, kT + 1, 2);
    ASSERT_TRUE(appender->Commit().ok());
    reads_left = 0;
    told += taken ? 1 : 0;
    EXPECT_EQ(store->SeriesMetadata(Up("gone")).value(), taken ? newer : old);
    appender.reset();
  }
  EXPECT_GT(told, 1);
}

// Whichever read of a compaction fails: a series is either there still, or removed and created again by the next append.
TEST(SeriesRemoval, AReadThatFailsOnItsWayLeavesCachedReferencesUsable) {
  int failed = 0;
  bool ok = false;
  for (std::uint64_t nth = 1; !ok; ++nth) {
    SCOPED_TRACE("read " + std::to_string(nth));
    ASSERT_LT(nth, 500U);
    TestStore store("memory");
    store.options().window_ms = kWindow;
    store.options().shards = 1;
    store.Open();
    auto appender = store->NewAppender();
    const SeriesRef ref = appender->Ref(Up("gone")).value();
    store.Write(Up("gone"), {{kT, 1}});
    store.Write(Up("stays"), {{kT + 5 * kWindow, 1}});
    store.Checkpoint();  // the silent one leaves the memory
    ASSERT_TRUE(store->Delete({Matcher::Equal("job", "gone")}, {}).ok());
    store.Checkpoint();
    store.memory().FailCall(EngineMethod::kRead, nth, IoError("a bad sector"));
    ok = store->Compact().ok();
    if (ok) continue;
    ++failed;
    appender->Append(ref, kT + 5 * kWindow, 2);
    const WriteResult result = appender->Commit();
    EXPECT_TRUE(result.ok()) << result.status.ToString();
    EXPECT_EQ(store.Read({Matcher::Equal("job", "gone")}), (Contents{{Up("gone").ToString(), {{kT + 5 * kWindow, Shown(2)}}}}));
    appender.reset();
  }
  EXPECT_GT(failed, 2);
}

TEST_P(Lifecycle, EveryValueIsKeptBitForBit) {
  const std::uint64_t patterns[] = {kStaleNaNBits,
                                    0x7ff8000000000001ULL,
                                    0xfff8000000000001ULL,
                                    0x7ff0000000000000ULL,
                                    0xfff0000000000000ULL,
                                    0x8000000000000000ULL,
                                    1ULL,
                                    0x7fefffffffffffffULL};
  std::vector<Sample> samples;
  Points expected;
  for (std::size_t i = 0; i < std::size(patterns); ++i) {
    const auto t = static_cast<Timestamp>(kT + i);
    samples.push_back({t, std::bit_cast<double>(patterns[i])});
    expected[t] = Shown(samples.back().value);
  }
  store_.Write(Up("bits"), samples);
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{Up("bits").ToString(), expected}})); });
}

TEST_P(Lifecycle, LateSamplesAndDuplicatesFollowTheLastWriter) {
  std::vector<Sample> samples;
  Points expected;
  for (int i = 0; i < 500; ++i) {
    samples.push_back({kT + i * 10, 1.0 * i});
    expected[samples.back().timestamp] = Shown(samples.back().value);
  }
  store_.Write(Up("late"), samples);
  store_.Checkpoint();
  const std::vector<Sample> late = {{kT + 105, 1}, {kT + 100, 2}, {kT + 100, 3}, {kT - kWindow, 4}, {kT + 4990, 5}, {kT + 105, 6}};
  for (const Sample& s : late) {
    store_.Write(Up("late"), {s});
    expected[s.timestamp] = Shown(s.value);
  }
  store_.Write(Up("late"), {{kT + 7, 1}, {kT + 7, 2}, {kT + 6000, 3}, {kT + 6000, 4}});
  expected[kT + 7] = Shown(2);
  expected[kT + 6000] = Shown(4);
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{Up("late").ToString(), expected}})); });
}

TEST_P(Lifecycle, LaterTypeWinsAtOneTimestamp) {
  TimeSeries histogram;
  histogram.labels = Up("types");
  histogram.histograms = {{kT, SomeIntHistogram()}, {kT + 1, SomeIntHistogram()}};
  store_.Write(Up("types"), {{kT, 1}, {kT + 10, 1}});
  ASSERT_TRUE(store_->Write(histogram).ok());
  store_.Write(Up("types"), {{kT + 1, 2}});
  const Points expected = {{kT, Shown(kT, SomeIntHistogram())}, {kT + 1, Shown(2)}, {kT + 10, Shown(1)}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{Up("types").ToString(), expected}})); });
}

TEST_P(Lifecycle, RejectKeepsTheFirstAndSaysSo) {
  store_.options().duplicate_policy = DuplicatePolicy::kReject;
  store_.Restart();
  const Labels labels = Up("reject");
  store_.Write(labels, {{kT, 1}, {kT + 1000, 2}});
  const auto refused_at = [&](Timestamp t, double value) {
    const WriteResult result = store_->Write(MakeSeries(labels, {{t - 1, 5}, {t, value}}));
    EXPECT_EQ(result.status.code(), StatusCode::kAlreadyExists) << result.status.ToString();
    EXPECT_THAT(result.status.message(), testing::HasSubstr(std::to_string(t)));
    ASSERT_EQ(result.refused.size(), 1U);
    EXPECT_EQ(result.refused[0].item, 1U);
    EXPECT_EQ(result.accepted, 1U);
  };
  refused_at(kT, 9);
  store_.Checkpoint();
  refused_at(kT + 1000, 9);
  store_.Restart();
  refused_at(kT, 9);
  store_.Write(labels, {{kT, 1}});  // equal: accepted in silence
  const WriteResult both = store_->Write(MakeSeries(labels, {{kT + 2000, 1}, {kT + 2000, 2}}));
  EXPECT_EQ(both.accepted, 1U);
  EXPECT_EQ(both.refused.size(), 1U);
  const Points expected = {{kT - 1, Shown(5)}, {kT, Shown(1)}, {kT + 999, Shown(5)}, {kT + 1000, Shown(2)}, {kT + 2000, Shown(1)}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{labels.ToString(), expected}})); });
}

TEST_P(Lifecycle, RejectLooksThroughDeletes) {
  store_.options().duplicate_policy = DuplicatePolicy::kReject;
  store_.Restart();
  store_.Write(Up("again"), {{kT, 1}, {kT + 1000, 1}});
  store_.Checkpoint();
  store_.Write(Up("again"), {{kT + 2000, 1}});
  ASSERT_TRUE(store_->Delete({Matcher::Equal("job", "again")}, {}).ok());
  store_.Write(Up("again"), {{kT, 2}, {kT + 2000, 2}});  // what was there is deleted: no duplicate
  EXPECT_EQ(store_->Write(MakeSeries(Up("again"), {{kT + 2000, 3}})).status.code(), StatusCode::kAlreadyExists);
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(), (Contents{{Up("again").ToString(), {{kT, Shown(2)}, {kT + 2000, Shown(2)}}}}));
  });
}

TEST_P(Lifecycle, RejectHoldsForHistogramsToo) {
  store_.options().duplicate_policy = DuplicatePolicy::kReject;
  store_.Restart();
  TimeSeries series = MakeSeries(Up("h"), {{kT, 1}});
  series.histograms = {
      {kT + 1, SomeIntHistogram()}, {kT + 1, SomeFloatHistogram()}, {kT + 1, SomeIntHistogram()}, {kT, SomeIntHistogram()}};
  WriteResult result = store_->Write(series);
  EXPECT_EQ(result.status.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(result.accepted, 3U);  // the third equals the first
  ASSERT_EQ(result.refused.size(), 2U);
  EXPECT_EQ(result.refused[0].item, 1U);
  EXPECT_EQ(result.refused[1].item, 3U);
  store_.Checkpoint();
  result = store_->Write(MakeSeries(Up("h"), {{kT + 1, 1}, {kT + 2, 1}}));
  EXPECT_EQ(result.status.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(result.accepted, 1U);
  const Points expected = {{kT, Shown(1)}, {kT + 1, Shown(kT + 1, SomeIntHistogram())}, {kT + 2, Shown(1)}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{Up("h").ToString(), expected}})); });
}

TEST_P(Lifecycle, AllOfTimeIsValid) {
  const std::vector<Timestamp> times = {kMinTimestamp, kMinTimestamp + 1, -3 * kWindow, -kWindow - 1, -kWindow, -1, 0, 1,
                                        kWindow,       kMaxTimestamp - 1};
  std::vector<Sample> samples;
  Points expected;
  for (const Timestamp t : times) {
    samples.push_back({t, static_cast<double>(t)});
    expected[t] = Shown(samples.back().value);
  }
  store_.Write(Up("ascending"), samples);
  std::reverse(samples.begin(), samples.end());
  store_.Write(Up("descending"), samples);
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(), (Contents{{Up("ascending").ToString(), expected}, {Up("descending").ToString(), expected}}));
    EXPECT_EQ(store_.Read({}, {-kWindow, 1})[Up("ascending").ToString()].size(), 3U);
    EXPECT_EQ(store_.Read({}, {kMinTimestamp, -kWindow})[Up("descending").ToString()].size(), 4U);
  });
}

TEST_P(Lifecycle, OptionsOfCreationStay) {
  store_.Write(Up("a"), {{kT, 1}});
  store_.Close();
  store_.options().shards = 7;
  store_.options().window_ms = 60'000;
  store_.Open();
  EXPECT_EQ(store_->Stats().shards.size(), 4U);
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(Lifecycle, StatsCountWhatHappened) {
  store_.Write(Up("a"), {{kT, 1}, {kT + 1, 2}});
  store_.Write(Up("b"), {{kT, 1}});
  store_.Checkpoint();
  StorageStats stats = store_->Stats();
  std::uint64_t samples = 0, series = 0, created = 0, stored = 0;
  for (const ShardStats& s : stats.shards) {
    samples += s.samples_appended;
    series += s.series_total;
    created += s.series_created;
    stored += s.chunk_samples;
    EXPECT_LE(s.applied_lsn, s.synced_lsn);
    EXPECT_LE(s.synced_lsn, s.logged_lsn);
    EXPECT_LE(s.logged_lsn, s.last_lsn);
    EXPECT_LE(s.trimmed_to, s.applied_lsn);
  }
  EXPECT_EQ(samples, 3U);
  EXPECT_EQ(series, 2U);
  EXPECT_EQ(created, 2U);
  EXPECT_EQ(stored, 3U);
  EXPECT_EQ(stats.checkpoints, 1U);
  EXPECT_EQ(stats.engine, GetParam());
  EXPECT_FALSE(stats.log_failed);
  store_.Restart();
  stats = store_->Stats();
  series = 0;
  for (const ShardStats& s : stats.shards) series += s.series_total;
  EXPECT_EQ(series, 2U);
}

}  // namespace
}  // namespace chronolith

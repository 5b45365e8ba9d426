// Bad input of every kind: a status with the right code that names the culprit; whatever is valid beside it is kept.
#include <fcntl.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <limits>
#include <tuple>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/store_manifest.h"
#include "tests/storage/store_fixture.h"
#include "tests/support/child_check.h"
#include "tests/support/skip.h"

namespace chronolith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr const char* kInvalidUtf8 = "a\xff\xfe";

class BadInput : public EveryEngine {
 protected:
  BadInput() { store_.Open(); }
};
INSTANTIATE_TEST_SUITE_P(Engines, BadInput, AllEngines(), EngineName);

const Labels kGood = {{"__name__", "good"}};

// ---- What a write carries ----

TEST_P(BadInput, LabelSetsAreRefusedByName) {
  Labels many;
  std::string encoded;
  for (int i = 10; i < 41; ++i) Labels::AppendEncoded("l" + std::to_string(i), "v", &encoded);
  std::string unsorted;
  Labels::AppendEncoded("b", "1", &unsorted);
  Labels::AppendEncoded("a", "1", &unsorted);
  const struct {
    Labels labels;
    std::string says;
  } kCases[] = {
      {{}, "at least one label"},
      {{{"", "v"}}, "empty name"},
      {{{"a", ""}}, "value of label \"a\" is empty"},
      {{{"a", "1"}, {"a", "2"}}, "\"a\" is there twice"},
      {{{"a", "1"}, {"a", "1"}}, "\"a\" is there twice"},
      {Labels::FromEncoded(unsorted), "not sorted"},
      {Labels::FromEncoded("\x05xy"), "malformed"},
      {Labels::FromEncoded(std::string(11, '\xff')), "malformed"},
      {{{kInvalidUtf8, "v"}}, "not valid UTF-8"},
      {{{"zone", kInvalidUtf8}}, "\"zone\""},
      {{{"surrogate", "\xed\xa0\x80"}}, "\"surrogate\""},
      {{{"overlong", "\xc0\xaf"}}, "\"overlong\""},
      {{{std::string(1025, 'n'), "v"}}, "max_label_name_bytes (1024)"},
      {{{"long", std::string(2049, 'v')}}, "max_label_value_bytes (2048)"},
      {Labels::FromEncoded(encoded), "max_labels_per_series (30)"},
  };
  auto appender = store_->NewAppender();
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.says);
    const std::vector<TimeSeries> batch = {MakeSeries(kGood, {{kT, 1}}), MakeSeries(c.labels, {{kT, 1}, {kT + 1, 2}}),
                                           MakeSeries({{"b", "c"}}, {{kT, 2}})};
    const WriteResult result = store_->Write(batch);
    EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(result.status.message(), HasSubstr(c.says));
    ASSERT_EQ(result.refused.size(), 1U);
    EXPECT_EQ(result.refused[0].series, 1U);
    EXPECT_EQ(result.refused[0].what, Refusal::What::kSeries);
    EXPECT_THAT(result.refused[0].reason.message(), HasSubstr(c.says));
    EXPECT_EQ(result.accepted, 2U);
    const auto ref = appender->Ref(c.labels);
    EXPECT_EQ(ref.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(ref.status().message(), HasSubstr(c.says));
  }
  appender.reset();
  EXPECT_EQ(store_.Read().size(), 2U);
  store_.Kill();
  EXPECT_EQ(store_.Read().size(), 2U);
}

TEST_P(BadInput, LimitsAreInclusive) {
  std::string encoded;
  for (int i = 10; i < 40; ++i) Labels::AppendEncoded("l" + std::to_string(i), "v", &encoded);
  const std::vector<TimeSeries> batch = {MakeSeries(Labels::FromEncoded(encoded), {{kT, 1}}),
                                         MakeSeries({{std::string(1024, 'n'), std::string(2048, 'v')}}, {{kT, 1}}),
                                         MakeSeries({{"ünïcode", "\xf0\x9f\x98\x80"}}, {{kT, 1}})};
  const WriteResult result = store_->Write(batch);
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  ThroughEverything([&] { EXPECT_EQ(store_.Read().size(), 3U); });
}

TEST_P(BadInput, ExactlyTheRefusedItemsAreListed) {
  IntHistogram good;
  good.count = 0;
  IntHistogram bad;
  bad.schema = 99;
  FloatHistogram negative;
  negative.count = -1;
  TimeSeries first = MakeSeries(kGood, {{kT, 1}, {kMaxTimestamp, 2}, {kT + 1, 3}, {kMaxTimestamp, 4}});
  first.histograms = {{kT + 10, bad}, {kT + 20, good}, {kMaxTimestamp, good}};
  first.exemplars = {
      {{{"", "v"}}, 1, kT}, {{{"trace", "1"}}, 1, kT}, {{{"trace", std::string(2000, 'x')}}, 1, kT}, {{}, 1, kMaxTimestamp}};
  first.metadata = {{MetricType::kGauge, "", std::string(20'000, 'h')}};
  TimeSeries second = MakeSeries({{"b", "c"}}, {{kMaxTimestamp, 1}, {kT, 2}});
  second.histograms = {{kT + 1, negative}};
  second.metadata = {{MetricType::kGauge, "", "fine"}};
  const std::vector<TimeSeries> batch = {first, MakeSeries({{"", ""}}, {{kT, 1}}), second};
  const WriteResult result = store_->Write(batch);
  EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument);
  std::vector<std::tuple<std::size_t, Refusal::What, std::size_t>> listed;
  for (const Refusal& r : result.refused) {
    listed.emplace_back(r.series, r.what, r.item);
    EXPECT_EQ(r.reason.code(), StatusCode::kInvalidArgument) << r.reason.ToString();
  }
  std::sort(listed.begin(), listed.end());
  using What = Refusal::What;
  EXPECT_THAT(
      listed,
      ElementsAre(std::tuple(0U, What::kSample, 1U), std::tuple(0U, What::kSample, 3U), std::tuple(0U, What::kHistogram, 0U),
                  std::tuple(0U, What::kHistogram, 2U), std::tuple(0U, What::kExemplar, 0U), std::tuple(0U, What::kExemplar, 2U),
                  std::tuple(0U, What::kExemplar, 3U), std::tuple(0U, What::kMetadata, 0U), std::tuple(1U, What::kSeries, 0U),
                  std::tuple(2U, What::kSample, 0U), std::tuple(2U, What::kHistogram, 0U)));
  EXPECT_EQ(result.accepted, 2U + 1 + 1 + 1 + 1);
  ThroughEverything([&] {
    EXPECT_EQ(store_.Read(),
              (Contents{{Labels(kGood).ToString(), {{kT, Shown(1)}, {kT + 1, Shown(3)}, {kT + 20, Shown(kT + 20, good)}}},
                        {Labels{{"b", "c"}}.ToString(), {{kT, Shown(2)}}}}));
    EXPECT_EQ(store_->Exemplars(kGood, {}).value().size(), 1U);
    EXPECT_EQ(store_->SeriesMetadata({{"b", "c"}}).value()->help, "fine");
  });
}

TEST_P(BadInput, HistogramsAreRefusedByWhatIsWrong) {
  const auto change = [](const std::function<void(IntHistogram*)>& edit) {
    IntHistogram h;
    h.count = 3;
    h.positive_spans = {{0, 2}};
    h.positive_deltas = {1, 1};
    edit(&h);
    return Histogram(h);
  };
  const struct {
    Histogram histogram;
    const char* says;
  } kCases[] = {
      {change([](IntHistogram* h) { h->schema = 9; }), "schema 9"},
      {change([](IntHistogram* h) { h->schema = -5; }), "schema -5"},
      {change([](IntHistogram* h) { h->count = 4; }), "count is 4"},
      {change([](IntHistogram* h) { h->positive_spans[0].length = 3; }), "describe 3"},
      {change([](IntHistogram* h) {
         h->positive_deltas = {1, -2};
       }),
       "negative"},
      {change([](IntHistogram* h) { h->custom_values = {1}; }), "custom_values"},
      {change([](IntHistogram* h) { h->zero_threshold = -1; }), "zero_threshold"},
      {change([](IntHistogram* h) {
         h->positive_spans = {{0, 1}, {-1, 1}};
       }),
       "negative offset"},
      {change([](IntHistogram* h) {
         h->schema = kCustomBucketsSchema;
         h->custom_values = {2, 1};
       }),
       "custom_values[1]"},
      {change([](IntHistogram* h) { h->reset_hint = static_cast<CounterResetHint>(7); }), "hint 7"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.says);
    TimeSeries series = MakeSeries(kGood, {{kT, 1}});
    series.histograms = {{kT + 1, c.histogram}};
    const WriteResult result = store_->Write(series);
    EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(result.status.message(), HasSubstr(c.says));
    EXPECT_EQ(result.accepted, 1U);
  }
  EXPECT_EQ(store_.Read(), (Contents{{Labels(kGood).ToString(), {{kT, Shown(1)}}}}));
}

TEST_P(BadInput, NothingAtAllIsFine) {
  EXPECT_TRUE(store_->Write(std::span<const TimeSeries>{}).ok());
  const WriteResult result = store_->Write(MakeSeries(kGood, {}));
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  EXPECT_EQ(result.accepted, 0U);
  auto appender = store_->NewAppender();
  EXPECT_TRUE(appender->Commit().ok());
  std::vector<SeriesRef> refs(3);
  EXPECT_TRUE(appender->Refs({}, &refs).ok());
  EXPECT_THAT(refs, IsEmpty());
  appender.reset();
  EXPECT_TRUE(store_->Wait({}, AckLevel::kSynced).ok());
  ThroughEverything([&] { EXPECT_THAT(store_.Read(), IsEmpty()); });
}

TEST_P(BadInput, UnknownReferencesAreRefusedItemByItem) {
  auto appender = store_->NewAppender();
  const SeriesRef good = appender->Ref(kGood).value();
  for (const std::uint64_t id : std::initializer_list<std::uint64_t>{0, 1, ~0ULL, good.id + 1, good.id + 1000, (7ULL << 32),
                                                                     (31ULL << 32), (32ULL << 32), (1ULL << 32) | 0xffffffffU}) {
    if (id == good.id) continue;
    SCOPED_TRACE(id);
    appender->Append(good, kT, 1);
    appender->Append({id}, kT, 2);
    appender->AppendHistogram({id}, kT, IntHistogram{});
    appender->AppendExemplar({id}, {});
    appender->SetMetadata({id}, {});
    appender->Append(good, kT + 1, 2);
    const WriteResult result = appender->Commit();
    EXPECT_EQ(result.status.code(), StatusCode::kNotFound);
    EXPECT_THAT(result.status.message(), HasSubstr("unknown series reference"));
    EXPECT_EQ(result.accepted, 2U);
    std::vector<std::size_t> calls;
    for (const Refusal& r : result.refused) calls.push_back(r.series);
    EXPECT_THAT(calls, testing::UnorderedElementsAre(1U, 2U, 3U, 4U));
  }
  appender.reset();
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(BadInput, SeriesBeyondTheLimitAreRefused) {
  store_.options().max_series = 3;
  store_.Restart();
  const auto series = [](const char* name) { return MakeSeries({{"n", name}}, {{kT, 1}}); };
  const std::vector<TimeSeries> batch = {series("a"), series("b"), series("a"), series("c"), series("d"), series("a"), series("e")};
  const WriteResult result = store_->Write(batch);
  EXPECT_EQ(result.status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(result.status.message(), HasSubstr("(max_series)"));
  EXPECT_THAT(result.status.message(), HasSubstr("3"));
  EXPECT_EQ(result.refused.size(), 2U);
  EXPECT_EQ(result.accepted, 5U);
  EXPECT_EQ(store_.Read().size(), 3U);
  store_.Restart();
  EXPECT_TRUE(store_->Write(batch[0]).ok());
  EXPECT_EQ(store_->Write({{series("z")}}).status.code(), StatusCode::kResourceExhausted);
}

TEST_P(BadInput, ALimitThatIsReachedWithinOneShardKeepsKnownSeries) {
  store_.Close();
  store_.options().shards = 1;
  std::filesystem::remove_all(store_.path());
  TestStore one(GetParam());
  one.options().shards = 1;
  one.options().max_series = 1;
  one.Open();
  const auto series = [](const char* name) { return MakeSeries({{"n", name}}, {{kT, 1}}); };
  const std::vector<TimeSeries> batch = {series("a"), series("b"), series("a")};
  const WriteResult result = one->Write(batch);
  EXPECT_EQ(result.accepted, 2U);
  ASSERT_EQ(result.refused.size(), 1U);
  EXPECT_EQ(result.refused[0].series, 1U);
  store_.options().shards = 4;
}

TEST_P(BadInput, SamplesBelowTheRetentionFloorAreRefused) {
  const auto clock = std::make_shared<FakeClock>(kT);
  store_.options().clock = clock;
  store_.options().retention_ms = 24 * 3'600'000;
  store_.Restart();
  store_.Write(kGood, {{kT, 1}});
  store_.Checkpoint();  // raises the floor
  const Timestamp floor = kT - 24 * 3'600'000;
  TimeSeries series = MakeSeries(kGood, {{floor - 1, 1}, {floor, 2}, {0, 3}});
  series.histograms = {{floor - 1, IntHistogram{}}};
  series.exemplars = {{{}, 1, floor - 1}};
  const WriteResult result = store_->Write(series);
  EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(result.status.message(), HasSubstr("retention floor " + std::to_string(floor)));
  EXPECT_EQ(result.refused.size(), 4U);
  EXPECT_EQ(result.accepted, 1U);
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), (Contents{{Labels(kGood).ToString(), {{floor, Shown(2)}, {kT, Shown(1)}}}})); });
}

// ---- What a question carries ----

TEST_P(BadInput, MatchersAndRangesAreRefused) {
  store_.Write(kGood, {{kT, 1}});
  const struct {
    std::vector<Matcher> matchers;
    TimeRange range;
    const char* says;
  } kCases[] = {
      {{Matcher::Regex("job", "a(b")}, {}, "job=~\"a(b\""},
      {{Matcher::NotRegex("zone", "[")}, {}, "zone!~\"[\""},
      {{Matcher::Equal("__name__", "good"), Matcher::Regex("x", "*")}, {}, "x=~\"*\""},
      {{}, {10, 9}, "range"},
      {{Matcher::Equal("__name__", "good")}, {kMaxTimestamp, kMinTimestamp}, "range"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.says);
    LookupOptions lookup;
    lookup.range = c.range;
    const Status statuses[] = {
        store_->Select(c.matchers, c.range).status(), store_->Series(c.matchers, lookup).status(),
        store_->LabelNames(c.matchers, lookup).status(), store_->LabelValues("job", c.matchers, lookup).status(),
        store_->Delete(c.matchers.empty() ? std::vector<Matcher>{Matcher::Equal("__name__", "good")} : c.matchers, c.range).status};
    for (const Status& status : statuses) {
      EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.ToString();
      EXPECT_THAT(status.message(), HasSubstr(c.says));
    }
  }
  EXPECT_EQ(store_->Exemplars(kGood, {2, 1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(store_.Read({}, {5, 5}), IsEmpty());
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(BadInput, DeleteOfEverythingIsRefused) {
  store_.Write(kGood, {{kT, 1}});
  for (const std::vector<Matcher>& matchers :
       {std::vector<Matcher>{}, {Matcher::Equal("job", "")}, {Matcher::Regex("job", ".*")}, {Matcher::NotEqual("job", "x")}}) {
    const WriteResult result = store_->Delete(matchers, {});
    EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(result.status.message(), HasSubstr("empty string"));
  }
  EXPECT_TRUE(store_->Delete({Matcher::Equal("nothing", "matches")}, {}).ok());
  EXPECT_EQ(store_.Read().size(), 1U);
}

TEST_P(BadInput, LimitsAndCancellationOfSelect) {
  for (int i = 0; i < 10; ++i) store_.Write({{"n", std::to_string(i)}}, {{kT, 1}});
  SelectOptions few;
  few.max_series = 9;
  const auto many = store_->Select({}, {}, few);
  EXPECT_EQ(many.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(many.status().message(), HasSubstr("9"));
  few.max_series = 10;
  EXPECT_TRUE(store_->Select({}, {}, few).ok());

  SelectOptions late;
  late.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  const auto ends_with = [](Result<std::unique_ptr<SeriesSet>> set) {
    if (!set.ok()) return set.status().code();
    while ((*set)->Next()) {
    }
    return (*set)->status().code();
  };
  EXPECT_EQ(ends_with(store_->Select({}, {}, late)), StatusCode::kDeadlineExceeded);
  std::atomic<bool> cancelled{true};
  SelectOptions stopped;
  stopped.cancelled = &cancelled;
  EXPECT_EQ(ends_with(store_->Select({}, {}, stopped)), StatusCode::kCancelled);
}

TEST_P(BadInput, ShardsThatAreNotThere) {
  const auto lsn = store_->ReachedLsn(4, AckLevel::kLogged);
  EXPECT_EQ(lsn.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(lsn.status().message(), HasSubstr("shard 4"));
}

// ---- What is opened ----

TEST_P(BadInput, OptionsAreRefusedByName) {
  const struct {
    std::function<void(Options*)> edit;
    const char* says;
    StatusCode code = StatusCode::kInvalidArgument;
  } kCases[] = {
      {[](Options* o) { o->shards = 0; }, "Options::shards"},
      {[](Options* o) { o->shards = 32; }, "Options::shards"},
      {[](Options* o) { o->window_ms = 999; }, "Options::window_ms"},
      {[](Options* o) { o->window_ms = -1; }, "Options::window_ms"},
      {[](Options* o) { o->retention_ms = -1; }, "Options::retention_ms"},
      {[](Options* o) { o->sync_interval_ms = -1; }, "Options::sync_interval_ms"},
      {[](Options* o) { o->commit_interval_ms = -1; }, "Options::commit_interval_ms"},
      {[](Options* o) { o->backpressure_wait_ms = -1; }, "Options::backpressure_wait_ms"},
      {[](Options* o) { o->checkpoint_interval_ms = -1; }, "Options::checkpoint_interval_ms"},
      {[](Options* o) { o->window_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::window_ms"},
      {[](Options* o) { o->retention_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::retention_ms"},
      {[](Options* o) { o->sync_interval_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::sync_interval_ms"},
      {[](Options* o) { o->commit_interval_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::commit_interval_ms"},
      {[](Options* o) { o->backpressure_wait_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::backpressure_wait_ms"},
      {[](Options* o) { o->checkpoint_interval_ms = std::numeric_limits<std::int64_t>::max(); }, "Options::checkpoint_interval_ms"},
      {[](Options* o) { o->ring_bytes = 100'000; }, "Options::ring_bytes"},
      {[](Options* o) { o->ring_bytes = 32 << 10; }, "Options::ring_bytes"},
      {[](Options* o) { o->ring_bytes = 128 << 20; }, "Options::ring_bytes"},
      {[](Options* o) { o->checkpoint_bytes = 1; }, "Options::checkpoint_bytes"},
      {[](Options* o) { o->checkpoint_bytes = (1ULL << 30) + 1; }, "Options::checkpoint_bytes"},
      {[](Options* o) { o->max_samples_per_chunk = 15; }, "Options::max_samples_per_chunk"},
      {[](Options* o) { o->max_samples_per_chunk = 1001; }, "Options::max_samples_per_chunk"},
      {[](Options* o) { o->max_labels_per_series = 0; }, "Options::max_labels_per_series"},
      {[](Options* o) { o->background_threads = -1; }, "Options::background_threads"},
      {[](Options* o) { o->memory_limit_bytes = 1; }, "Options::memory_limit_bytes"},
      {[](Options* o) { o->engine = ""; }, "Options::engine"},
      {[](Options* o) { o->engine = "granite"; }, "granite", StatusCode::kNotFound},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.says);
    Options options = store_.options();
    c.edit(&options);
    const std::string path = store_.directory() / "refused";
    const auto opened = Storage::Open(options, path);
    EXPECT_EQ(opened.status().code(), c.code) << opened.status().ToString();
    EXPECT_THAT(opened.status().message(), HasSubstr(c.says));
    EXPECT_FALSE(std::filesystem::exists(path)) << "a refused option must leave nothing behind";
  }
  EXPECT_EQ(Storage::Open(store_.options(), "").status().code(), StatusCode::kInvalidArgument);
}

TEST_P(BadInput, AnotherEngineIsRefusedForAnExistingStore) {
  store_.Close();
  Options options = store_.options();
  options.engines = nullptr;
  options.engine = GetParam() == "memory" ? "granite" : "memory";
  const auto opened = Storage::Open(options, store_.path());
  EXPECT_EQ(opened.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(opened.status().message(), HasSubstr(GetParam()));
  EXPECT_THAT(opened.status().message(), HasSubstr(options.engine));
}

TEST_P(BadInput, OnlyADatabaseIsOpened) {
  store_.Close();
  namespace fs = std::filesystem;
  const auto put = [](const std::string& file, const std::string& bytes) {
    fs::create_directories(fs::path(file).parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  };
  const auto foreign = store_.directory() / "foreign";
  put(foreign + "/holiday.jpg", "x");
  const auto filled = store_.directory() / "filled";
  put(filled + "/data/CURRENT", "x");
  const auto file = store_.directory() / "file";
  put(file, "x");
  const auto magic = store_.directory() / "magic";
  put(magic + "/STORE", "something else\n");
  const auto cut = store_.directory() / "cut";
  put(cut + "/STORE", std::string(kStoreMagic) + "\1");
  std::ifstream in(store_.path() + "/STORE", std::ios::binary);
  std::string manifest{std::istreambuf_iterator<char>(in), {}};
  const auto flipped = store_.directory() / "flipped";
  std::string damaged = manifest;
  damaged[kStoreMagic.size() + 5] ^= 1;
  put(flipped + "/STORE", damaged);
  const auto newer = store_.directory() / "newer";
  std::string next = manifest.substr(kStoreMagic.size(), manifest.size() - kStoreMagic.size() - 4);
  next[0] = 9;
  PutFixed32(&next, Crc32c(next));
  put(newer + "/STORE", std::string(kStoreMagic) + next);
  const struct {
    std::string path;
    StatusCode code;
    const char* says;
  } kCases[] = {
      {foreign, StatusCode::kFailedPrecondition, "holiday.jpg"},
      {filled, StatusCode::kFailedPrecondition, "data"},
      {file, StatusCode::kFailedPrecondition, "is a file"},
      {magic, StatusCode::kFailedPrecondition, "no database"},
      {cut, StatusCode::kDataLoss, "cut off"},
      {flipped, StatusCode::kDataLoss, "checksum"},
      {newer, StatusCode::kFailedPrecondition, "version 9"},
      {file + "/below", StatusCode::kIoError, "below"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.path);
    const auto opened = Storage::Open(store_.options(), c.path);
    EXPECT_EQ(opened.status().code(), c.code) << opened.status().ToString();
    EXPECT_THAT(opened.status().message(), HasSubstr(c.says));
    EXPECT_THAT(opened.status().message(), HasSubstr(c.path));
  }
  EXPECT_TRUE(fs::exists(foreign + "/holiday.jpg"));
  EXPECT_FALSE(fs::exists(foreign + "/STORE"));
}

TEST_P(BadInput, NothingThereAndNothingToCreate) {
  const std::string path = store_.directory() / "absent";
  Options options = store_.options();
  options.create_if_missing = false;
  const auto absent = Storage::Open(options, path);
  EXPECT_EQ(absent.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(absent.status().message(), HasSubstr(path));
  options.create_if_missing = true;
  options.read_only = true;
  EXPECT_EQ(Storage::Open(options, path).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path));
  store_.Close();
  options = store_.options();
  options.error_if_exists = true;
  const auto exists = Storage::Open(options, store_.path());
  EXPECT_EQ(exists.status().code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(exists.status().message(), HasSubstr("error_if_exists"));
}

TEST_P(BadInput, ASecondWriterIsRefusedAndHarmsNothing) {
  store_.Write(kGood, {{kT, 1}});
  const auto second = Storage::Open(store_.options(), store_.path());
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition) << second.status().ToString();
  EXPECT_THAT(second.status().message(), HasSubstr(store_.path()));
  store_.Write(kGood, {{kT + 1, 2}});
  store_.Restart();
  EXPECT_EQ(store_.Read()[Labels(kGood).ToString()].size(), 2U);
}

TEST_P(BadInput, ReadOnlyRefusesEveryChange) {
  store_.Write(kGood, {{kT, 1}});
  store_.Close();
  store_.options().read_only = true;
  store_.Open();
  auto appender = store_->NewAppender();
  std::vector<SeriesRef> refs;
  const std::vector<Labels> labels = {kGood};
  const Status statuses[] = {store_->Write(MakeSeries(kGood, {{kT + 1, 1}})).status,
                             store_->Delete({Matcher::Equal("__name__", "good")}, {}).status,
                             appender->Ref(kGood).status(),
                             appender->Refs(labels, &refs).status,
                             appender->Commit().status,
                             store_->Checkpoint(),
                             store_->Compact().status()};
  for (const Status& status : statuses) {
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("read-only"));
  }
  appender.reset();
  EXPECT_TRUE(store_->Flush().ok());
  EXPECT_EQ(store_.Read(), (Contents{{Labels(kGood).ToString(), {{kT, Shown(1)}}}}));
}

// ---- The operating system refuses ----

// Runs `body` in a child process; 0 is success, 77 means that this machine cannot do it.
int InChild(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// These use the plain memory engine's STORE file or start before any engine has threads in this process: fork keeps only one.
TEST(BadInputOfTheSystem, NoPermissionIsSaid) {
  testing_support::TempDirectory directory;
  const std::string locked = directory / "locked";
  std::filesystem::create_directory(locked);
  std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
  std::filesystem::permissions(locked, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const int rc = InChild([&] {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) return 77;
    Options options;
    options.engine = "memory";
    for (const std::string& path : {locked, locked + "/db"}) {
      const auto opened = Storage::Open(options, path);
      CHILD_CHECK(opened.status().code() == StatusCode::kPermissionDenied, opened.status().ToString());
      CHILD_CHECK(opened.status().message().find(locked) != std::string::npos, opened.status().message());
    }
    return 0;
  });
  std::filesystem::permissions(locked, std::filesystem::perms::all);
  if (rc == 77) CHRONOLITH_SKIP_HERE("cannot become another user");
  EXPECT_EQ(rc, 0);
}

}  // namespace
}  // namespace chronolith

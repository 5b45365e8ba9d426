#include "tests/model/model_run.h"

#include <charconv>
#include <filesystem>
#include <iterator>

namespace chronolith {
namespace {

constexpr Timestamp kStart = -500'000;  // windows on both sides of 1970

std::vector<Labels> AllLabels(std::size_t series) {
  std::vector<Labels> all;
  for (std::size_t i = 0; i < series; ++i) {
    std::vector<std::pair<std::string, std::string>> pairs = {
        {"__name__", i % 2 == 0 ? "even" : "odd"}, {"group", std::to_string(i % 5)}, {"id", std::to_string(i)}};
    if (i % 3 == 0) pairs.emplace_back("some", i % 4 == 0 ? "\xc3\xa9\"\\" : std::string(1 + i % 3 + i % 2, 'x'));
    if (i == 7) pairs.emplace_back("only", "here");
    all.emplace_back(std::move(pairs));
  }
  all.push_back({{"probe", "1"}});
  return all;
}

AdversarialOptions Adversarial(std::uint64_t seed) {
  AdversarialOptions options;
  options.seed = seed;
  options.spontaneous_flush_probability = 0.01;
  return options;
}

}  // namespace

ModelRun::ModelRun(const std::string& engine, std::uint64_t seed)
    : seed_(seed),
      rng_(seed),
      histograms_(&rng_),
      background_(seed % 4 == 3),
      store_(engine, Adversarial(seed)),
      clock_(std::make_shared<FakeClock>(kStart)),
      model_(seed % 2 == 0 ? DuplicatePolicy::kLastWins : DuplicatePolicy::kReject, AllLabels(kSeries)),
      now_(kStart) {
  Options& o = store_.options();
  o.shards = 1 + static_cast<int>(Below(4));
  o.window_ms = kWindowMs;
  o.max_samples_per_chunk = OneIn(3) ? 120 : 16;
  o.duplicate_policy = seed % 2 == 0 ? DuplicatePolicy::kLastWins : DuplicatePolicy::kReject;
  o.clock = clock_;
  o.retention_ms = background_ ? 0 : kRetentionMs;
  o.checkpoint_interval_ms = !background_ ? 0 : store_.is_memory() ? 5 : 200;
  o.background_threads = 1;
  o.checkpoint_bytes = 4 << 20;  // RocksDB allocates its log files by it
  if (OneIn(2)) o.postings_cache_bytes = 1 << 10;
  store_.Open();
}

double ModelRun::AnyValue() {
  constexpr double kSpecial[] = {0.0, -0.0, 1.0 / 3, -1e308, 5e-324};
  const std::uint64_t r = Below(50);
  if (r == 0) return StaleMarker();
  if (r == 1) return std::bit_cast<double>(0x7ff8000000000000ULL + Below(4));  // other NaNs
  if (r < 6) return kSpecial[Below(std::size(kSpecial))];
  return static_cast<double>(Below(4));
}

AckLevel ModelRun::AnyLevel() {
  const std::uint64_t r = Below(20);
  return r < 5 ? AckLevel::kQueued : r < 19 ? AckLevel::kLogged : AckLevel::kSynced;
}

// Mostly a little later than all before, often late, often where a sample is already.
Timestamp ModelRun::PickTime(std::size_t series) {
  const ModelPoints& points = model_.at(series).points;
  const std::uint64_t r = Below(100);
  if (r < 10 && !points.empty()) {
    const auto at = points.lower_bound(now_ - static_cast<Timestamp>(Below(8 * kWindowMs)));
    return at == points.end() ? points.rbegin()->first : at->first;
  }
  if (r < 30) return now_ - static_cast<Timestamp>(Below(5 * kWindowMs));
  if (r < 31) return now_ - kRetentionMs - 50'000;  // near the floor, or below
  now_ += static_cast<Timestamp>(Below(160));
  return now_;
}

TimeRange ModelRun::AnyRange(std::int64_t back, std::int64_t length) {
  const Timestamp start = now_ - static_cast<Timestamp>(Below(static_cast<std::uint64_t>(back)));
  return {start, start + static_cast<Timestamp>(Below(static_cast<std::uint64_t>(length)))};
}

std::vector<Matcher> ModelRun::AnyMatchers(std::size_t at_most) {
  static constexpr const char* kLabelNames[] = {"__name__", "group", "id", "some", "only", "none", "probe"};
  std::vector<Matcher> matchers;
  for (std::uint64_t n = Below(at_most + 1); n > 0; --n) {
    if (OneIn(3)) {
      matchers.push_back(Matcher::Equal("id", std::to_string(AnySeries())));
      continue;
    }
    const char* const name = kLabelNames[Below(std::size(kLabelNames))];
    const auto type = static_cast<Matcher::Type>(Below(4));
    std::string value;
    if (type == Matcher::Type::kRegex || type == Matcher::Type::kNotRegex) {
      value = kModelPatterns[Below(std::size(kModelPatterns))].text;
    } else if (!OneIn(8)) {
      value = model_.at(AnySeries()).labels.Get(name);
    }
    matchers.push_back({type, name, std::move(value)});
  }
  return matchers;
}

bool ModelRun::Apply(std::size_t series, Timestamp t, ModelValue value) {
  const ModelPoints& points = model_.at(series).points;
  if (!points.empty() && t < points.rbegin()->first) ++mix_.count[ModelMix::kLate];
  if (points.contains(t)) ++mix_.count[ModelMix::kDuplicate];
  ++mix_.count[value.histogram ? ModelMix::kHistogramsWritten : ModelMix::kSamplesWritten];
  const bool taken = model_.Write(series, t, value);
  if (!taken) ++mix_.count[ModelMix::kRefused];
  return taken;
}

// ---- Operations ----

ModelMix::Kind ModelRun::Write() {
  std::vector<TimeSeries> batch(1 + Below(3));
  std::vector<std::size_t> ids;
  for (TimeSeries& series : batch) {
    const std::size_t id = AnySeries();
    ids.push_back(id);
    series.labels = model_.at(id).labels;
    for (std::uint64_t n = Below(6); n > 0; --n) series.samples.push_back({PickTime(id), AnyValue()});
    if (id % 6 == 0 && OneIn(3)) series.histograms.push_back({PickTime(id), histograms_.Next()});
    if (OneIn(30)) series.metadata = {{MetricType::kGauge, std::to_string(Below(3)), std::to_string(Below(1000))}};
  }
  std::uint64_t taken = 0;
  std::uint64_t refused = 0;
  // Samples of the batch come before its histograms.
  for (std::size_t b = 0; b < batch.size(); ++b) {
    for (const Sample& s : batch[b].samples) ++(Apply(ids[b], s.timestamp, ValueOf(s.value)) ? taken : refused);
  }
  for (std::size_t b = 0; b < batch.size(); ++b) {
    StoreModel::Series& series = model_.at(ids[b]);
    for (const HistogramSample& h : batch[b].histograms) {
      ++(Apply(ids[b], h.timestamp, ValueOf(h.timestamp, h.histogram)) ? taken : refused);
    }
    for (const Metadata& m : batch[b].metadata) {
      series.metadata = m;
      ++taken;
    }
    series.presence = StoreModel::Presence::kPresent;
  }
  const WriteResult result = store_->Write(batch, {.level = AnyLevel()});
  token_ = result.token;
  EXPECT_EQ(result.accepted, taken) << result.status.ToString();
  EXPECT_EQ(result.refused.size(), refused) << result.status.ToString();
  EXPECT_EQ(result.ok(), refused == 0) << result.status.ToString();
  return ModelMix::kWrite;
}

// Through references that may be older than removals of their series.
ModelMix::Kind ModelRun::Append() {
  if (!appender_) {
    appender_ = store_->NewAppender();
    refs_.assign(kSeries, {});
  }
  std::uint64_t taken = 0;
  for (std::uint64_t n = 1 + Below(20); n > 0; --n) {
    const std::size_t id = AnySeries();
    StoreModel::Series& series = model_.at(id);
    if (refs_[id].id == 0) {
      const auto ref = appender_->Ref(series.labels);
      EXPECT_TRUE(ref.ok()) << ref.status().ToString();
      if (!ref.ok()) return ModelMix::kAppend;
      refs_[id] = *ref;
      series.reference_is_old = false;
      series.presence = StoreModel::Presence::kPresent;
    }
    const Timestamp t = PickTime(id);
    const double value = AnyValue();
    appender_->Append(refs_[id], t, value);
    if (t >= model_.floor()) series.Replace();
    if (Apply(id, t, ValueOf(value))) {
      ++taken;
      series.presence = StoreModel::Presence::kPresent;
    } else if (series.presence == StoreModel::Presence::kAbsent) {
      series.presence = StoreModel::Presence::kMaybe;  // a refused sample may have brought it back
    }
  }
  const WriteResult result = appender_->Commit({.level = AnyLevel()});
  token_ = result.token;
  EXPECT_EQ(result.accepted, taken) << result.status.ToString();
  return ModelMix::kAppend;
}

ModelMix::Kind ModelRun::Delete() {
  std::vector<Matcher> matchers;
  if (OneIn(2)) {
    matchers = {Matcher::Equal("id", std::to_string(AnySeries()))};
  } else {
    matchers = AnyMatchers(3);
  }
  TimeRange range = AnyRange(8 * kWindowMs, 4 * kWindowMs);
  if (OneIn(12)) range = OneIn(2) ? TimeRange{} : TimeRange{now_ - 10 * kWindowMs, kMaxTimestamp};
  const WriteResult result = store_->Delete(matchers, range, {.level = AnyLevel()});
  if (!StoreModel::MayDelete(matchers)) {
    EXPECT_EQ(result.status.code(), StatusCode::kInvalidArgument) << Text(matchers) << ": " << result.status.ToString();
    return ModelMix::kRefusedDelete;
  }
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  token_ = result.token;
  model_.Delete(matchers, range);
  return ModelMix::kDelete;
}

// Retention: the floor may be anywhere up to what the clock and the data allow, never lower than before.
void ModelRun::LearnFloor() {
  if (background_) return;
  if (const Timestamp newest = std::min<Timestamp>(model_.newest(), clock_->NowMs()); newest > kMinTimestamp) {
    floor_allowed_ = std::max(floor_allowed_, newest - kRetentionMs);
  }
  StoreModel::Series& series = model_.at(kSeries);
  const WriteResult probe = store_->Write(MakeSeries(series.labels, {{kMinTimestamp, 0}}));
  series.presence = StoreModel::Presence::kPresent;
  if (probe.ok()) {
    EXPECT_EQ(model_.floor(), kMinTimestamp) << "the floor is gone";
    EXPECT_TRUE(store_->Delete({Matcher::Equal("probe", "1")}, {}).ok());
    return;
  }
  const std::string& message = probe.status.message();
  const std::string_view kWords = "retention floor ";
  const std::size_t at = message.find(kWords);
  ASSERT_NE(at, std::string::npos) << message;
  Timestamp floor = 0;
  std::from_chars(message.data() + at + kWords.size(), message.data() + message.size(), floor);
  EXPECT_GE(floor, model_.floor()) << "the floor was lowered";
  EXPECT_LE(floor, floor_allowed_);
  model_.RaiseFloor(floor);
}

ModelMix::Kind ModelRun::Compact() {
  clock_->Set(now_ - 100'000 + static_cast<Timestamp>(Below(300'000)));
  store_.Compact();
  LearnFloor();
  model_.Compacted();
  CompareAll();
  return ModelMix::kCompact;
}

// A copy is a store of its own and holds the same.
ModelMix::Kind ModelRun::Snapshot() {
  const std::string path = store_.directory() / ("snapshot" + std::to_string(mix_.count[ModelMix::kSnapshot]));
  const Status status = store_->Snapshot(path);
  EXPECT_TRUE(status.ok()) << status.ToString();
  if (!status.ok()) return ModelMix::kSnapshot;
  auto copy = Storage::Open(store_.options(), path);
  EXPECT_TRUE(copy.ok()) << copy.status().ToString();
  if (copy.ok()) {
    CompareSelect(copy->get(), {}, {}, 0);
    EXPECT_TRUE((*copy)->Close().ok());
  }
  std::filesystem::remove_all(path);
  return ModelMix::kSnapshot;
}

ModelMix::Kind ModelRun::Restart() {
  ModelMix::Kind kind;
  if (OneIn(4)) {
    kind = ModelMix::kReopen;
    EXPECT_TRUE(store_->Reopen().ok());  // references stay valid
  } else {
    appender_.reset();
    const std::uint64_t r = Below(store_.is_memory() ? 3 : 2);
    if (r == 0) {
      kind = ModelMix::kRestart;
      store_.Restart();
    } else if (r == 1) {
      kind = ModelMix::kKill;
      EXPECT_TRUE(store_->Wait(token_, AckLevel::kLogged).ok());
      store_.Kill();
    } else {
      kind = ModelMix::kPowerLoss;
      EXPECT_TRUE(store_->Flush().ok());
      store_.LosePower();
    }
    token_ = {};
  }
  LearnFloor();
  CompareAll();
  return kind;
}

ModelMix::Kind ModelRun::Operate() {
  const std::uint64_t r = Below(100'000);
  const std::uint64_t upkeep = store_.is_memory() ? 3 : 1;  // of what costs RocksDB tens of milliseconds
  if (r < 150 * upkeep) {
    store_.Checkpoint();
    LearnFloor();
    return ModelMix::kCheckpoint;
  }
  if (r < 200 * upkeep) return Compact();
  if (r < 220 * upkeep) return Restart();
  if (r < 225 * upkeep) return Snapshot();
  if (r < 3'000) return Delete();
  if (r < 3'200) {
    now_ += static_cast<Timestamp>(Below(2 * kWindowMs));
    return ModelMix::kTime;
  }
  return r < 70'000 ? Write() : Append();
}

void ModelRun::Run(std::uint64_t operations) {
  std::uint64_t until_comparison = 1;
  for (std::uint64_t i = 0; i < operations; ++i) {
    const ModelMix::Kind kind = Operate();
    ++mix_.count[kind];
    const bool same = !testing::Test::HasFailure();
    if (same && --until_comparison == 0) {
      Compare();
      until_comparison = 1 + Below(60);
    }
    if (testing::Test::HasFailure()) {
      if (same) CompareAll();
      FAIL() << (same ? "after" : "in") << " operation " << i << " (" << ModelMix::kNames[kind] << ") of seed " << seed_;
    }
  }
  CompareAll();
  Restart();
  if (!background_ && operations > 5'000) {
    EXPECT_GT(model_.floor(), kMinTimestamp) << "retention was never met";
  }
  if (testing::Test::HasFailure()) FAIL() << "at the end of seed " << seed_;
  appender_.reset();
}

}  // namespace chronolith

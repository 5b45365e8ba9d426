// A store against a plain map: random writes, deletes, reads, checkpoints, compactions, restarts and crashes, with few series and
// few timestamps, so that they meet. CHRONOLITH_TEST_SEED repeats a run, CHRONOLITH_TEST_OPS sets its length.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <random>
#include <tuple>

#include "tests/chunk/random_histogram.h"
#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kStart = -500'000;  // windows on both sides of 1970
constexpr std::int64_t kWindowMs = 20'000;
constexpr int kSeries = 24;

// 52,000 in all, most on the faster engine.
std::uint64_t OperationsWanted(const std::string& engine) {
  if (const char* ops = std::getenv("CHRONOLITH_TEST_OPS")) return std::strtoull(ops, nullptr, 10);
  return (engine == "memory" ? 20'000 : 6'000) * (std::getenv("CHRONOLITH_TEST_FULL") != nullptr ? 20 : 1);
}

Labels SeriesLabels(int i) {
  return {{"__name__", i % 2 == 0 ? "even" : "odd"}, {"group", std::to_string(i % 5)}, {"id", std::to_string(i)}};
}

class ModelTest : public testing::TestWithParam<std::tuple<std::string, DuplicatePolicy>> {
 protected:
  ModelTest() : seed_(TestSeed()), rng_(seed_), histograms_(&rng_), store_(std::get<0>(GetParam()), Adversarial(seed_)) {
    Options& o = store_.options();
    o.window_ms = kWindowMs;
    o.max_samples_per_chunk = 16;
    o.duplicate_policy = std::get<1>(GetParam());
    o.clock = clock_;
    o.retention_ms = 400'000;
    o.background_threads = 1;
    store_.Open();
  }
  static AdversarialOptions Adversarial(std::uint64_t seed) {
    AdversarialOptions options;
    options.seed = seed;
    options.spontaneous_flush_probability = 0.01;
    return options;
  }

  std::uint64_t Below(std::uint64_t n) { return rng_() % n; }

  // Mostly a little later than all before, often late, often where a sample is already.
  Timestamp PickTime(int series) {
    const std::uint64_t r = Below(100);
    if (r < 10 && !model_[series].empty())
      return std::next(model_[series].begin(), static_cast<std::ptrdiff_t>(Below(model_[series].size())))->first;
    if (r < 30) return now_ - static_cast<Timestamp>(Below(5 * kWindowMs));
    if (r < 31) return now_ - 450'000;  // near the floor, or below
    now_ += static_cast<Timestamp>(Below(40));
    return now_;
  }

  bool Rejects() { return store_.options().duplicate_policy == DuplicatePolicy::kReject; }

  // What the store should do with it: true where it is taken.
  bool Apply(int series, Timestamp t, const std::string& shown) {
    newest_ = std::max(newest_, t);
    if (t < floor_) return false;
    const auto [it, inserted] = model_[series].try_emplace(t, shown);
    if (inserted || it->second == shown) return true;
    if (Rejects()) return false;
    it->second = shown;
    return true;
  }

  void Write() {
    std::vector<TimeSeries> batch(1 + Below(3));
    std::uint64_t taken = 0;
    std::uint64_t refused = 0;
    std::vector<std::vector<std::pair<Timestamp, std::string>>> items(batch.size());
    std::vector<int> ids;
    for (TimeSeries& series : batch) {
      const int id = static_cast<int>(Below(kSeries));
      ids.push_back(id);
      series.labels = SeriesLabels(id);
      for (std::uint64_t i = 0, n = Below(6); i < n; ++i) {
        const double value = Below(50) == 0 ? StaleMarker() : static_cast<double>(Below(4));
        series.samples.push_back({PickTime(id), value});
      }
      if (id % 6 == 0 && Below(3) == 0) series.histograms.push_back({PickTime(id), histograms_.Next()});
      if (Below(30) == 0) series.metadata = {{MetricType::kGauge, std::to_string(Below(3)), std::to_string(Below(1000))}};
    }
    // Samples of the batch come before its histograms.
    for (std::size_t b = 0; b < batch.size(); ++b) {
      for (const Sample& s : batch[b].samples) ++(Apply(ids[b], s.timestamp, Shown(s.value)) ? taken : refused);
    }
    for (std::size_t b = 0; b < batch.size(); ++b) {
      for (const HistogramSample& h : batch[b].histograms)
        ++(Apply(ids[b], h.timestamp, Shown(h.timestamp, h.histogram)) ? taken : refused);
      for (const Metadata& m : batch[b].metadata) {
        metadata_[ids[b]] = m;
        ++taken;
      }
      known_[ids[b]] = true;
    }
    const WriteResult result = store_->Write(batch);
    EXPECT_EQ(result.accepted, taken) << result.status.ToString();
    EXPECT_EQ(result.refused.size(), refused) << result.status.ToString();
    EXPECT_EQ(result.ok(), refused == 0) << result.status.ToString();
  }

  // Through references that may be older than removals of their series.
  void Append() {
    if (!appender_) {
      appender_ = store_->NewAppender();
      refs_.assign(kSeries, {});
    }
    std::uint64_t taken = 0;
    for (std::uint64_t i = 0, n = 1 + Below(20); i < n; ++i) {
      const int id = static_cast<int>(Below(kSeries));
      if (refs_[static_cast<std::size_t>(id)].id == 0) {
        auto ref = appender_->Ref(SeriesLabels(id));
        ASSERT_TRUE(ref.ok()) << ref.status().ToString();
        refs_[static_cast<std::size_t>(id)] = *ref;
      }
      const Timestamp t = PickTime(id);
      const auto value = static_cast<double>(Below(4));
      appender_->Append(refs_[static_cast<std::size_t>(id)], t, value);
      taken += Apply(id, t, Shown(value)) ? 1 : 0;
      known_[id] = true;
    }
    const WriteResult result = appender_->Commit();
    EXPECT_EQ(result.accepted, taken) << result.status.ToString();
  }

  void Delete() {
    Matcher matcher =
        Below(4) == 0 ? Matcher::Equal("group", std::to_string(Below(5))) : Matcher::Equal("id", std::to_string(Below(kSeries)));
    const Timestamp start = now_ - static_cast<Timestamp>(Below(8 * kWindowMs));
    TimeRange range{start, start + static_cast<Timestamp>(Below(4 * kWindowMs))};
    if (Below(12) == 0) range = {};
    const WriteResult result = store_->Delete({matcher}, range);
    EXPECT_TRUE(result.ok()) << result.status.ToString();
    for (auto& [id, points] : model_) {
      if (SeriesLabels(id).Get(matcher.name) != matcher.value) continue;
      points.erase(points.lower_bound(range.start), points.lower_bound(range.end));
    }
  }

  Contents Expected(const std::optional<Matcher>& matcher, TimeRange range) const {
    Contents expected;
    for (const auto& [id, points] : model_) {
      const Labels labels = SeriesLabels(id);
      if (matcher && labels.Get(matcher->name) != matcher->value) continue;
      const auto begin = points.lower_bound(range.start);
      const auto end = range.end == kMaxTimestamp ? points.end() : points.lower_bound(range.end);
      if (begin != end) expected[labels.ToString()] = Points(begin, end);
    }
    return expected;
  }

  void ExpectSame(const Contents& found, const Contents& expected) {
    if (found == expected) return;
    for (const auto& [labels, points] : expected) {
      const auto it = found.find(labels);
      if (it == found.end()) {
        ADD_FAILURE() << labels << " is missing";
        continue;
      }
      for (const auto& [t, value] : points) {
        const auto at = it->second.find(t);
        if (at == it->second.end()) {
          ADD_FAILURE() << labels << " lacks " << t;
        } else if (at->second != value) {
          ADD_FAILURE() << labels << " at " << t << " has " << at->second << " instead of " << value;
        }
      }
    }
    for (const auto& [labels, points] : found) {
      for (const auto& [t, value] : points) {
        const auto it = expected.find(labels);
        if (it == expected.end() || !it->second.contains(t)) ADD_FAILURE() << labels << " has too much: " << t << " " << value;
      }
    }
  }

  void Read() {
    std::optional<Matcher> matcher;
    if (Below(3) != 0)
      matcher = Matcher::Equal("id", std::to_string(Below(kSeries)));
    else if (Below(2) == 0)
      matcher = Matcher::Equal("__name__", Below(2) == 0 ? "even" : "odd");
    TimeRange range{now_ - static_cast<Timestamp>(Below(6 * kWindowMs)), 0};
    range.end = range.start + static_cast<Timestamp>(Below(3 * kWindowMs));
    SCOPED_TRACE("reading " + (matcher ? matcher->ToString() : "all") + " from " + std::to_string(range.start) + " to " +
                 std::to_string(range.end));
    ExpectSame(store_.Read(matcher ? std::vector<Matcher>{*matcher} : std::vector<Matcher>{}, range), Expected(matcher, range));
  }

  void CheckAll() {
    ExpectSame(store_.Read(), Expected(std::nullopt, {}));
    for (const auto& [id, points] : model_) {
      if (points.empty()) continue;
      const auto found = store_->SeriesMetadata(SeriesLabels(id));
      ASSERT_TRUE(found.ok()) << found.status().ToString();
      const auto it = metadata_.find(id);
      EXPECT_EQ(*found, it == metadata_.end() ? std::nullopt : std::optional<Metadata>(it->second)) << id;
    }
  }

  // Retention: the floor may be anywhere up to what the clock and the data allow, never lower than before.
  void LearnFloor() {
    floor_allowed_ = std::max(floor_allowed_, std::min<Timestamp>(newest_, clock_->NowMs()) - 400'000);
    const WriteResult probe = store_->Write(MakeSeries({{"probe", "1"}}, {{kMinTimestamp, 0}}));
    ASSERT_EQ(probe.refused.size(), floor_ == kMinTimestamp && probe.ok() ? 0U : 1U);
    if (probe.ok()) {
      EXPECT_TRUE(store_->Delete({Matcher::Equal("probe", "1")}, {}).ok());
      return;
    }
    const std::string& message = probe.status.message();
    const std::string_view kWords = "retention floor ";
    const std::size_t at = message.find(kWords);
    ASSERT_NE(at, std::string::npos) << message;
    Timestamp floor = 0;
    std::from_chars(message.data() + at + kWords.size(), message.data() + message.size(), floor);
    EXPECT_GE(floor, floor_) << "the floor was lowered";
    EXPECT_LE(floor, floor_allowed_);
    floor_ = floor;
    for (auto& [id, points] : model_) points.erase(points.begin(), points.lower_bound(floor_));
  }

  void ForgetWhatCompactionRemoved() {
    // A series without data may have left the index, and its metadata with it.
    for (const auto& [id, points] : model_) {
      if (points.empty()) metadata_.erase(id);
    }
  }

  void Restart() {
    appender_.reset();
    const std::uint64_t r = Below(store_.is_memory() ? 3 : 2);
    if (r == 0) {
      store_.Restart();
    } else if (r == 1) {
      store_.Kill();
    } else {
      ASSERT_TRUE(store_->Flush().ok());
      store_.LosePower();
    }
    LearnFloor();
    CheckAll();
  }

  void Step() {
    const std::uint64_t r = Below(1000);
    if (r < 500) return Write();
    if (r < 650) return Append();
    if (r < 665) return Delete();
    if (r < 985) return Read();
    if (r < 992) {
      store_.Checkpoint();
      return LearnFloor();
    }
    if (r < 995) {
      clock_->Set(now_ - 100'000 + static_cast<Timestamp>(Below(300'000)));
      store_.Compact();
      LearnFloor();
      ForgetWhatCompactionRemoved();
      return CheckAll();
    }
    if (r < 996) return Restart();
    now_ += static_cast<Timestamp>(Below(2 * kWindowMs));
  }

  const std::uint64_t seed_;
  std::mt19937_64 rng_;
  RandomHistograms histograms_;
  const std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>(kStart);
  TestStore store_;
  std::unique_ptr<Appender> appender_;
  std::vector<SeriesRef> refs_;

  std::map<int, Points> model_;
  std::map<int, Metadata> metadata_;
  std::map<int, bool> known_;
  Timestamp now_ = kStart;
  Timestamp newest_ = kMinTimestamp;
  Timestamp floor_ = kMinTimestamp;
  Timestamp floor_allowed_ = kMinTimestamp;  // a clock that went back later does not lower it
};

TEST_P(ModelTest, RandomOperationsAgree) {
  const std::uint64_t operations = OperationsWanted(std::get<0>(GetParam()));
  for (std::uint64_t i = 0; i < operations; ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    Step();
    if (testing::Test::HasFailure()) {
      SCOPED_TRACE("everything, once more");
      CheckAll();
    }
    if (testing::Test::HasFailure()) FAIL() << "with CHRONOLITH_TEST_SEED=" << seed_;
  }
  CheckAll();
  Restart();
  EXPECT_GT(floor_, kMinTimestamp) << "retention was never met";
  appender_.reset();
}

INSTANTIATE_TEST_SUITE_P(Engines, ModelTest,
                         testing::Combine(AllEngines(), testing::Values(DuplicatePolicy::kLastWins, DuplicatePolicy::kReject)),
                         [](const auto& info) {
                           return std::get<0>(info.param) +
                                  (std::get<1>(info.param) == DuplicatePolicy::kReject ? "Reject" : "LastWins");
                         });

}  // namespace
}  // namespace chronolith

// HeadShard against a plain map, under random operations: in-order and late samples, duplicates of both policies, histograms among
// floats, exemplars, deletes, checkpoints of every fate beside appends, idle series, and restarts.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/chunk/random_histogram.h"
#include "tests/contract/seed.h"
#include "tests/head/head_harness.h"

namespace chronolith {
namespace {

constexpr Ordinal kSeries = 5;

struct Scenario {
  std::uint64_t seed;
  HeadOptions options;
  Timestamp base;  // where time begins
};

class HeadModel {
 public:
  explicit HeadModel(const Scenario& scenario)
      : random_(scenario.seed), options_(scenario.options), harness_(scenario.options), histograms_(&random_) {
    // Ordinals on different pages of the head.
    for (Ordinal i = 0; i < kSeries; ++i) series_.push_back({.ordinal = i * 130, .now = scenario.base});
  }

  void Step() {
    switch (random_() % 32) {
      case 0:
        if (!harness_.checkpointing()) harness_.Begin();
        break;
      case 1:
      case 2:
      case 3:
      case 4:
        ContinueCheckpoint();
        break;
      case 5:
        if (harness_.checkpointing() && random_() % 4 == 0) harness_.Abort();
        break;
      case 6:
        if (random_() % 4 == 0) harness_.Reopen();
        break;
      case 7:
        if (!harness_.checkpointing()) harness_.head().ReleaseIdle(TimeNear(&Any()));
        break;
      case 8:
        if (random_() % 3 == 0) Delete();
        break;
      case 9:
      case 10:
        AddExemplar();
        break;
      case 11:
      case 12:
      case 13:
      case 14:
        AddHistogram();
        break;
      default:
        AddFloats();
    }
  }

  void Compare() {
    for (const Series& s : series_) {
      ASSERT_EQ(harness_.SamplesOf(s.ordinal), s.samples) << "series " << s.ordinal;
      std::vector<Exemplar> exemplars = harness_.ExemplarsOf(s.ordinal);
      std::vector<Exemplar> expected = s.exemplars;
      const auto less = [](const Exemplar& a, const Exemplar& b) {
        return std::tie(a.timestamp, a.value) < std::tie(b.timestamp, b.value);
      };
      std::sort(exemplars.begin(), exemplars.end(), less);
      std::sort(expected.begin(), expected.end(), less);
      // A restart may find what it replays stored already: the same exemplars again.
      exemplars.erase(std::unique(exemplars.begin(), exemplars.end()), exemplars.end());
      ASSERT_EQ(exemplars, expected) << "series " << s.ordinal;
      CompareRange(s.ordinal);
    }
  }

 private:
  struct Series {
    Ordinal ordinal;
    Timestamp now;
    Samples samples{};
    std::vector<Exemplar> exemplars{};
    std::set<Timestamp> ever{};  // timestamps of histograms, under kReject
  };

  bool reject() const { return options_.duplicate_policy == DuplicatePolicy::kReject; }
  Series& Any() { return series_[random_() % series_.size()]; }

  static Timestamp Clamp(__int128 t) {
    if (t < kMinTimestamp) return kMinTimestamp;
    return t > kMaxTimestamp - 1 ? kMaxTimestamp - 1 : static_cast<Timestamp>(t);
  }

  // Mostly a little later than the newest; sometimes equal, late, very late, or windows ahead.
  Timestamp TimeNear(Series* s) {
    const auto w = static_cast<std::uint64_t>(options_.window_ms);
    __int128 t = s->now;
    switch (random_() % 16) {
      case 0:
        t -= random_() % (3 * w + 2);
        break;
      case 1:
        t -= random_() % 5;
        break;
      case 2:
        break;
      case 3:
        t += random_() % (3 * w + 2);
        break;
      default:
        t += 1 + random_() % (w / 20 + 1);
    }
    const Timestamp clamped = Clamp(t);
    s->now = std::max(s->now, clamped);
    return clamped;
  }

  double Value() {
    switch (random_() % 4) {
      case 0:
        return std::bit_cast<double>(random_());
      case 1:
        return std::bit_cast<double>(kStaleNaNBits);
      default:
        return static_cast<double>(random_() % 1000);
    }
  }

  bool Exists(Ordinal ordinal, Timestamp t) {
    double value;
    {
      MeasuredReaderLock lock(&harness_.head().mu());
      if (harness_.head().FindSample(ordinal, t, &value)) return true;
    }
    return harness_.StoredHas(ordinal, t);
  }

  void AddFloats() {
    std::vector<SampleEntry> samples;
    for (std::uint64_t n = reject() ? 1 : 1 + random_() % 30; n > 0; --n) {
      Series& s = Any();
      const Timestamp t = TimeNear(&s);
      if (reject()) {  // as the writer does: a duplicate is not logged
        if (s.ever.contains(t)) return;
        const bool exists = Exists(s.ordinal, t);
        if (s.samples.contains(t)) {
          EXPECT_TRUE(exists) << "a sample at " << t << " of series " << s.ordinal << " was not found";
        }
        if (exists) return;
      }
      const double value = Value();
      samples.push_back({s.ordinal, 0, t, value});
      s.samples[t] = ValueOf(value);
    }
    harness_.Do(SamplesOp{std::move(samples)});
  }

  void AddHistogram() {
    for (std::uint64_t n = 1 + random_() % 3; n > 0; --n) {
      Series& s = Any();
      const Timestamp t = TimeNear(&s);
      if (reject() && (s.samples.contains(t) || Exists(s.ordinal, t) || !s.ever.insert(t).second)) return;
      const Histogram histogram = histograms_.Next();
      s.samples[t] = ValueOf(histogram);
      harness_.Do(HistogramOp{s.ordinal, {t, histogram}});
    }
  }

  void AddExemplar() {
    Series& s = Any();
    Exemplar e{Labels({{"trace_id", std::to_string(random_())}}), static_cast<double>(++exemplars_), TimeNear(&s)};
    s.exemplars.push_back(e);
    harness_.Do(ExemplarOp{s.ordinal, std::move(e)});
  }

  void Delete() {
    Series& s = Any();
    Timestamp a = TimeNear(&s);
    Timestamp b = TimeNear(&s);
    if (a > b) std::swap(a, b);
    DeleteOp op{{s.ordinal}, {a, b}};
    if (random_() % 2 == 0) op.ordinals.push_back(series_[(s.ordinal / 130 + 1) % kSeries].ordinal);
    for (const Ordinal ordinal : op.ordinals) {
      Series& victim = series_[ordinal / 130];
      std::erase_if(victim.samples, [&](const auto& sample) { return op.range.Contains(sample.first); });
      std::erase_if(victim.exemplars, [&](const Exemplar& e) { return op.range.Contains(e.timestamp); });
    }
    harness_.Do(std::move(op));
  }

  void ContinueCheckpoint() {
    if (!harness_.checkpointing()) return;
    for (std::uint64_t n = 1 + random_() % 6; n > 0; --n) {
      if (harness_.Slice(1 + random_() % 400)) continue;
      if (random_() % 5 == 0) {
        harness_.Abort();
      } else {
        harness_.Finish();
      }
      return;
    }
  }

  // A narrower Collect gives exactly the chunks that overlap; OrdinalsWithData agrees with it.
  void CompareRange(Ordinal ordinal) {
    Series& s = series_[ordinal / 130];
    Timestamp a = TimeNear(&s);
    Timestamp b = TimeNear(&s);
    if (a > b) std::swap(a, b);
    std::size_t expected = 0;
    std::size_t with_samples = 0;
    for (const Chunk& chunk : harness_.Collected(ordinal)) {
      const bool overlaps = TimeRange{a, b}.Overlaps(chunk.meta.min_time, chunk.meta.max_time);
      expected += overlaps && chunk.meta.type != ChunkType::kXor;
      with_samples += overlaps && chunk.meta.type != ChunkType::kExemplar;
    }
    ASSERT_EQ(harness_.Collected(ordinal, {a, b}, ChunkType::kHistogram, ChunkType::kExemplar).size(), expected);
    OrdinalSet ordinals;
    harness_.head().OrdinalsWithData({a, b}, &ordinals);
    ASSERT_EQ(ordinals.Contains(ordinal), with_samples > 0);
    MeasuredReaderLock lock(&harness_.head().mu());
    if (with_samples > 0) {
      ASSERT_TRUE(harness_.head().HasData(ordinal));
    }
  }

  std::mt19937_64 random_;
  const HeadOptions options_;
  HeadHarness harness_;
  RandomHistograms histograms_;
  std::vector<Series> series_;
  std::uint64_t exemplars_ = 0;
};

void RunModel(DuplicatePolicy policy, int rounds) {
#ifdef CHRONOLITH_TSAN
  rounds = (rounds + 3) / 4;  // there is one thread here: what the sanitizer is for is the concurrency test
#endif
  std::mt19937_64 random(TestSeed());
  const Timestamp bases[] = {0,
                             -50'000'000,
                             -3,
                             1'700'000'000'000,
                             kMinTimestamp,
                             kMinTimestamp + 10'000'000,
                             kMaxTimestamp - 40'000'000,
                             kMaxTimestamp - 3000};
  const std::int64_t windows[] = {7'200'000, 1000, 4096, 1, 3'600'000'000};
  for (int round = 0; round < rounds; ++round) {
    Scenario scenario;
    scenario.seed = random();
    scenario.base = bases[static_cast<std::size_t>(round) % std::size(bases)];
    scenario.options.epoch = 1;
    scenario.options.window_ms = windows[random() % std::size(windows)];
    scenario.options.max_samples_per_chunk = random() % 2 == 0 ? 16 : 240;
    scenario.options.duplicate_policy = policy;
    SCOPED_TRACE("round " + std::to_string(round) + " base " + std::to_string(scenario.base) + " window " +
                 std::to_string(scenario.options.window_ms));
    HeadModel model(scenario);
    for (int step = 0; step < 250; ++step) {
      model.Step();
      if (step % 25 == 24) model.Compare();
      if (::testing::Test::HasFailure()) FAIL() << "step " << step;
    }
  }
}

TEST(HeadModel, LastWriteWins) { RunModel(DuplicatePolicy::kLastWins, 24); }

TEST(HeadModel, DuplicatesRejected) { RunModel(DuplicatePolicy::kReject, 16); }

}  // namespace
}  // namespace chronolith

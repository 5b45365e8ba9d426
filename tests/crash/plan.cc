#include "tests/crash/plan.h"

#include <algorithm>
#include <cstdio>
#include <random>

namespace chronolith::crash {
namespace {

constexpr std::uint64_t kOwnSeries = 40;
constexpr std::uint64_t kSharedSeries = 6;
constexpr std::uint64_t kSamplesMax = 8;

Labels LabelsOf(const std::string& owner, std::uint64_t n) {
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%03d", static_cast<int>(n));
  std::vector<std::pair<std::string, std::string>> labels = {
      {"__name__", n % 3 == 0 ? "zero" : "other"}, {kOwner, owner}, {"n", digits}};
  if (n % 2 == 0) labels.emplace_back("even", "yes");
  return Labels(std::move(labels));
}

std::string OwnerOf(std::uint32_t thread) { return "w" + std::to_string(thread); }

AckLevel RandomLevel(std::mt19937_64& rng) {
  const std::uint64_t r = rng() % 20;
  return r < 8 ? AckLevel::kQueued : r < 17 ? AckLevel::kLogged : AckLevel::kSynced;
}

void PlanWrite(std::mt19937_64& rng, std::uint32_t thread, std::uint64_t number, Op* op) {
  op->appender = rng() % 2 == 0;
  const auto add = [&](Labels labels, std::uint64_t at) {
    TimeSeries series;
    series.labels = std::move(labels);
    const std::uint64_t samples = 1 + rng() % kSamplesMax;
    for (std::uint64_t i = 0; i < samples; ++i) {
      // Both are nobody else's: a value tells who wrote it.
      const Timestamp t = kT + static_cast<Timestamp>(at) * kStep + static_cast<Timestamp>(i * 100 + thread);
      series.samples.push_back({t, static_cast<double>((number * kSamplesMax + i) * kWriters + thread)});
    }
    op->series.push_back(std::move(series));
  };
  // More series as time goes by. Some timestamps are late or written again.
  const std::uint64_t known = std::min(kOwnSeries, 4 + number / 8);
  const std::uint64_t at = rng() % 4 == 0 ? number - rng() % std::min<std::uint64_t>(number + 1, 60) : number;
  const std::uint64_t first = rng() % known;
  const std::uint64_t count = 1 + rng() % 3;
  for (std::uint64_t i = 0; i < std::min(count, known); ++i) add(LabelsOf(OwnerOf(thread), (first + i * 7) % known), at);
  std::sort(op->series.begin(), op->series.end(), [](const auto& a, const auto& b) { return a.labels < b.labels; });
  const auto same = [](const auto& a, const auto& b) { return a.labels == b.labels; };
  op->series.erase(std::unique(op->series.begin(), op->series.end(), same), op->series.end());
  if (rng() % 3 == 0) add(LabelsOf(kShared, rng() % kSharedSeries), number);
}

void PlanDelete(std::mt19937_64& rng, std::uint32_t thread, std::uint64_t number, Op* op) {
  op->kind = Op::Kind::kDelete;
  op->matchers.push_back(Matcher::Equal(kOwner, OwnerOf(thread)));
  switch (rng() % 4) {
    case 0:
      op->matchers.push_back(Matcher::Regex("n", "0[0-4].*"));
      break;
    case 1:
      op->matchers.push_back(Matcher::Equal("even", ""));
      break;
    default:  // one series, perhaps all of it: then it leaves the index at the next compaction
      op->matchers.push_back(Matcher::Equal("n", std::string(LabelsOf("", rng() % kOwnSeries).Get("n"))));
      if (rng() % 3 != 0) return;
  }
  const std::uint64_t end = rng() % (number + 2);
  const std::uint64_t begin = end - std::min<std::uint64_t>(end, rng() % 50);
  op->range = {kT + static_cast<Timestamp>(begin) * kStep, kT + static_cast<Timestamp>(end) * kStep + 350};
}

}  // namespace

bool IsHistogram(const Labels& series) { return !series.Get(kOwner).empty() && std::stoi(std::string(series.Get("n"))) % 4 == 1; }

// Integer and float ones, whose buckets change from one operation to the next.
Histogram HistogramOf(double value) {
  const std::uint64_t number = NumberOf(value);
  const std::vector<BucketSpan> spans = {{static_cast<std::int32_t>(number % 4), 2}, {1, 1}};
  if (number % 5 == 0) {
    FloatHistogram histogram;
    histogram.zero_count = 0.5;
    histogram.count = 5;
    histogram.sum = value;
    histogram.positive_spans = spans;
    histogram.positive_counts = {1.5, 2, 1};
    return histogram;
  }
  IntHistogram histogram;
  histogram.schema = 3;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = number;
  histogram.count = number + 6;
  histogram.sum = value;
  histogram.positive_spans = spans;
  histogram.positive_deltas = {1, 2, -1};
  return histogram;
}

TimeSeries AsWritten(const TimeSeries& planned) {
  if (!IsHistogram(planned.labels)) return planned;
  TimeSeries series{.labels = planned.labels};
  for (const Sample& s : planned.samples) {
    series.histograms.push_back({s.timestamp, HistogramOf(s.value)});
    series.exemplars.push_back({{{"trace", std::to_string(s.value)}}, s.value, s.timestamp});
  }
  series.metadata.push_back(
      {MetricType::kHistogram, "ms", std::to_string(static_cast<std::uint64_t>(planned.samples.back().value))});
  return series;
}

std::uint32_t ThreadOf(double value) { return static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) % kWriters); }
std::uint64_t NumberOf(double value) { return static_cast<std::uint64_t>(value) / kWriters / kSamplesMax; }

Op PlanOp(std::uint64_t seed, std::uint32_t thread, std::uint64_t number) {
  std::seed_seq seeds{seed, seed >> 32, std::uint64_t{thread}, number};
  std::mt19937_64 rng(seeds);
  Op op;
  const std::uint64_t r = rng() % 100;
  if (thread == kUpkeep) {
    op.kind = r < 15 ? Op::Kind::kFlush : r < 65 ? Op::Kind::kCheckpoint : Op::Kind::kCompact;
    return op;
  }
  op.level = RandomLevel(rng);
  if (r < 10) {
    PlanDelete(rng, thread, number, &op);
  } else {
    PlanWrite(rng, thread, number, &op);
  }
  return op;
}

std::string Op::ToString() const {
  static constexpr const char* kLevels[] = {"queued", "logged", "synced"};
  const std::string at = std::string(" ") + kLevels[static_cast<int>(level)];
  switch (kind) {
    case Kind::kFlush:
      return "flush";
    case Kind::kCheckpoint:
      return "checkpoint";
    case Kind::kCompact:
      return "compact";
    case Kind::kDelete:
      return "delete" + at;
    case Kind::kWrite:
      break;
  }
  std::size_t samples = 0;
  for (const TimeSeries& s : series) samples += s.samples.size();
  return "write of " + std::to_string(samples) + " samples" + at;
}

}  // namespace chronolith::crash

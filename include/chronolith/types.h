// The data model: timestamps, samples, native histograms, exemplars, metadata, and the unit of writing, TimeSeries.
#ifndef CHRONOLITH_TYPES_H_
#define CHRONOLITH_TYPES_H_

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "chronolith/labels.h"

namespace chronolith {

// Milliseconds since the Unix epoch; negative before 1970.
using Timestamp = std::int64_t;
inline constexpr Timestamp kMinTimestamp = std::numeric_limits<Timestamp>::min();
inline constexpr Timestamp kMaxTimestamp = std::numeric_limits<Timestamp>::max();

// Half-open: contains t when start <= t < end. Prometheus' protocols have inclusive ends: convert at the edge.
// `end == kMaxTimestamp` therefore leaves out only the very last millisecond of the type, which writes refuse.
struct TimeRange {
  Timestamp start = kMinTimestamp;
  Timestamp end = kMaxTimestamp;
  bool Contains(Timestamp t) const { return start <= t && t < end; }
  bool Overlaps(Timestamp min, Timestamp max_inclusive) const { return min < end && max_inclusive >= start; }
  bool empty() const { return start >= end; }
  friend bool operator==(const TimeRange&, const TimeRange&) = default;
};

// The position of a record in the log of one shard; dense from 1 within an epoch. 0 is "none".
using Lsn = std::uint64_t;

struct Sample {
  Timestamp timestamp = 0;
  double value = 0;  // kept bit for bit, stale markers (kStaleNaNBits) included
};

// The quiet NaN that Prometheus writes when a series ends. The only NaN payload with a meaning; all others are kept too.
inline constexpr std::uint64_t kStaleNaNBits = 0x7ff0000000000002ULL;

// ---- Native histograms, the field order and meaning of Prometheus' prompb.Histogram ----

// `offset` buckets are skipped (from the end of the previous span; for the first span: index of its first bucket), then `length`
// buckets follow.
struct BucketSpan {
  std::int32_t offset = 0;
  std::uint32_t length = 0;
  friend bool operator==(const BucketSpan&, const BucketSpan&) = default;
};

enum class CounterResetHint : std::uint8_t { kUnknown = 0, kYes = 1, kNo = 2, kGauge = 3 };

inline constexpr std::int32_t kCustomBucketsSchema = -53;

// Integer histogram: buckets are deltas, each to the bucket before (the first absolute).
struct IntHistogram {
  CounterResetHint reset_hint = CounterResetHint::kUnknown;
  std::int32_t schema = 0;  // -4..8 exponential; kCustomBucketsSchema: upper bounds stand in custom_values
  double zero_threshold = 0;
  std::uint64_t zero_count = 0;
  std::uint64_t count = 0;
  double sum = 0;
  std::vector<BucketSpan> positive_spans, negative_spans;
  std::vector<std::int64_t> positive_deltas, negative_deltas;
  std::vector<double> custom_values;  // ascending upper bounds, without +Inf; only for kCustomBucketsSchema
  friend bool operator==(const IntHistogram&, const IntHistogram&) = default;
};

// Float histogram: buckets are absolute counts.
struct FloatHistogram {
  CounterResetHint reset_hint = CounterResetHint::kUnknown;
  std::int32_t schema = 0;
  double zero_threshold = 0;
  double zero_count = 0;
  double count = 0;
  double sum = 0;
  std::vector<BucketSpan> positive_spans, negative_spans;
  std::vector<double> positive_counts, negative_counts;
  std::vector<double> custom_values;
  friend bool operator==(const FloatHistogram&, const FloatHistogram&) = default;
};

using Histogram = std::variant<IntHistogram, FloatHistogram>;

struct HistogramSample {
  Timestamp timestamp = 0;
  Histogram histogram;
};

// A trace reference attached to a series at a time.
struct Exemplar {
  Labels labels;
  double value = 0;
  Timestamp timestamp = 0;
  friend bool operator==(const Exemplar&, const Exemplar&) = default;
};

enum class MetricType : std::uint8_t { kUnknown = 0, kCounter, kGauge, kHistogram, kGaugeHistogram, kSummary, kInfo, kStateSet };

struct Metadata {
  MetricType type = MetricType::kUnknown;
  std::string unit;
  std::string help;
  friend bool operator==(const Metadata&, const Metadata&) = default;
};

// One series with what is to be written to it. Samples may come in any order.
struct TimeSeries {
  Labels labels;
  std::vector<Sample> samples;
  std::vector<HistogramSample> histograms;
  std::vector<Exemplar> exemplars;
  std::vector<Metadata> metadata;  // none, or one that replaces the series' metadata
};

}  // namespace chronolith

#endif  // CHRONOLITH_TYPES_H_

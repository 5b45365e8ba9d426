// ValidateHistogram: what a write accepts. Kept apart from the codec, which takes whatever fits the bounds.
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "chunk/histogram_chunk.h"

namespace chronolith {
namespace {

constexpr std::int32_t kMinSchema = -4;
constexpr std::int32_t kMaxSchema = 8;

Status Bad(const std::string& what) { return InvalidArgument("histogram: " + what); }

Status CheckBound(const char* what, std::size_t n, std::size_t limit) {
  if (n <= limit) return Status::Ok();
  return Bad(std::to_string(n) + " " + what + ", the limit is " + std::to_string(limit));
}

// `end`: buckets of custom histograms have indices 0..end-1; -1: exponential, any 32-bit index.
Status CheckSpans(const std::string& side, const std::vector<BucketSpan>& spans, std::size_t buckets, std::int64_t end) {
  std::uint64_t described = 0;
  std::int64_t index = 0;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const std::string name = side + " span " + std::to_string(i);
    if (spans[i].offset < 0 && (i > 0 || end >= 0))
      return Bad(name + " has the negative offset " + std::to_string(spans[i].offset));
    index += spans[i].offset;
    index += spans[i].length;
    described += spans[i].length;
    if (index > std::numeric_limits<std::int32_t>::max()) return Bad(name + " ends beyond 32-bit bucket indices");
    if (end >= 0 && index > end) {
      return Bad(name + " ends at bucket " + std::to_string(index) + ", custom_values allow " + std::to_string(end));
    }
  }
  if (described == buckets) return Status::Ok();
  return Bad(side + " spans describe " + std::to_string(described) + " buckets, given are " + std::to_string(buckets));
}

Status CheckCustomValues(const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return Bad("custom_values[" + std::to_string(i) + "] is not finite");
    if (i > 0 && !(values[i - 1] < values[i])) {
      return Bad("custom_values[" + std::to_string(i) + "] is not above the one before");
    }
  }
  return Status::Ok();
}

// Adds the absolute counts of one side to `total`.
Status AddCounts(const char* side, const std::vector<std::int64_t>& deltas, std::uint64_t* total) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < deltas.size(); ++i) {
    if (__builtin_add_overflow(count, deltas[i], &count)) {
      return Bad(std::string(side) + "_deltas[" + std::to_string(i) + "] overflows the bucket's count");
    }
    if (count < 0) return Bad(std::string(side) + "_deltas[" + std::to_string(i) + "] makes the bucket's count negative");
    if (__builtin_add_overflow(*total, static_cast<std::uint64_t>(count), total)) {
      return Bad(std::string(side) + "_deltas: the bucket counts do not fit 64 bits in sum");
    }
  }
  return Status::Ok();
}

Status CheckCounts(const IntHistogram& h) {
  std::uint64_t total = h.zero_count;
  if (Status s = AddCounts("positive", h.positive_deltas, &total); !s.ok()) return s;
  if (Status s = AddCounts("negative", h.negative_deltas, &total); !s.ok()) return s;
  if (std::isnan(h.sum) ? total <= h.count : total == h.count) return Status::Ok();
  return Bad("count is " + std::to_string(h.count) + ", the buckets hold " + std::to_string(total));
}

Status CheckNotNegative(const char* name, const std::vector<double>& counts) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0) return Bad(std::string(name) + "[" + std::to_string(i) + "] is negative");
  }
  return Status::Ok();
}

// Float counts come out of arithmetic (rates, sums): they need not add up to the last bit, so nobody asks that they do.
Status CheckCounts(const FloatHistogram& h) {
  if (h.count < 0) return Bad("count is negative");
  if (h.zero_count < 0) return Bad("zero_count is negative");
  if (Status s = CheckNotNegative("positive_counts", h.positive_counts); !s.ok()) return s;
  return CheckNotNegative("negative_counts", h.negative_counts);
}

std::size_t PositiveBuckets(const IntHistogram& h) { return h.positive_deltas.size(); }
std::size_t NegativeBuckets(const IntHistogram& h) { return h.negative_deltas.size(); }
std::size_t PositiveBuckets(const FloatHistogram& h) { return h.positive_counts.size(); }
std::size_t NegativeBuckets(const FloatHistogram& h) { return h.negative_counts.size(); }

template <typename H>
Status CheckBounds(const H& h) {
  if (static_cast<unsigned>(h.reset_hint) > static_cast<unsigned>(CounterResetHint::kGauge)) {
    return Bad("unknown counter reset hint " + std::to_string(static_cast<unsigned>(h.reset_hint)));
  }
  if (Status s = CheckBound("buckets", PositiveBuckets(h) + NegativeBuckets(h), kMaxHistogramBuckets); !s.ok()) return s;
  if (Status s = CheckBound("spans", h.positive_spans.size() + h.negative_spans.size(), kMaxHistogramSpans); !s.ok()) return s;
  return CheckBound("custom values", h.custom_values.size(), kMaxHistogramCustomValues);
}

template <typename H>
Status Check(const H& h) {
  if (Status s = CheckBounds(h); !s.ok()) return s;
  if (std::bit_cast<std::uint64_t>(h.sum) == kStaleNaNBits) return Status::Ok();
  std::int64_t end = -1;
  if (h.schema == kCustomBucketsSchema) {
    if (Status s = CheckCustomValues(h.custom_values); !s.ok()) return s;
    if (!h.negative_spans.empty() || NegativeBuckets(h) != 0) return Bad("custom buckets and negative buckets exclude each other");
    if (h.zero_count != 0) return Bad("custom buckets and a zero_count exclude each other");
    if (h.zero_threshold != 0) return Bad("custom buckets and a zero_threshold exclude each other");
    end = static_cast<std::int64_t>(h.custom_values.size()) + 1;
  } else {
    if (h.schema < kMinSchema || h.schema > kMaxSchema) return Bad("unknown schema " + std::to_string(h.schema));
    if (!h.custom_values.empty()) return Bad("custom_values belong to schema -53 only, the schema is " + std::to_string(h.schema));
    if (!(h.zero_threshold >= 0)) return Bad("zero_threshold is negative or not a number");
  }
  if (Status s = CheckSpans("positive", h.positive_spans, PositiveBuckets(h), end); !s.ok()) return s;
  if (Status s = CheckSpans("negative", h.negative_spans, NegativeBuckets(h), end); !s.ok()) return s;
  return CheckCounts(h);
}

}  // namespace

Status ValidateHistogram(const Histogram& histogram) {
  return std::visit([](const auto& h) { return Check(h); }, histogram);
}

}  // namespace chronolith

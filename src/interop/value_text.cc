#include "interop/value_text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

namespace chronolith::interop {

namespace {

struct IndexedCount {
  std::int64_t index = 0;
  double count = 0;
};

// Buckets with their index; `absolute` turns the i-th stored number into a count.
template <typename T, typename Absolute>
std::vector<IndexedCount> Expand(const std::vector<BucketSpan>& spans, const std::vector<T>& stored, Absolute absolute) {
  std::vector<IndexedCount> buckets;
  std::int64_t index = 0;
  std::size_t at = 0;
  for (const BucketSpan& span : spans) {
    index += span.offset;
    for (std::uint32_t i = 0; i < span.length && at < stored.size(); ++i, ++index, ++at) {
      buckets.push_back({index, absolute(stored[at])});
    }
  }
  return buckets;
}

std::vector<IndexedCount> Expand(const std::vector<BucketSpan>& spans, const std::vector<std::int64_t>& deltas) {
  std::int64_t count = 0;
  return Expand(spans, deltas, [&count](std::int64_t delta) { return static_cast<double>(count += delta); });
}
std::vector<IndexedCount> Expand(const std::vector<BucketSpan>& spans, const std::vector<double>& counts) {
  return Expand(spans, counts, [](double count) { return count; });
}

// The upper bound of an exponential bucket: 2^(index * 2^-schema).
double ExponentialBound(std::int32_t schema, std::int64_t index) {
  return std::exp2(static_cast<double>(index) * std::exp2(-static_cast<double>(schema)));
}

double CustomBound(const std::vector<double>& bounds, std::int64_t index) {
  if (index < 0) return -std::numeric_limits<double>::infinity();
  if (static_cast<std::uint64_t>(index) >= bounds.size()) return std::numeric_limits<double>::infinity();
  return bounds[static_cast<std::size_t>(index)];
}

template <typename H, typename Buckets>
std::vector<HistogramBucket> ListBuckets(const H& h, const Buckets& positive_stored, const Buckets& negative_stored) {
  std::vector<HistogramBucket> list;
  const std::vector<IndexedCount> positive = Expand(h.positive_spans, positive_stored);
  if (h.schema == kCustomBucketsSchema) {
    for (const auto& [index, count] : positive) {
      list.push_back({CustomBound(h.custom_values, index - 1), CustomBound(h.custom_values, index), false, true, count});
    }
  } else {
    std::vector<IndexedCount> negative = Expand(h.negative_spans, negative_stored);
    std::reverse(negative.begin(), negative.end());
    for (const auto& [index, count] : negative) {
      list.push_back({-ExponentialBound(h.schema, index), -ExponentialBound(h.schema, index - 1), true, false, count});
    }
    list.push_back({-h.zero_threshold, h.zero_threshold, true, true, static_cast<double>(h.zero_count)});
    for (const auto& [index, count] : positive) {
      list.push_back({ExponentialBound(h.schema, index - 1), ExponentialBound(h.schema, index), false, true, count});
    }
  }
  std::erase_if(list, [](const HistogramBucket& b) { return b.count == 0; });
  return list;
}

}  // namespace

std::string FormatValue(double value) {
  if (std::isnan(value)) return std::bit_cast<std::uint64_t>(value) == kStaleNaNBits ? "StaleNaN" : "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return error == std::errc() ? std::string(text, end) : std::string();
}

double HistogramCount(const Histogram& histogram) {
  return std::visit([](const auto& h) { return static_cast<double>(h.count); }, histogram);
}
double HistogramSum(const Histogram& histogram) {
  return std::visit([](const auto& h) { return h.sum; }, histogram);
}

std::vector<HistogramBucket> HistogramBuckets(const Histogram& histogram) {
  if (const auto* h = std::get_if<IntHistogram>(&histogram)) return ListBuckets(*h, h->positive_deltas, h->negative_deltas);
  const auto& h = std::get<FloatHistogram>(histogram);
  return ListBuckets(h, h.positive_counts, h.negative_counts);
}

std::string FormatHistogram(const Histogram& histogram) {
  std::string text = "{count:" + FormatValue(HistogramCount(histogram)) + ", sum:" + FormatValue(HistogramSum(histogram));
  for (const HistogramBucket& b : HistogramBuckets(histogram)) {
    text.append(b.lower_inclusive ? ", [" : ", (").append(FormatValue(b.lower)).append(",").append(FormatValue(b.upper));
    text.append(b.upper_inclusive ? "]:" : "):").append(FormatValue(b.count));
  }
  return text.append("}");
}

}  // namespace chronolith::interop

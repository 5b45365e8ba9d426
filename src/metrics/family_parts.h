// What metric families are made of: values with labels, and durations as histograms.
#ifndef CHRONOLITH_METRICS_FAMILY_PARTS_H_
#define CHRONOLITH_METRICS_FAMILY_PARTS_H_

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/stats.h"

// A namespace of its own: both chronolith and prometheus have a MetricType.
namespace chronolith::family_parts {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using MetricLabels = std::vector<ClientMetric::Label>;

// Buckets 2, 4, ... 24 of DurationHistogram: 1 us, 4 us, ... 4.3 s.
inline constexpr int kFirstBucket = 2;
inline constexpr int kLastBucket = 24;
inline constexpr int kBucketStep = 2;

inline MetricFamily Family(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

inline void AddValue(MetricFamily* family, MetricLabels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (family->type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family->metric.push_back(std::move(metric));
}

inline void AddHistogram(MetricFamily* family, MetricLabels labels, const DurationHistogram& h) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.histogram.bucket.reserve((kLastBucket - kFirstBucket) / kBucketStep + 1);
  std::uint64_t below = 0;
  for (int i = 0; i < DurationHistogram::kBuckets; ++i) {
    below += h.counts[static_cast<std::size_t>(i)];
    if (i >= kFirstBucket && i <= kLastBucket && (i - kFirstBucket) % kBucketStep == 0) {
      metric.histogram.bucket.push_back({below, DurationHistogram::UpperBoundSeconds(i)});
    }
  }
  // Not h.count: the cells are read one by one while others add, and le="+Inf" must equal the sum of what was read.
  metric.histogram.sample_count = below;
  metric.histogram.sample_sum = h.sum_seconds;
  family->metric.push_back(std::move(metric));
}

}  // namespace chronolith::family_parts

#endif  // CHRONOLITH_METRICS_FAMILY_PARTS_H_

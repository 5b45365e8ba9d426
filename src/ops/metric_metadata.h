// What a store knows of its metrics: type, unit and help, by metric name.
#ifndef CHRONOLITH_OPS_METRIC_METADATA_H_
#define CHRONOLITH_OPS_METRIC_METADATA_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/work_bounds.h"
#include "chronolith/storage.h"

namespace chronolith::ops {

struct MetricMetadataOptions {
  std::string metric;                // only of this one; "": of all
  std::size_t limit = 0;             // metrics, the first by name; 0: no bound
  std::size_t limit_per_metric = 0;  // different metadata of one metric; 0: no bound
  // Series keep metadata each for itself: of each metric so many are looked at, the oldest of a shard first. All where `metric` is
  // given.
  std::size_t series_looked_at = 64;
  std::size_t metrics_max = 100'000;
  std::uint64_t bytes_max = 32 << 20;  // of the texts
  Deadline deadline = kNoDeadline;
  WorkBounds bounds;  // its share stands for what is found
};

struct MetricMetadata {
  std::map<std::string, std::vector<Metadata>> metrics;  // those that have any; different ones, in the order they were found
  bool limited = false;                                  // `limit` left some out
  bool complete = true;                                  // false: metrics_max, bytes_max or the deadline left some out
  bool partial = false;                                  // damaged shards were left out
};

// Goes over the labels of all series (some 0.5 us each). kResourceExhausted: a shard is still being replayed at the deadline;
// kDataLoss; kCancelled, and what the share refuses.
Result<MetricMetadata> CollectMetricMetadata(Storage* storage, const MetricMetadataOptions& options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_METRIC_METADATA_H_

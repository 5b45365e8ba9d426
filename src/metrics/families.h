// The exposition of StorageStats as Prometheus metric families: names, help texts, labels.
//
// Names read chronolith_<layer>_<noun>_<unit>. Labels come from bounded sets only: shard, lock, level, operation, result, and for
// the engines' figures instance and family. A duration histogram shows every second of its buckets from 1 us to 4.3 s, so that
// sixteen shards stay below 300 KB a scrape.
#ifndef CHRONOLITH_METRICS_FAMILIES_H_
#define CHRONOLITH_METRICS_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <vector>

#include "chronolith/stats.h"

namespace chronolith {

// Every field of `stats` is in the result; families stand in a fixed order and are unique by name.
std::vector<prometheus::MetricFamily> FamiliesOf(const StorageStats& stats);

}  // namespace chronolith

#endif  // CHRONOLITH_METRICS_FAMILIES_H_

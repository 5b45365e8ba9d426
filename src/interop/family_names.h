// What the series of a metric family are called.
#ifndef CHRONOLITH_INTEROP_FAMILY_NAMES_H_
#define CHRONOLITH_INTEROP_FAMILY_NAMES_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/types.h"

namespace chronolith::interop {

// What OpenMetrics adds to the name of a family of this type for its samples: "_bucket", "_count", "_sum" of a histogram. None
// where a type adds nothing.
std::span<const std::string_view> SampleSuffixes(MetricType type);
// Those of all types, each once, and _created.
std::span<const std::string_view> AllSampleSuffixes();

// The family that a series named `metric` belongs to, as a Prometheus that scraped it calls it: without the suffix that histograms
// and summaries add. A counter keeps its _total, an info its _info.
std::string_view MetricFamilyOf(std::string_view metric, MetricType type);
// The names that series of a family may have: its own, and that with each suffix of its type.
std::vector<std::string> SeriesNamesOf(std::string_view family, MetricType type);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_FAMILY_NAMES_H_

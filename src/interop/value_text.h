// Sample values as text.
#ifndef CHRONOLITH_INTEROP_VALUE_TEXT_H_
#define CHRONOLITH_INTEROP_VALUE_TEXT_H_

#include <string>
#include <vector>

#include "chronolith/types.h"

namespace chronolith::interop {

// The shortest decimal that reads back as the same double; NaN, +Inf, -Inf, and StaleNaN for the stale marker. ParseValue reads all
// of them (other NaN payloads become Prometheus' NaN).
std::string FormatValue(double value);

// One bucket of a native histogram with its absolute count. Boundaries are inclusive where marked, as in Prometheus' HTTP API.
struct HistogramBucket {
  double lower = 0, upper = 0;
  bool lower_inclusive = false, upper_inclusive = false;
  double count = 0;
};

double HistogramCount(const Histogram& histogram);
double HistogramSum(const Histogram& histogram);

// The buckets that are not empty, in ascending order, the zero bucket in between. Malformed spans (beyond the buckets there are)
// end the listing early.
std::vector<HistogramBucket> HistogramBuckets(const Histogram& histogram);

// {count:6, sum:18.4, [-0.5,-0.25):1, (1,2]:5}: the way Prometheus prints histograms.
std::string FormatHistogram(const Histogram& histogram);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_VALUE_TEXT_H_

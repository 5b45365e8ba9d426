// OTLP's exponential histograms as native histograms of Prometheus.
#ifndef CHRONOLITH_INTEROP_OTLP_EXPONENTIAL_H_
#define CHRONOLITH_INTEROP_OTLP_EXPONENTIAL_H_

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "interop/otlp/metrics.pb.h"

namespace chronolith::interop::otlp {

// What Prometheus takes for zero where the sender does not say.
inline constexpr double kDefaultZeroThreshold = 1e-128;

// Scales above 8 are merged down to schema 8. A bucket i of OTLP is bucket i + 1 of Prometheus, which counts them by their upper
// bounds. Minimum and maximum have no place there and are dropped. A point without a recorded value becomes a stale marker.
// kInvalidArgument: a scale below -4, counts that do not add up, or more buckets than a store takes.
Result<IntHistogram> NativeHistogram(const ::opentelemetry::proto::metrics::v1::ExponentialHistogramDataPoint& point);

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_EXPONENTIAL_H_

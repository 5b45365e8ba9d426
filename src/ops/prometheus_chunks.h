// Chunks of a series as Prometheus keeps them in its blocks and sends them.
#ifndef CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_
#define CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_

#include <functional>

#include "chronolith/series_set.h"
#include "interop/prometheus_block.h"

namespace chronolith::ops {

// Of schema -53, which Prometheus reads from version 3 on.
bool HasCustomBuckets(const Histogram& histogram);

// Calls `visit` with the chunks in order of time: floats are the stored bytes, histograms are encoded anew. What `visit` gets is
// valid during the call.
enum class CustomBuckets : unsigned char { kEncode, kLeaveOut };
Status ForEachPrometheusChunk(ChunkIterator* chunks, CustomBuckets custom,
                              const std::function<Status(const PrometheusChunk&)>& visit);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_

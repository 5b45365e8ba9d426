// Chunks of a series as Prometheus keeps them in its blocks and sends them.
#ifndef CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_
#define CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_

#include <functional>

#include "chronolith/series_set.h"
#include "interop/prometheus_block.h"

namespace chronolith::ops {

// Calls `visit` with the chunks in order of time: floats are the stored bytes, histograms are encoded anew. What `visit` gets is
// valid during the call. Histograms of custom buckets have no encoding there and are left out; *left_out counts them.
Status ForEachPrometheusChunk(ChunkIterator* chunks, const std::function<Status(const PrometheusChunk&)>& visit,
                              std::uint64_t* left_out);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROMETHEUS_CHUNKS_H_

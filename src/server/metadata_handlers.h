// /api/v1/metadata and /api/v1/query_exemplars, as Prometheus answers them, but that `query` is a series selector and not PromQL.
#ifndef CHRONOLITH_SERVER_METADATA_HANDLERS_H_
#define CHRONOLITH_SERVER_METADATA_HANDLERS_H_

#include <chrono>

#include "chronolith/storage.h"
#include "server/router.h"

namespace chronolith::server {

// /api/v1/metadata (GET): metric, limit, limit_per_metric. By the names of series: a histogram's _bucket, _count and _sum each.
// /api/v1/query_exemplars (GET, POST): query, start and end (inclusive), streamed. An error on the way cuts the answer off.
// `storage` must outlive the router.
void AddMetadataHandlers(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_METADATA_HANDLERS_H_

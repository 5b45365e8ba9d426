// /api/v1/status/tsdb: which metrics and labels make the most series, as Prometheus answers it.
#ifndef CHRONOLITH_SERVER_TSDB_STATUS_HANDLER_H_
#define CHRONOLITH_SERVER_TSDB_STATUS_HANDLER_H_

#include "server/live_cardinality.h"
#include "server/router.h"

namespace chronolith::server {

// `limit` (10; at most 10,000) is the length of the lists. The counts are of the whole store, where Prometheus counts its head;
// chunkCount, minTime and maxTime are of what is in memory, as there. What was left out stands in `warnings`.
// `cardinality` must outlive the router.
void AddTsdbStatusHandler(LiveCardinality* cardinality, MemoryBudget* in_flight, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_TSDB_STATUS_HANDLER_H_

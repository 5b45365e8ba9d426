// /api/v1/series, /api/v1/labels and /api/v1/label/{name}/values, by GET and POST, as Prometheus has them.
#ifndef CHRONOLITH_SERVER_LOOKUP_HANDLERS_H_
#define CHRONOLITH_SERVER_LOOKUP_HANDLERS_H_

#include <chrono>

#include "chronolith/env.h"
#include "chronolith/storage.h"
#include "server/router.h"

namespace chronolith::server {

// match[] is a selector; several are united. Shards that are damaged or still being replayed are left out, with a warning. The
// results are in the order of their bytes; more series than 16,384 in order within pieces of so many, or of fewer where there is
// little memory. What is in memory of a result is counted in `in_flight` until the client has taken it: others have it, 503; it is
// too much by itself, 422. `storage` must outlive the router.
void AddLookupHandlers(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds timeout, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_LOOKUP_HANDLERS_H_

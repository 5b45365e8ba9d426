// /api/v1/export: series as JSON lines (interop/json_lines.h), by GET and POST.
#ifndef CHRONOLITH_SERVER_EXPORT_HANDLER_H_
#define CHRONOLITH_SERVER_EXPORT_HANDLER_H_

#include <chrono>

#include "chronolith/storage.h"
#include "server/router.h"

namespace chronolith::server {

// match[] (at least one), start and end as the other calls have them; streamed, in pieces of some 65,000 series, each in order. An
// error on the way cuts the answer off. 503 where the series are not found within `find_timeout`, as while a shard is still being
// replayed: who waited for that longer would keep a worker from those who could be served. `storage` must outlive the router.
void AddExportHandler(Storage* storage, MemoryBudget* in_flight, std::chrono::milliseconds find_timeout, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_EXPORT_HANDLER_H_

// /-/healthy, /-/ready and /metrics: what a supervisor, a load balancer and a Prometheus ask.
#ifndef CHRONOLITH_SERVER_HEALTH_HANDLERS_H_
#define CHRONOLITH_SERVER_HEALTH_HANDLERS_H_

#include <prometheus/registry.h>

#include <memory>

#include "chronolith/storage.h"
#include "server/http_metrics.h"
#include "server/router.h"

namespace chronolith::server {

// /-/healthy   200 as long as the process answers.
// /-/ready     200 where every shard serves or is quarantined, else 503 with Retry-After: JSON {"ready":bool,"reason":"...",
//              "shards":[{"shard":0,"state":"serving"|"replaying"|"quarantined",...}]}. Not where the log has failed. Reasons that
//              name files are for those whom the server knows, where it asks for users.
// /metrics     families of the store, of the requests, of the process, and of `registry`, where other handlers keep theirs (may be
//              null).
// None of them needs a worker: they answer also while all of those are taken. All must outlive the server.
void AddHealthHandlers(Storage* storage, const HttpMetrics* metrics, std::shared_ptr<prometheus::Registry> registry,
                       Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_HEALTH_HANDLERS_H_

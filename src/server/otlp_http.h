// POST /v1/metrics: OTLP over HTTP, in Protocol Buffers and in JSON, as they are or in gzip.
//
//   200  ExportMetricsServiceResponse, in the request's type; partial_success says what was rejected, for good
//   400  malformed: nothing was written
//   413  decoded larger than the limit; 415 another Content-Type or Content-Encoding
//   429  overload, 503 the log failed: send all of it again, which changes nothing that was written; Retry-After
// Errors have a google.rpc.Status as their body. What was written has reached the level: --ack-level, or the request's header
// X-Chronolith-Ack-Level.
#ifndef CHRONOLITH_SERVER_OTLP_HTTP_H_
#define CHRONOLITH_SERVER_OTLP_HTTP_H_

#include "chronolith/env.h"
#include "server/otlp_receiver.h"
#include "server/router.h"

namespace chronolith::server {

// `in_flight`: counts what is decoded. Both must outlive the server.
void AddOtlpHandler(OtlpReceiver* receiver, MemoryBudget* in_flight, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_OTLP_HTTP_H_

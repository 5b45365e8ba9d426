// Prometheus remote read at /api/v1/read: SAMPLES and STREAMED_XOR_CHUNKS.
#ifndef CHRONOLITH_SERVER_REMOTE_READ_HANDLER_H_
#define CHRONOLITH_SERVER_REMOTE_READ_HANDLER_H_

#include <chrono>
#include <cstdint>

#include "chronolith/env.h"
#include "chronolith/storage.h"
#include "server/router.h"

namespace chronolith::server {

struct RemoteReadOptions {
  std::chrono::milliseconds timeout{120'000};        // of a request, streaming included
  std::uint64_t request_bytes_max = 1 << 20;         // compressed
  std::uint64_t decoded_bytes_max = 32 << 20;        // of a request
  std::uint64_t samples_bytes_max = 256ULL << 20;    // of an answer of samples, before it is compressed: beyond, 413
  std::uint64_t frame_bytes_max = (1 << 20) - 1024;  // of the chunks in a frame, but for one that is larger by itself
};

// An answer is refused as a whole (500) where a damaged shard would be missing in it, and (503) while a shard is being replayed:
// half an answer would pass for a whole one. Streamed chunks of floats are the stored bytes. Requests are counted in `in_flight`
// before they are decoded, and answers of samples while they grow: 429 where others have taken it. Native histograms of custom
// buckets have no chunk encoding: streams leave them out. `storage` and `in_flight` must outlive the router.
void AddRemoteReadHandler(Storage* storage, MemoryBudget* in_flight, const RemoteReadOptions& options, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_REMOTE_READ_HANDLER_H_

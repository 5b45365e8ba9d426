// What gRPC itself has to say.
#ifndef CHRONOLITH_SERVER_GRPC_LOG_H_
#define CHRONOLITH_SERVER_GRPC_LOG_H_

#include <memory>

#include "chronolith/env.h"

namespace chronolith::server {

// gRPC writes to stderr what it finds wrong with clients, such as TLS handshakes that fail: nobody must fill a disk with that. From
// now on ten lines a minute of it are warnings of this logger, of all servers of the process, and the others are dropped. Why it
// aborts is an error, always. Thread safety: safe.
void SendGrpcLogTo(std::shared_ptr<Logger> logger);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_GRPC_LOG_H_

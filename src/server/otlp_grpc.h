// OtlpGrpcServer: OTLP over gRPC, MetricsService/Export.
//
//   OK                  partial_success says what was rejected, for good
//   INVALID_ARGUMENT    malformed, or decoded larger than the limit: nothing was written
//   RESOURCE_EXHAUSTED  overload, with RetryInfo, or a message larger than the limit (without: gRPC refuses it before it is read)
//   DEADLINE_EXCEEDED   its message did not come within the time that there is for it
//   UNAVAILABLE         the log failed: try again; or the port cannot keep what the web configuration asks for since it was loaded
//   again UNAUTHENTICATED     the web configuration knows users, and the call's metadata `authorization` names none: nothing was
//   read
// What was written has reached the level: --ack-level, or the call's metadata x-chronolith-ack-level.
#ifndef CHRONOLITH_SERVER_OTLP_GRPC_H_
#define CHRONOLITH_SERVER_OTLP_GRPC_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "chronolith/env.h"
#include "chronolith/result.h"
#include "server/grpc_metrics.h"
#include "server/otlp_receiver.h"
#include "server/web_security.h"
#include "server/worker_pool.h"

namespace chronolith::server {

struct OtlpGrpcOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free one
  std::size_t connections_max = 8192;
  // What gRPC may hold of all connections and messages that are being received. It reads a whole message before it looks at its
  // length, so this is the bound that counts. Half as much, at 16 KiB each, is the bound of calls that are open.
  std::uint64_t memory_bytes = 128ULL << 20;
  int streams_max = 128;  // of one connection at the same time
  std::chrono::milliseconds idle_timeout{300'000};
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds message_timeout{60'000};    // from a call's headers to the last byte of its message
  std::chrono::milliseconds keepalive{60'000};          // a silent client is asked
  std::chrono::milliseconds keepalive_timeout{20'000};  // and cut off, where it does not answer
  // A connection older than this (a tenth more or less) is told to come again, and cut off after the grace: so a call ends although
  // its client gave it no deadline, and clients spread over what stands behind one address.
  std::chrono::milliseconds age_max{1'800'000};
  std::chrono::milliseconds age_grace{60'000};
  std::chrono::milliseconds ping_interval_min{10'000};  // clients that ask more often are cut off
};

// All must outlive the server.
struct OtlpGrpcParts {
  OtlpReceiver* receiver = nullptr;
  MemoryBudget* in_flight = nullptr;            // counts what is decoded
  GrpcMetrics* metrics = nullptr;               // null: nothing is counted
  const WebSecuritySource* security = nullptr;  // TLS and users; null: neither
  WorkerPool* workers = nullptr;                // for passwords that are not known yet; needed with `security`
  std::shared_ptr<Logger> logger;               // null: silent
};

// Calls run on gRPC's threads (half the cores, two at least) and do not wait for the log there: the answer goes out when the store
// says that the level is reached. Thread safety: Start and Stop on one thread.
class OtlpGrpcServer {
 public:
  // kInvalidArgument or kFailedPrecondition: it cannot listen there, or not with such TLS.
  static Result<std::unique_ptr<OtlpGrpcServer>> Start(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts);
  // Stops at once.
  ~OtlpGrpcServer();
  OtlpGrpcServer(const OtlpGrpcServer&) = delete;
  OtlpGrpcServer& operator=(const OtlpGrpcServer&) = delete;

  std::uint16_t port() const;
  std::string address() const;  // "127.0.0.1:4317", "[::1]:4317"
  // Certificates, keys, authorities and users are those of the newest configuration. Whether there is TLS, and whether clients show
  // certificates, are those of Start: where the configuration has changed that since, this is false and each call is refused.
  bool KeepsConfiguration() const;

  // Takes no more calls, finishes those that have begun, for `grace` at most, then cancels what is left: also what waits for a log
  // that stands still. The store must still be open.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit OtlpGrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_OTLP_GRPC_H_

// What the server counts of its requests and connections, as metric families beside those of the store.
#ifndef CHRONOLITH_SERVER_HTTP_METRICS_H_
#define CHRONOLITH_SERVER_HTTP_METRICS_H_

#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/counters.h"
#include "base/mutex.h"
#include "server/grpc_metrics.h"

namespace chronolith::server {

// Requests of one handler. Thread safety: safe.
class HandlerMetrics {
 public:
  explicit HandlerMetrics(std::string handler) : handler_(std::move(handler)) {}
  void Observe(int status, std::uint64_t nanos, std::uint64_t request_bytes, std::uint64_t response_bytes) {
    if (status >= 100 && status < 600) codes_[static_cast<std::size_t>(status - 100)].Add();
    duration_.Observe(nanos);
    request_bytes_.Add(request_bytes);
    response_bytes_.Add(response_bytes);
  }

 private:
  friend class HttpMetrics;
  const std::string handler_;
  std::array<SharedCounter, 500> codes_;
  DurationCell duration_;  // from the end of the request's header until the answer was handed to the system
  SharedCounter request_bytes_;
  SharedCounter response_bytes_;
};

// Shared by the listeners of a process. Thread safety: safe.
class HttpMetrics {
 public:
  // The same object for the same name; lives as long as this. Names come from routes, so they are few.
  HandlerMetrics* Of(std::string_view handler);
  void AddTo(std::vector<prometheus::MetricFamily>* families) const;

  GrpcMetrics grpc;  // of the listener for gRPC, where there is one

  SharedCounter connections;  // open now
  SharedCounter connections_accepted;
  SharedCounter connections_refused;   // beyond the limit of connections
  SharedCounter requests_in_flight;    // with a whole header, not yet answered
  SharedCounter body_bytes_in_flight;  // of requests and responses, held in memory
  SharedCounter overloaded;            // answered 429: workers or memory were taken, or the store has no room
  SharedCounter streams;               // being sent now
  SharedCounter streams_refused;       // answered 503 because as many as may be were being sent

 private:
  mutable Mutex mu_;
  std::deque<HandlerMetrics> handlers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_HTTP_METRICS_H_

// What is counted of calls over gRPC, beside the requests over HTTP.
#ifndef CHRONOLITH_SERVER_GRPC_METRICS_H_
#define CHRONOLITH_SERVER_GRPC_METRICS_H_

#include <prometheus/metric_family.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/counters.h"

namespace chronolith::server {

// Thread safety: safe.
class GrpcMetrics {
 public:
  static constexpr std::size_t kCodes = 17;  // gRPC's, from OK to UNAUTHENTICATED
  void Begin() { in_flight_.Add(); }
  void End(int code, std::uint64_t nanos) {
    in_flight_.Sub(1);
    if (code >= 0 && static_cast<std::size_t>(code) < kCodes) codes_[static_cast<std::size_t>(code)].Add();
    duration_.Observe(nanos);
  }
  void AddBytes(std::uint64_t bytes) { bytes_.Add(bytes); }
  void SetConnections(std::uint64_t n) { connections_.store(n, std::memory_order_relaxed); }
  void CountRefusedConnection() { connections_refused_.Add(); }
  void CountShutDown() { connections_shut_down_.Add(); }
  std::uint64_t in_flight() const { return in_flight_.Get(); }
  std::uint64_t connections_shut_down() const { return connections_shut_down_.Get(); }
  void AddTo(std::vector<prometheus::MetricFamily>* families) const;

 private:
  std::array<SharedCounter, kCodes> codes_;
  DurationCell duration_;  // from the headers until the answer
  SharedCounter bytes_;
  SharedCounter in_flight_;
  std::atomic<std::uint64_t> connections_{0};
  SharedCounter connections_refused_, connections_shut_down_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_GRPC_METRICS_H_

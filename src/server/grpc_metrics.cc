#include "server/grpc_metrics.h"

#include <string_view>
#include <utility>

#include "metrics/family_parts.h"

namespace chronolith::server {

using family_parts::AddHistogram;
using family_parts::AddValue;
using family_parts::Family;
using family_parts::MetricFamily;

namespace {

constexpr std::array<std::string_view, GrpcMetrics::kCodes> kNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

}  // namespace

void GrpcMetrics::AddTo(std::vector<MetricFamily>* families) const {
  using enum prometheus::MetricType;
  MetricFamily calls = Family("chronolith_grpc_calls_total", "Calls over gRPC that were answered, by status code.", Counter);
  for (std::size_t i = 0; i < kCodes; ++i) {
    const std::uint64_t n = codes_[i].Get();
    if (n > 0 || i == 0) AddValue(&calls, {{"code", std::string(kNames[i])}}, static_cast<double>(n));
  }
  MetricFamily duration =
      Family("chronolith_grpc_call_duration_seconds", "From a call's headers until it was answered.", Histogram);
  AddHistogram(&duration, {}, duration_.Snapshot());
  MetricFamily bytes = Family("chronolith_grpc_request_bytes_total", "Bytes of messages over gRPC, as they were sent.", Counter);
  AddValue(&bytes, {}, static_cast<double>(bytes_.Get()));
  MetricFamily in_flight = Family("chronolith_grpc_calls_in_flight", "Calls over gRPC that wait for their answer.", Gauge);
  AddValue(&in_flight, {}, static_cast<double>(in_flight_.Get()));
  MetricFamily connections = Family("chronolith_grpc_connections", "Open connections of gRPC, as of the last seconds.", Gauge);
  AddValue(&connections, {}, static_cast<double>(connections_.load(std::memory_order_relaxed)));
  MetricFamily refused = Family("chronolith_grpc_connections_refused_total",
                                "Connections of gRPC that were closed at once, since there were as many as may be.", Counter);
  AddValue(&refused, {}, static_cast<double>(connections_refused_.Get()));
  MetricFamily shut_down =
      Family("chronolith_grpc_connections_shut_down_total",
             "Connections of gRPC that were shut down: too many calls, answers not taken, or bytes that became no call.", Counter);
  AddValue(&shut_down, {}, static_cast<double>(connections_shut_down_.Get()));
  for (MetricFamily* family : {&calls, &duration, &bytes, &in_flight, &connections, &refused, &shut_down}) {
    families->push_back(std::move(*family));
  }
}

}  // namespace chronolith::server

#include "server/http_metrics.h"

#include <utility>

#include "metrics/family_parts.h"

namespace chronolith::server {

using family_parts::AddHistogram;
using family_parts::AddValue;
using family_parts::Family;
using family_parts::MetricFamily;
using family_parts::MetricLabels;

HandlerMetrics* HttpMetrics::Of(std::string_view handler) {
  MutexLock lock(&mu_);
  for (HandlerMetrics& known : handlers_) {
    if (known.handler_ == handler) return &known;
  }
  return &handlers_.emplace_back(std::string(handler));
}

void HttpMetrics::AddTo(std::vector<prometheus::MetricFamily>* families) const {
  using enum prometheus::MetricType;
  MetricFamily requests = Family("chronolith_http_requests_total", "Requests answered, by handler and status code.", Counter);
  MetricFamily duration = Family("chronolith_http_request_duration_seconds",
                                 "From the end of a request's header until its answer was sent, by handler.", Histogram);
  MetricFamily in = Family("chronolith_http_request_bytes_total", "Bytes of request bodies, as they were sent.", Counter);
  MetricFamily out = Family("chronolith_http_response_bytes_total", "Bytes of response bodies.", Counter);
  {
    MutexLock lock(&mu_);
    for (const HandlerMetrics& handler : handlers_) {
      const MetricLabels labels = {{"handler", handler.handler_}};
      for (std::size_t i = 0; i < handler.codes_.size(); ++i) {
        const std::uint64_t n = handler.codes_[i].Get();
        if (n > 0) AddValue(&requests, {labels[0], {"code", std::to_string(i + 100)}}, static_cast<double>(n));
      }
      AddHistogram(&duration, labels, handler.duration_.Snapshot());
      AddValue(&in, labels, static_cast<double>(handler.request_bytes_.Get()));
      AddValue(&out, labels, static_cast<double>(handler.response_bytes_.Get()));
    }
  }
  for (MetricFamily* family : {&requests, &duration, &in, &out}) families->push_back(std::move(*family));

  const auto value = [&](const char* name, const char* help, prometheus::MetricType type, const SharedCounter& counter) {
    families->push_back(Family(name, help, type));
    AddValue(&families->back(), {}, static_cast<double>(counter.Get()));
  };
  value("chronolith_http_connections", "Connections open now.", Gauge, connections);
  value("chronolith_http_connections_accepted_total", "Connections accepted.", Counter, connections_accepted);
  value("chronolith_http_connections_refused_total", "Connections closed at once, beyond the limit.", Counter, connections_refused);
  value("chronolith_http_requests_in_flight", "Requests being read or answered.", Gauge, requests_in_flight);
  value("chronolith_http_body_bytes_in_flight", "Bytes of bodies held in memory.", Gauge, body_bytes_in_flight);
  value("chronolith_http_overloaded_total", "Requests answered 429: no worker or no memory was free, or the disk is nearly full.",
        Counter, overloaded);
  value("chronolith_http_streams", "Answers being streamed now, each of which holds a worker.", Gauge, streams);
  value("chronolith_http_streams_refused_total", "Requests answered 503: as many answers were being streamed as may be.", Counter,
        streams_refused);
  grpc.AddTo(families);
}

}  // namespace chronolith::server

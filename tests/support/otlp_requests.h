// Requests of OTLP, and their compression.
#ifndef CHRONOLITH_TESTS_SUPPORT_OTLP_REQUESTS_H_
#define CHRONOLITH_TESTS_SUPPORT_OTLP_REQUESTS_H_

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "interop/otlp/metrics_service.pb.h"

namespace chronolith::testing {

// As gzip or as zlib.
inline std::string Compress(std::string_view bytes, bool gzip = true) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, gzip ? 31 : 15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, bytes.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

// One more metric, with one point, in the request's first scope.
inline ::opentelemetry::proto::metrics::v1::NumberDataPoint* AddGauge(
    ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest* request, const std::string& name,
    std::uint64_t time_nanos, double value) {
  if (request->resource_metrics_size() == 0) request->add_resource_metrics()->add_scope_metrics();
  auto* metric = request->mutable_resource_metrics(0)->mutable_scope_metrics(0)->add_metrics();
  metric->set_name(name);
  auto* point = metric->mutable_gauge()->add_data_points();
  point->set_time_unix_nano(time_nanos);
  point->set_as_double(value);
  return point;
}

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_OTLP_REQUESTS_H_

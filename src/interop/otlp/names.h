// Names of OpenTelemetry as names of Prometheus, by OpenTelemetry's compatibility rules (the form with underscores and suffixes).
#ifndef CHRONOLITH_INTEROP_OTLP_NAMES_H_
#define CHRONOLITH_INTEROP_OTLP_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace chronolith::interop::otlp {

enum class MetricKind : std::uint8_t { kGauge, kCounter, kUpDownCounter, kHistogram, kExponentialHistogram, kSummary };

// "http.server.duration", "s", kHistogram: "http_server_duration_seconds". "" where nothing of the name is left.
std::string PrometheusMetricName(std::string_view name, std::string_view unit, MetricKind kind);

// "By/s": "bytes_per_second". "" for none.
std::string PrometheusUnit(std::string_view unit);

// "k8s.pod.name": "k8s_pod_name"; "1st": "key_1st". Never empty where `key` is not.
std::string PrometheusLabelName(std::string_view key);

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_NAMES_H_

#include <gtest/gtest.h>

#include <string>

#include "interop/otlp/names.h"

namespace chronolith::interop::otlp {
namespace {

struct NameCase {
  const char* name;
  const char* unit;
  MetricKind kind;
  const char* expected;
};

class MetricName : public testing::TestWithParam<NameCase> {};

TEST_P(MetricName, FollowsTheCompatibilityRules) {
  const NameCase& c = GetParam();
  EXPECT_EQ(PrometheusMetricName(c.name, c.unit, c.kind), c.expected) << c.name << " [" << c.unit << "]";
}

constexpr MetricKind G = MetricKind::kGauge, C = MetricKind::kCounter, U = MetricKind::kUpDownCounter, H = MetricKind::kHistogram;

INSTANTIATE_TEST_SUITE_P(
    Rules, MetricName,
    testing::Values(
        NameCase{"http.server.duration", "s", H, "http_server_duration_seconds"},
        NameCase{"http.server.duration_seconds", "s", H, "http_server_duration_seconds"},
        NameCase{"system.memory.usage", "By", U, "system_memory_usage_bytes"},
        NameCase{"system.io", "By", C, "system_io_bytes_total"}, NameCase{"requests", "", C, "requests_total"},
        NameCase{"requests.total", "", C, "requests_total"}, NameCase{"total.requests", "", C, "requests_total"},
        NameCase{"cpu_seconds_total", "s", C, "cpu_seconds_total"},
        NameCase{"throughput", "By/s", G, "throughput_bytes_per_second"},
        NameCase{"requests", "1/s", C, "requests_per_second_total"}, NameCase{"speed", "m/min", G, "speed_meters_per_minute"},
        NameCase{"cpu.utilization", "1", G, "cpu_utilization_ratio"}, NameCase{"cpu_ratio", "1", G, "cpu_ratio"},
        NameCase{"items", "1", C, "items_total"}, NameCase{"queue.length", "{items}", G, "queue_length"},
        NameCase{"rate", "By/{request}", G, "rate_bytes"}, NameCase{"fill", "%", G, "fill_percent"},
        NameCase{"custom", "foo bar", G, "custom_foo_bar"}, NameCase{"metric@@with..#chars", "", G, "metric_with_chars"},
        NameCase{"_leading__and_trailing_", "", G, "leading_and_trailing"}, NameCase{"404.responses", "", G, "_404_responses"},
        NameCase{"a:rule:b", "", G, "a:rule:b"}, NameCase{"temp", "Cel", G, "temp_celsius"}, NameCase{"", "s", G, ""},
        NameCase{"字符", "s", G, ""}, NameCase{"...", "", C, ""}));

TEST(UnitName, IsInWords) {
  EXPECT_EQ(PrometheusUnit("By"), "bytes");
  EXPECT_EQ(PrometheusUnit("By/s"), "bytes_per_second");
  EXPECT_EQ(PrometheusUnit("1/s"), "per_second");
  EXPECT_EQ(PrometheusUnit("1"), "");
  EXPECT_EQ(PrometheusUnit("{requests}"), "");
  EXPECT_EQ(PrometheusUnit("MiBy"), "mebibytes");
  EXPECT_EQ(PrometheusUnit(""), "");
  EXPECT_EQ(PrometheusUnit("/"), "");
}

TEST(LabelName, KeepsToPrometheusCharacters) {
  EXPECT_EQ(PrometheusLabelName("k8s.pod.name"), "k8s_pod_name");
  EXPECT_EQ(PrometheusLabelName("label:with:colons"), "label_with_colons");
  EXPECT_EQ(PrometheusLabelName("a!&b"), "a_b");
  EXPECT_EQ(PrometheusLabelName("1st"), "key_1st");
  EXPECT_EQ(PrometheusLabelName("_hidden"), "key_hidden");
  EXPECT_EQ(PrometheusLabelName("__reserved__"), "__reserved__");
  EXPECT_EQ(PrometheusLabelName("字符"), "key_");
  EXPECT_EQ(PrometheusLabelName(""), "");
}

}  // namespace
}  // namespace chronolith::interop::otlp

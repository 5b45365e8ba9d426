#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "interop/otlp/json.h"
#include "interop/otlp/metrics_service.pb.h"

namespace chronolith::interop::otlp {
namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::testing::HasSubstr;

ExportMetricsServiceRequest Read(std::string_view json) {
  ExportMetricsServiceRequest request;
  const auto wire = JsonToWire(json, *ExportMetricsServiceRequest::descriptor());
  EXPECT_TRUE(wire.ok()) << wire.status().ToString();
  EXPECT_TRUE(wire.ok() && request.ParseFromString(*wire));
  return request;
}

std::string WhyNot(std::string_view json) {
  const auto wire = JsonToWire(json, *ExportMetricsServiceRequest::descriptor());
  return wire.ok() ? "taken" : wire.status().message();
}

std::string Point(std::string_view members) {
  return R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{)" + std::string(members) +
         "}]}}]}]}]}";
}

pb::NumberDataPoint ReadPoint(std::string_view members) {
  const auto request = Read(Point(members));
  return request.resource_metrics(0).scope_metrics(0).metrics(0).gauge().data_points(0);
}

// The example of opentelemetry-proto, in short.
TEST(OtlpJson, ReadsWhatExportersSend) {
  const auto request = Read(R"({
    "resourceMetrics": [{
      "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
      "scopeMetrics": [{
        "scope": {"name": "my.library", "version": "1.0.0", "attributes": [{"key": "a", "value": {"boolValue": true}}]},
        "metrics": [
          {"name": "my.counter", "unit": "1", "description": "I am a Counter",
           "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
             {"asDouble": 5, "startTimeUnixNano": "1544712660300000000", "timeUnixNano": "1544712660300000000",
              "attributes": [{"key": "my.counter.attr", "value": {"stringValue": "some value"}}]}]}},
          {"name": "my.histogram", "histogram": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
             {"timeUnixNano": 1544712660300000000, "count": 2, "sum": 2, "bucketCounts": [1, "1"], "explicitBounds": [1], "min": 0}]}},
          {"name": "my.exponential", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
             {"timeUnixNano": "1544712660300000000", "count": 3, "scale": -2, "zeroCount": 1,
              "positive": {"offset": -1, "bucketCounts": [0, 2]}, "zeroThreshold": 0.5}]}}]}]}]})");
  const auto& resource = request.resource_metrics(0);
  EXPECT_EQ(resource.resource().attributes(0).value().string_value(), "my.service");
  const auto& scope = resource.scope_metrics(0);
  EXPECT_EQ(scope.scope().version(), "1.0.0");
  EXPECT_TRUE(scope.scope().attributes(0).value().bool_value());
  ASSERT_EQ(scope.metrics_size(), 3);
  EXPECT_EQ(scope.metrics(0).sum().aggregation_temporality(), pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  EXPECT_TRUE(scope.metrics(0).sum().is_monotonic());
  EXPECT_EQ(scope.metrics(0).sum().data_points(0).as_double(), 5);
  EXPECT_EQ(scope.metrics(0).sum().data_points(0).time_unix_nano(), 1544712660300000000U);
  const auto& histogram = scope.metrics(1).histogram();
  EXPECT_EQ(histogram.aggregation_temporality(), pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  EXPECT_EQ(histogram.data_points(0).bucket_counts_size(), 2);
  EXPECT_EQ(histogram.data_points(0).explicit_bounds(0), 1);
  const auto& exponential = scope.metrics(2).exponential_histogram().data_points(0);
  EXPECT_EQ(exponential.scale(), -2);
  EXPECT_EQ(exponential.positive().offset(), -1);
  EXPECT_EQ(exponential.positive().bucket_counts(1), 2U);
  EXPECT_EQ(exponential.zero_threshold(), 0.5);
}

TEST(OtlpJson, IdsAreHexadecimalAndOtherBytesBase64) {
  const auto point =
      ReadPoint(R"("asInt":"-3","exemplars":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174",
    "asDouble":1.5,"filteredAttributes":[{"key":"b","value":{"bytesValue":"AQL/"}}]}])");
  EXPECT_EQ(point.as_int(), -3);
  ASSERT_EQ(point.exemplars_size(), 1);
  EXPECT_EQ(point.exemplars(0).trace_id().size(), 16U);
  EXPECT_EQ(point.exemplars(0).trace_id().substr(0, 2), "\x5b\x8e");
  EXPECT_EQ(point.exemplars(0).span_id().size(), 8U);
  EXPECT_EQ(point.exemplars(0).filtered_attributes(0).value().bytes_value(), "\x01\x02\xff");
}

TEST(OtlpJson, TakesBothFormsOfNumbersAndPassesUnknownMembersBy) {
  EXPECT_EQ(ReadPoint(R"("asInt":7)").as_int(), 7);
  EXPECT_EQ(ReadPoint(R"("asInt":"7")").as_int(), 7);
  EXPECT_EQ(ReadPoint(R"("asInt":1e3)").as_int(), 1000);
  EXPECT_EQ(ReadPoint(R"("as_int":7)").as_int(), 7);
  EXPECT_EQ(ReadPoint(R"("asInt":"-9223372036854775808")").as_int(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(ReadPoint(R"("timeUnixNano":"18446744073709551615")").time_unix_nano(), ~0ULL);
  EXPECT_TRUE(std::isnan(ReadPoint(R"("asDouble":"NaN")").as_double()));
  EXPECT_EQ(ReadPoint(R"("asDouble":"-Infinity")").as_double(), -INFINITY);
  EXPECT_EQ(ReadPoint(R"("later":{"x":[1,{"y":null}]},"asInt":1,"exemplars":null)").as_int(), 1);
  EXPECT_EQ(ReadPoint(R"("attributes":[{"key":"k","value":{"stringValue":"\u00e4\"\n"}}])").attributes(0).value().string_value(),
            "ä\"\n");
}

TEST(OtlpJson, RefusesWhatDoesNotFit) {
  EXPECT_THAT(WhyNot(""), testing::Not("taken"));
  EXPECT_THAT(WhyNot("[]"), HasSubstr("an object"));
  EXPECT_THAT(WhyNot("{} {}"), testing::Not("taken"));
  EXPECT_THAT(WhyNot(R"({"resourceMetrics":{}})"), HasSubstr("a list"));
  EXPECT_THAT(WhyNot(R"({"resourceMetrics":[1]})"), HasSubstr("an object"));
  EXPECT_THAT(WhyNot(R"({"resourceMetrics":[{])"), testing::Not("taken"));
  EXPECT_THAT(WhyNot(Point(R"("asInt":1.5)")), HasSubstr("asInt cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("asInt":9223372036854775808)")), HasSubstr("asInt cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("timeUnixNano":-1)")), HasSubstr("timeUnixNano cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("timeUnixNano":"18446744073709551616")")), HasSubstr("timeUnixNano cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("asDouble":"one")")), HasSubstr("asDouble cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("asDouble":true)")), HasSubstr("asDouble cannot be"));
  EXPECT_THAT(WhyNot(Point(R"("exemplars":[{"traceId":"xyz"}])")), HasSubstr("traceId is not hexadecimal"));
  EXPECT_THAT(WhyNot(Point(R"("attributes":[{"key":5}])")), HasSubstr("key"));
  EXPECT_THAT(WhyNot("{\"resourceMetrics\":[{\"schemaUrl\":\"\xff\"}]}"), testing::Not("taken"));
}

TEST(OtlpJson, BoundsTheDepth) {
  const auto nested = [](int depth) {
    std::string value = R"({"stringValue":"x"})";
    for (int i = 0; i < depth; ++i) value = R"({"arrayValue":{"values":[)" + value + "]}}";
    return Point(R"("attributes":[{"key":"k","value":)" + value + "}]");
  };
  EXPECT_EQ(WhyNot(nested(10)), "taken");
  EXPECT_THAT(WhyNot(nested(40)), HasSubstr("nested more than 64 deep"));
  EXPECT_THAT(WhyNot(nested(5000)), testing::Not("taken"));
}

TEST(OtlpJson, AnswersInJson) {
  EXPECT_EQ(ResponseJson(0, ""), "{}");
  const auto partial = nlohmann::json::parse(ResponseJson(3, "a \"quoted\" reason"));
  EXPECT_EQ(partial["partialSuccess"]["rejectedDataPoints"], "3");
  EXPECT_EQ(partial["partialSuccess"]["errorMessage"], "a \"quoted\" reason");
  const auto status = nlohmann::json::parse(StatusJson(8, "later"));
  EXPECT_EQ(status["code"], 8);
  EXPECT_EQ(status["message"], "later");
}

}  // namespace
}  // namespace chronolith::interop::otlp

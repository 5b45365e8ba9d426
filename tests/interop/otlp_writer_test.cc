// OTLP requests, made with the generated classes, against what is then stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "chronolith/engine_registry.h"
#include "interop/otlp/metrics_service.pb.h"
#include "interop/otlp/metrics_writer.h"
#include "interop/value_text.h"
#include "plugins/memory/memory_engine.h"
#include "tests/support/temp_directory.h"

namespace chronolith::interop::otlp {
namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr Timestamp kNow = 1'790'000'000'000;
constexpr std::uint64_t kNanos = static_cast<std::uint64_t>(kNow) * 1'000'000 + 999'999;

class FixedClock : public Clock {
 public:
  std::int64_t NowMs() const override { return kNow; }
};

class OtlpWriter : public testing::Test {
 protected:
  OtlpWriter() {
    options_.engine = "memory";
    options_.shards = 4;
    options_.clock = std::make_shared<FixedClock>();
  }
  void Open() {
    store_ = Storage::Open(options_, directory_ / "db").value();
    MetricsWriterOptions o;
    o.clock = options_.clock;
    o.cache_bytes = cache_bytes_;
    writer_ = std::make_unique<MetricsWriter>(store_.get(), o);
  }
  MetricsWritten Write(const ExportMetricsServiceRequest& request) { return WriteBytes(request.SerializeAsString()); }
  MetricsWritten WriteBytes(const std::string& bytes) {
    if (store_ == nullptr) Open();
    return writer_->Write(bytes, {}, nullptr);
  }
  // Series -> "time value" of its samples; times relative to kNow.
  std::map<std::string, std::vector<std::string>> Stored() {
    std::map<std::string, std::vector<std::string>> all;
    auto set = store_->Select({}, {}).value();
    while (set->Next()) {
      std::vector<std::string>& samples = all[set->labels().ToString()];
      for (ValueType type; (type = set->samples().Next()) != ValueType::kNone;) {
        const std::string time = std::to_string(set->samples().timestamp() - kNow) + " ";
        samples.push_back(
            time + (type == ValueType::kFloat ? FormatValue(set->samples().value()) : FormatHistogram(set->samples().histogram())));
      }
    }
    EXPECT_TRUE(set->status().ok());
    return all;
  }

  testing_support::TempDirectory directory_;
  Options options_;
  std::size_t cache_bytes_ = 1 << 20;
  std::unique_ptr<Storage> store_;
  std::unique_ptr<MetricsWriter> writer_;
};

template <typename Message>
void SetAttribute(Message* to, const std::string& key, const std::string& value) {
  auto* attribute = to->add_attributes();
  attribute->set_key(key);
  attribute->mutable_value()->set_string_value(value);
}

pb::Metric* AddMetric(ExportMetricsServiceRequest* request, const std::string& name, const std::string& unit = "") {
  if (request->resource_metrics_size() == 0) request->add_resource_metrics()->add_scope_metrics();
  pb::Metric* metric = request->mutable_resource_metrics(0)->mutable_scope_metrics(0)->add_metrics();
  metric->set_name(name);
  metric->set_unit(unit);
  return metric;
}

template <typename Data>
auto* AddPoint(Data* data) {
  auto* point = data->add_data_points();
  point->set_time_unix_nano(kNanos);
  return point;
}

template <typename Data>
Data* Cumulative(Data* data) {
  data->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  return data;
}

TEST_F(OtlpWriter, StoresGaugesOfBothNumberTypes) {
  ExportMetricsServiceRequest request;
  pb::Metric* metric = AddMetric(&request, "room.temperature", "Cel");
  auto* point = AddPoint(metric->mutable_gauge());
  point->set_as_double(21.5);
  SetAttribute(point, "room.name", "kitchen");
  point = AddPoint(metric->mutable_gauge());
  point->set_as_int(-3);
  SetAttribute(point, "room.name", "cellar");
  const MetricsWritten written = Write(request);
  EXPECT_TRUE(written.status.ok());
  EXPECT_EQ(written.points, 2U);
  EXPECT_EQ(written.rejected, 0U);
  EXPECT_EQ(written.message, "");
  EXPECT_THAT(Stored(), UnorderedElementsAre(Pair("room_temperature_celsius{room_name=\"cellar\"}", ElementsAre("0 -3")),
                                             Pair("room_temperature_celsius{room_name=\"kitchen\"}", ElementsAre("0 21.5"))));
}

TEST_F(OtlpWriter, StoresSumsByWhetherTheyOnlyGrow) {
  ExportMetricsServiceRequest request;
  pb::Sum* counter = Cumulative(AddMetric(&request, "http.requests", "{request}")->mutable_sum());
  counter->set_is_monotonic(true);
  AddPoint(counter)->set_as_int(7);
  AddPoint(Cumulative(AddMetric(&request, "queue.length", "{item}")->mutable_sum()))->set_as_int(5);
  EXPECT_EQ(Write(request).rejected, 0U);
  EXPECT_THAT(Stored(),
              UnorderedElementsAre(Pair("http_requests_total", ElementsAre("0 7")), Pair("queue_length", ElementsAre("0 5"))));
}

TEST_F(OtlpWriter, StoresMetadataOfEachKind) {
  ExportMetricsServiceRequest request;
  pb::Metric* metric = AddMetric(&request, "io", "By");
  metric->set_description("Bytes moved");
  Cumulative(metric->mutable_sum())->set_is_monotonic(true);
  AddPoint(metric->mutable_sum())->set_as_int(1);
  pb::HistogramDataPoint* histogram = AddPoint(Cumulative(AddMetric(&request, "latency", "s")->mutable_histogram()));
  histogram->set_count(0);
  ASSERT_EQ(Write(request).rejected, 0U);
  const auto of = [&](const char* name) { return store_->SeriesMetadata({{"__name__", name}}).value().value(); };
  EXPECT_EQ(of("io_bytes_total"), (Metadata{MetricType::kCounter, "bytes", "Bytes moved"}));
  EXPECT_EQ(of("latency_seconds_count"), (Metadata{MetricType::kHistogram, "seconds", ""}));
}

// Of a request that fails the series are made, and found when they come again, but nothing is written to them.
TEST_F(OtlpWriter, MetadataOfARequestThatFailedIsWrittenWithTheNext) {
  ExportMetricsServiceRequest request;
  pb::Metric* metric = AddMetric(&request, "g");
  metric->set_description("Number");
  constexpr int kPoints = 1100;  // more than are resolved together
  for (int i = 0; i < kPoints; ++i) {
    pb::NumberDataPoint* point = AddPoint(metric->mutable_gauge());
    point->set_as_int(i);
    SetAttribute(point, "i", std::to_string(i));
  }
  metric = AddMetric(&request, "h");
  metric->set_description("Buckets");
  AddPoint(Cumulative(metric->mutable_histogram()))->set_count(0);
  metric = AddMetric(&request, "s");
  metric->set_description("Quantiles");
  AddPoint(metric->mutable_summary());
  SetAttribute(request.mutable_resource_metrics(0)->mutable_resource(), "service.name", "shop");
  SetAttribute(request.mutable_resource_metrics(0)->mutable_resource(), "zone", "a");
  const std::string good = request.SerializeAsString();
  pb::Metric* bad = request.add_resource_metrics()->add_scope_metrics()->add_metrics();
  bad->set_name("\xff");
  AddPoint(bad->mutable_gauge())->set_as_int(1);
  ASSERT_EQ(Write(request).status.code(), StatusCode::kInvalidArgument);
  ASSERT_THAT(Stored(), IsEmpty());
  for (int times = 0; times < 2; ++times) {
    const MetricsWritten written = WriteBytes(good);
    ASSERT_TRUE(written.status.ok()) << written.status.ToString();
    const auto help = [&](Labels labels) {
      const auto found = store_->SeriesMetadata(labels);
      return found.ok() && found->has_value() ? (*found)->help : "(none)";
    };
    EXPECT_EQ(help({{"__name__", "g"}, {"i", "0"}, {"job", "shop"}}), "Number");
    EXPECT_EQ(help({{"__name__", "g"}, {"i", std::to_string(kPoints - 1)}, {"job", "shop"}}), "Number");
    EXPECT_EQ(help({{"__name__", "h_count"}, {"job", "shop"}}), "Buckets");
    EXPECT_EQ(help({{"__name__", "s_sum"}, {"job", "shop"}}), "Quantiles");
    EXPECT_EQ(help({{"__name__", "target_info"}, {"job", "shop"}, {"zone", "a"}}), "Target metadata");
  }
}

TEST_F(OtlpWriter, MetadataThatAnOpeningHasLostIsWrittenWhenItComesAgain) {
  ExportMetricsServiceRequest request;
  pb::Metric* metric = AddMetric(&request, "g");
  metric->set_description("Help.");
  AddPoint(metric->mutable_gauge())->set_as_int(1);
  const Labels labels = {{"__name__", "g"}};
  const auto help = [&] { return store_->SeriesMetadata(labels).value().value().help; };
  ASSERT_TRUE(Write(request).status.ok());
  EXPECT_EQ(help(), "Help.");
  // As a crash of what was only queued.
  ASSERT_TRUE(store_->Write(std::vector<TimeSeries>{{.labels = labels, .metadata = {{.help = "Older."}}}}).ok());
  ASSERT_TRUE(Write(request).status.ok());
  EXPECT_EQ(help(), "Older.") << "told already";
  writer_->ForgetTold();
  ASSERT_TRUE(Write(request).status.ok());
  EXPECT_EQ(help(), "Help.");
}

// The cache of series has it for told.
TEST_F(OtlpWriter, MetadataStaysWithSeriesThatAreRemovedAndWrittenAgain) {
  ExportMetricsServiceRequest request;
  pb::Metric* metric = AddMetric(&request, "io", "By");
  metric->set_description("Bytes moved");
  Cumulative(metric->mutable_sum())->set_is_monotonic(true);
  AddPoint(metric->mutable_sum())->set_as_int(1);
  AddPoint(Cumulative(AddMetric(&request, "latency", "s")->mutable_histogram()))->set_count(0);
  SetAttribute(request.mutable_resource_metrics(0)->mutable_resource(), "service.name", "shop");
  SetAttribute(request.mutable_resource_metrics(0)->mutable_resource(), "host", "h1");
  const auto of = [&](const std::string& name) {
    std::set<std::string> all;
    const auto found = store_->Series({Matcher::Equal("__name__", name)}).value();
    EXPECT_FALSE(found.values.empty()) << name;
    for (const Labels& labels : found.values) {
      const auto metadata = store_->SeriesMetadata(labels).value();
      all.insert(metadata ? metadata->unit + "|" + metadata->help : "none");
    }
    return all;
  };
  for (int removal = 0; removal < 3; ++removal) {
    SCOPED_TRACE(removal);
    for (int again = 0; again < 2; ++again) {
      ASSERT_EQ(Write(request).rejected, 0U);
      EXPECT_THAT(of("io_bytes_total"), ElementsAre("bytes|Bytes moved"));
      EXPECT_THAT(of("latency_seconds_count"), ElementsAre("seconds|"));
      EXPECT_THAT(of("target_info"), ElementsAre("|Target metadata"));
    }
    ASSERT_TRUE(store_->Delete({Matcher::Regex("__name__", ".+")}, {}).ok());
    ASSERT_TRUE(store_->Compact().ok());
    ASSERT_THAT(Stored(), IsEmpty());
  }
}

TEST_F(OtlpWriter, StoresHistogramsAsPrometheusClassicOnes) {
  ExportMetricsServiceRequest request;
  pb::HistogramDataPoint* point = AddPoint(Cumulative(AddMetric(&request, "d", "s")->mutable_histogram()));
  SetAttribute(point, "route", "/");
  for (const double bound : {0.005, 1.0, 1e6}) point->add_explicit_bounds(bound);
  for (const int count : {1, 2, 0, 4}) point->add_bucket_counts(static_cast<std::uint64_t>(count));
  point->set_count(7);
  point->set_sum(12.5);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Write(request).rejected, 0U);  // the second time from the cache
  EXPECT_THAT(Stored(), UnorderedElementsAre(Pair("d_seconds_bucket{le=\"0.005\",route=\"/\"}", ElementsAre("0 1")),
                                             Pair("d_seconds_bucket{le=\"1\",route=\"/\"}", ElementsAre("0 3")),
                                             Pair("d_seconds_bucket{le=\"1000000\",route=\"/\"}", ElementsAre("0 3")),
                                             Pair("d_seconds_bucket{le=\"+Inf\",route=\"/\"}", ElementsAre("0 7")),
                                             Pair("d_seconds_count{route=\"/\"}", ElementsAre("0 7")),
                                             Pair("d_seconds_sum{route=\"/\"}", ElementsAre("0 12.5"))));
}

TEST_F(OtlpWriter, HistogramsWithoutBucketsOrSumHaveWhatTheyHave) {
  ExportMetricsServiceRequest request;
  pb::HistogramDataPoint* point = AddPoint(Cumulative(AddMetric(&request, "d")->mutable_histogram()));
  point->set_count(7);
  EXPECT_EQ(Write(request).rejected, 0U);
  EXPECT_THAT(Stored(),
              UnorderedElementsAre(Pair("d_bucket{le=\"+Inf\"}", ElementsAre("0 7")), Pair("d_count", ElementsAre("0 7"))));
  const auto sums = store_->Series({Matcher{.type = Matcher::Type::kRegex, .name = std::string(kMetricName), .value = ".*_sum"}});
  ASSERT_TRUE(sums.ok());
  EXPECT_TRUE(sums->values.empty()) << "a series for a sum that there is not";
}

TEST_F(OtlpWriter, StoresExponentialHistogramsAsNativeOnes) {
  ExportMetricsServiceRequest request;
  auto* point = AddPoint(Cumulative(AddMetric(&request, "d")->mutable_exponential_histogram()));
  point->set_scale(0);
  point->set_count(4);
  point->set_zero_count(1);
  point->set_sum(9);
  point->mutable_positive()->add_bucket_counts(3);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Write(request).rejected, 0U);
  EXPECT_THAT(Stored(), UnorderedElementsAre(Pair("d", ElementsAre("0 {count:4, sum:9, [-1e-128,1e-128]:1, (1,2]:3}"))));
}

TEST_F(OtlpWriter, StoresSummaries) {
  ExportMetricsServiceRequest request;
  pb::SummaryDataPoint* point = AddPoint(AddMetric(&request, "d")->mutable_summary());
  point->set_count(3);
  point->set_sum(6);
  for (const double q : {0.5, 1.0}) {
    auto* at = point->add_quantile_values();
    at->set_quantile(q);
    at->set_value(q * 3);
  }
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Write(request).rejected, 0U);
  EXPECT_THAT(Stored(),
              UnorderedElementsAre(Pair("d{quantile=\"0.5\"}", ElementsAre("0 1.5")), Pair("d{quantile=\"1\"}", ElementsAre("0 3")),
                                   Pair("d_count", ElementsAre("0 3")), Pair("d_sum", ElementsAre("0 6"))));
}

TEST_F(OtlpWriter, PointsWithoutARecordedValueAreStaleMarkers) {
  ExportMetricsServiceRequest request;
  const auto flag = [](auto* point) {
    point->set_flags(pb::DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK);
    return point;
  };
  flag(AddPoint(AddMetric(&request, "g")->mutable_gauge()));
  flag(AddPoint(Cumulative(AddMetric(&request, "h")->mutable_histogram())))->add_explicit_bounds(1);
  request.mutable_resource_metrics(0)
      ->mutable_scope_metrics(0)
      ->mutable_metrics(1)
      ->mutable_histogram()
      ->mutable_data_points(0)
      ->mutable_bucket_counts()
      ->Resize(2, 0);
  flag(AddPoint(Cumulative(AddMetric(&request, "e")->mutable_exponential_histogram())));
  flag(AddPoint(AddMetric(&request, "s")->mutable_summary()));
  EXPECT_EQ(Write(request).rejected, 0U);
  const auto stored = Stored();
  EXPECT_EQ(stored.size(), 8U);
  for (const auto& [series, samples] : stored) {
    EXPECT_THAT(samples, ElementsAre(HasSubstr("StaleNaN"))) << series;
  }
}

TEST_F(OtlpWriter, ResourceAndScopeBecomeLabelsAndTargetInfo) {
  ExportMetricsServiceRequest request;
  auto* resource = request.add_resource_metrics();
  SetAttribute(resource->mutable_resource(), "service.name", "shop");
  SetAttribute(resource->mutable_resource(), "service.namespace", "prod");
  SetAttribute(resource->mutable_resource(), "service.instance.id", "i-1");
  SetAttribute(resource->mutable_resource(), "host.name", "h1");
  auto* scope = resource->add_scope_metrics();
  scope->mutable_scope()->set_name("lib");
  scope->mutable_scope()->set_version("1.2");
  scope->set_schema_url("https://example.org/1");
  SetAttribute(scope->mutable_scope(), "short.name", "l");
  pb::NumberDataPoint* point = AddPoint(AddMetric(&request, "g")->mutable_gauge());
  point->set_as_int(1);
  SetAttribute(point, "job", "overridden");
  for (int i = 0; i < 2; ++i) {
    point->set_time_unix_nano(kNanos + static_cast<std::uint64_t>(i) * 1'000'000);
    EXPECT_EQ(Write(request).message, "");
  }
  EXPECT_THAT(Stored(), UnorderedElementsAre(
                            Pair("g{instance=\"i-1\",job=\"prod/shop\",otel_scope_name=\"lib\",otel_scope_schema_url=\"https://"
                                 "example.org/1\",otel_scope_short_name=\"l\",otel_scope_version=\"1.2\"}",
                                 ElementsAre("0 1", "1 1")),
                            Pair("target_info{host_name=\"h1\",instance=\"i-1\",job=\"prod/shop\"}", ElementsAre("0 1", "1 1"))));
}

TEST_F(OtlpWriter, AttributesOfAllTypesBecomeTextAndCollisionsAreJoined) {
  ExportMetricsServiceRequest request;
  pb::NumberDataPoint* point = AddPoint(AddMetric(&request, "g")->mutable_gauge());
  point->set_as_int(1);
  const auto value = [&](const char* key) {
    auto* attribute = point->add_attributes();
    attribute->set_key(key);
    return attribute->mutable_value();
  };
  value("bool")->set_bool_value(true);
  value("int")->set_int_value(-5);
  value("double")->set_double_value(0.25);
  value("large")->set_double_value(1e300);
  value("bytes")->set_bytes_value("\x01\x02\xff");
  auto* list = value("list")->mutable_array_value();
  list->add_values()->set_string_value("a\"b");
  list->add_values()->set_int_value(2);
  list->add_values();
  auto* member = value("map")->mutable_kvlist_value()->add_values();
  member->set_key("k");
  member->mutable_value()->set_bool_value(false);
  value("empty")->set_string_value("");
  value("none");
  value("foo_bar")->set_string_value("2");
  value("foo.bar")->set_string_value("1");
  value("9")->set_string_value("digit");
  EXPECT_EQ(Write(request).message, "");
  const auto stored = Stored();
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_EQ(stored.begin()->first,
            "g{bool=\"true\",bytes=\"AQL/\",double=\"0.25\",foo_bar=\"1;2\",int=\"-5\",key_9=\"digit\",large=\"1e+300\","
            "list=\"[\\\"a\\\\\\\"b\\\",2,null]\",map=\"{\\\"k\\\":false}\"}");
}

TEST_F(OtlpWriter, ExemplarsGoToTheSeriesTheyBelongTo) {
  ExportMetricsServiceRequest request;
  const auto add = [](auto* point, double value) {
    auto* exemplar = point->add_exemplars();
    exemplar->set_as_double(value);
    exemplar->set_time_unix_nano(kNanos - 5'000'000);
    exemplar->set_trace_id(std::string("\x5b\x8e", 2));
    exemplar->set_span_id(std::string("\x00\xee", 2));
    auto* attribute = exemplar->add_filtered_attributes();
    attribute->set_key("user.id");
    attribute->mutable_value()->set_int_value(4);
  };
  pb::Sum* sum = Cumulative(AddMetric(&request, "c")->mutable_sum());
  sum->set_is_monotonic(true);
  pb::NumberDataPoint* number = AddPoint(sum);
  number->set_as_int(1);
  add(number, 3);
  pb::HistogramDataPoint* histogram = AddPoint(Cumulative(AddMetric(&request, "h")->mutable_histogram()));
  histogram->add_explicit_bounds(1);
  histogram->add_explicit_bounds(2);
  for (int i = 0; i < 3; ++i) histogram->add_bucket_counts(1);
  histogram->set_count(3);
  for (const double value : {1.0, 1.5, 7.0}) add(histogram, value);
  EXPECT_EQ(Write(request).message, "");
  EXPECT_EQ(Write(request).message, "");
  const auto of = [&](const Labels& labels) { return store_->Exemplars(labels, {}).value(); };
  const auto exemplar = [](double value) {
    return Exemplar{{{"span_id", "00ee"}, {"trace_id", "5b8e"}, {"user_id", "4"}}, value, kNow - 5};
  };
  EXPECT_THAT(of({{"__name__", "c_total"}}), ElementsAre(exemplar(3)));
  EXPECT_THAT(of({{"__name__", "h_bucket"}, {"le", "1"}}), ElementsAre(exemplar(1)));
  EXPECT_THAT(of({{"__name__", "h_bucket"}, {"le", "2"}}), ElementsAre(exemplar(1.5)));
  EXPECT_THAT(of({{"__name__", "h_bucket"}, {"le", "+Inf"}}), ElementsAre(exemplar(7)));
}

TEST_F(OtlpWriter, DeltaAndUnspecifiedTemporalityAreRejectedPointByPoint) {
  ExportMetricsServiceRequest request;
  pb::Sum* sum = AddMetric(&request, "c")->mutable_sum();
  sum->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_DELTA);
  for (int i = 0; i < 3; ++i) AddPoint(sum)->set_as_int(i);
  AddPoint(AddMetric(&request, "h")->mutable_histogram());
  AddPoint(AddMetric(&request, "g")->mutable_gauge())->set_as_int(1);
  const MetricsWritten written = Write(request);
  EXPECT_TRUE(written.status.ok());
  EXPECT_EQ(written.points, 5U);
  EXPECT_EQ(written.rejected, 4U);
  EXPECT_THAT(written.message, HasSubstr("c: delta temporality is not taken"));
  EXPECT_THAT(written.message, HasSubstr("(3 times)"));
  EXPECT_THAT(written.message, HasSubstr("h: the aggregation temporality is not specified"));
  EXPECT_THAT(Stored(), UnorderedElementsAre(Pair("g", ElementsAre("0 1"))));
}

TEST_F(OtlpWriter, InvalidPointsAreRejectedAndTheOthersStored) {
  struct Case {
    const char* what;
    std::function<void(ExportMetricsServiceRequest*)> add;
  };
  const auto gauge = [](ExportMetricsServiceRequest* r, const char* name) {
    pb::NumberDataPoint* point = AddPoint(AddMetric(r, name)->mutable_gauge());
    point->set_as_int(1);
    return point;
  };
  const auto histogram = [](ExportMetricsServiceRequest* r) {
    return AddPoint(Cumulative(AddMetric(r, "h")->mutable_histogram()));
  };
  const std::vector<Case> cases = {
      {"no name", [&](auto* r) { gauge(r, ""); }},
      {"no letter or digit", [&](auto* r) { gauge(r, "++"); }},
      {"no timestamp", [&](auto* r) { gauge(r, "a")->set_time_unix_nano(0); }},
      {"future", [&](auto* r) { gauge(r, "a")->set_time_unix_nano(kNanos + 601'000'000'000); }},
      {"no value", [&](auto* r) { gauge(r, "a")->clear_value(); }},
      {"empty key", [&](auto* r) { SetAttribute(gauge(r, "a"), "", "x"); }},
      {"max_labels_per_series",
       [&](auto* r) {
         auto* point = gauge(r, "a");
         for (int i = 0; i < 30; ++i) SetAttribute(point, "k" + std::to_string(i), "v");
       }},
      {"\"k\"", [&](auto* r) { SetAttribute(gauge(r, "a"), "k", std::string(3000, 'v')); }},
      {"more than 256 KiB", [&](auto* r) { SetAttribute(gauge(r, "a"), "k", std::string(300 << 10, 'v')); }},
      {"the limit is 65536",
       [&](auto* r) {
         gauge(r, "a");
         r->mutable_resource_metrics(0)->mutable_scope_metrics(0)->mutable_metrics(0)->set_description(std::string(70 << 10, 'd'));
       }},
      {"1 bucket counts for 2 bounds",
       [&](auto* r) {
         auto* point = histogram(r);
         point->add_bucket_counts(0);
         point->add_explicit_bounds(1);
         point->add_explicit_bounds(2);
       }},
      {"do not ascend",
       [&](auto* r) {
         auto* point = histogram(r);
         for (int i = 0; i < 3; ++i) point->add_bucket_counts(0);
         point->add_explicit_bounds(2);
         point->add_explicit_bounds(2);
       }},
      {"the buckets hold 1",
       [&](auto* r) {
         auto* point = histogram(r);
         point->set_count(5);
         point->add_bucket_counts(1);
       }},
      {"bounds, the limit is 1024",
       [&](auto* r) {
         auto* point = histogram(r);
         for (int i = 0; i < 1100; ++i) point->add_explicit_bounds(i);
       }},
      {"below -4", [&](auto* r) { AddPoint(Cumulative(AddMetric(r, "e")->mutable_exponential_histogram()))->set_scale(-5); }},
      {"buckets, the limit is 4096",
       [&](auto* r) {
         auto* point = AddPoint(Cumulative(AddMetric(r, "e")->mutable_exponential_histogram()));
         for (int i = 0; i < 5000; ++i) point->mutable_positive()->add_bucket_counts(1);
         point->set_count(5000);
       }},
      {"quantiles, the limit is 256",
       [&](auto* r) {
         auto* point = AddPoint(AddMetric(r, "s")->mutable_summary());
         for (int i = 0; i < 300; ++i) point->add_quantile_values();
       }},
      {"between 0 and 1",
       [&](auto* r) { AddPoint(AddMetric(r, "s")->mutable_summary())->add_quantile_values()->set_quantile(1.5); }},
  };
  int round = 0;
  for (const Case& c : cases) {
    ExportMetricsServiceRequest request;
    c.add(&request);
    gauge(&request, ("good" + std::to_string(round++)).c_str());
    const MetricsWritten written = Write(request);
    EXPECT_TRUE(written.status.ok()) << c.what << ": " << written.status.ToString();
    EXPECT_EQ(written.points, 2U) << c.what;
    EXPECT_EQ(written.rejected, 1U) << c.what << ": " << written.message;
    EXPECT_THAT(written.message, HasSubstr(c.what));
  }
  for (const auto& [series, samples] : Stored()) EXPECT_THAT(series, testing::StartsWith("good"));
  EXPECT_EQ(Stored().size(), cases.size());
}

TEST_F(OtlpWriter, AnUnusableResourceTakesItsPointsWithIt) {
  ExportMetricsServiceRequest request;
  AddPoint(AddMetric(&request, "a")->mutable_gauge())->set_as_int(1);
  AddPoint(AddMetric(&request, "b")->mutable_gauge())->set_as_int(1);
  SetAttribute(request.mutable_resource_metrics(0)->mutable_resource(), "k", std::string(70 << 10, 'v'));
  const MetricsWritten written = Write(request);
  EXPECT_TRUE(written.status.ok());
  EXPECT_EQ(written.rejected, 2U);
  EXPECT_THAT(written.message, HasSubstr("the resource takes"));
}

TEST_F(OtlpWriter, AnEmptyRequestIsTaken) {
  const MetricsWritten written = WriteBytes("");
  EXPECT_TRUE(written.status.ok());
  EXPECT_EQ(written.points, 0U);
}

TEST_F(OtlpWriter, OfAMalformedRequestNothingIsStored) {
  ExportMetricsServiceRequest request;
  pb::NumberDataPoint* point = AddPoint(AddMetric(&request, "a")->mutable_gauge());
  point->set_as_int(1);
  SetAttribute(point, "k", "v");
  const std::string good = request.SerializeAsString();
  ASSERT_TRUE(WriteBytes("").status.ok());
  for (std::size_t cut = 1; cut < good.size(); ++cut) {
    EXPECT_EQ(WriteBytes(good.substr(0, cut)).status.code(), StatusCode::kInvalidArgument) << cut;
  }
  AddMetric(&request, "\xff\xfe");
  AddPoint(request.mutable_resource_metrics(0)->mutable_scope_metrics(0)->mutable_metrics(1)->mutable_gauge())->set_as_int(1);
  EXPECT_EQ(Write(request).status.code(), StatusCode::kInvalidArgument);  // not UTF-8
  EXPECT_THAT(Stored(), IsEmpty());
}

// Of one series, each at a time of its own.
std::string ManyPoints(int n) {
  ExportMetricsServiceRequest request;
  auto* gauge = AddMetric(&request, "m")->mutable_gauge();
  for (int i = 0; i < n; ++i) {
    auto* point = gauge->add_data_points();
    point->set_time_unix_nano(kNanos - static_cast<std::uint64_t>(i) * 1'000'000);
    point->set_as_double(i);
  }
  return request.SerializeAsString();
}

TEST_F(OtlpWriter, ALargeRequestIsCommittedInPartsWithinTheirMemory) {
  options_.shards = 1;
  Open();
  constexpr int kPoints = 400'000;  // 12 MiB of them
  MemoryBudget budget(5 << 20);
  MemoryShare share(&budget);
  ASSERT_TRUE(share.Grow(1000));
  const MetricsWritten written = writer_->Write(ManyPoints(kPoints), {}, &share);
  ASSERT_TRUE(written.status.ok()) << written.status.ToString();
  EXPECT_EQ(written.points, static_cast<std::uint64_t>(kPoints));
  EXPECT_EQ(written.rejected, 0U);
  EXPECT_GT(share.bytes(), 4U << 20);
  EXPECT_EQ(Stored()["m"].size(), static_cast<std::size_t>(kPoints));
  EXPECT_EQ(store_->Stats().shards[0].write_latency[static_cast<int>(AckLevel::kLogged)].count, 4U);
}

TEST_F(OtlpWriter, WithoutMemoryNothingIsTakenAndTheNextRequestBeginsClean) {
  Open();
  MemoryBudget budget(1 << 20);
  {
    MemoryShare share(&budget);
    const MetricsWritten written = writer_->Write(ManyPoints(100'000), {}, &share);
    EXPECT_EQ(written.status.code(), StatusCode::kFailedPrecondition) << written.status.ToString();  // it never fits
    EXPECT_THAT(Stored(), ::testing::IsEmpty());
  }
  MemoryShare share(&budget);
  EXPECT_TRUE(writer_->Write(ManyPoints(10), {}, &share).status.ok());
  EXPECT_EQ(Stored()["m"].size(), 10U);
}

// Attributes of 40 KiB (the labels of a series may take 48) stand in the labels of each of 100 buckets.
TEST_F(OtlpWriter, AHistogramOfManyBucketsWithLongLabelsIsTaken) {
  options_.max_labels_per_series = 64;
  Open();
  ExportMetricsServiceRequest request;
  auto* point = AddPoint(Cumulative(AddMetric(&request, "h")->mutable_histogram()));
  for (int i = 0; i < 20; ++i) SetAttribute(point, "a" + std::to_string(i), std::string(2000, 'v'));
  for (int i = 0; i < 100; ++i) {
    point->add_explicit_bounds(i);
    point->add_bucket_counts(1);
  }
  point->add_bucket_counts(1);
  point->set_count(101);
  const MetricsWritten written = Write(request);
  ASSERT_TRUE(written.status.ok()) << written.status.ToString();
  EXPECT_EQ(written.message, "");
  EXPECT_EQ(Stored().size(), 102U) << "buckets and count; there is no sum";
}

TEST_F(OtlpWriter, WhatStandsAboveThePointsIsOfItsType) {
  const auto nested = [](std::string bytes, int levels) {  // as field 2, 2, ... 1 of what stands above
    for (int level = levels; level > 0; --level) {
      bytes = std::string(1, level == 1 ? '\x0a' : '\x12') + static_cast<char>(bytes.size()) + bytes;
    }
    return bytes;
  };
  const std::string gauge_of_varint = "\x0a\x01g\x28\x01", points_of_varint = "\x0a\x01g\x2a\x02\x08\x01";
  for (const std::string& wrong : {std::string("\x08\x01"), nested("\x10\x01", 1), nested("\x10\x01", 2),
                                   nested(gauge_of_varint, 3), nested(points_of_varint, 3)}) {
    EXPECT_EQ(WriteBytes(wrong).status.code(), StatusCode::kInvalidArgument) << ::testing::PrintToString(wrong);
  }
  EXPECT_TRUE(WriteBytes(nested("\x78\x01", 3)).status.ok());  // a field that is not known yet
}

TEST_F(OtlpWriter, TheSeriesLimitRejectsNewSeriesOnly) {
  options_.max_series = 1;
  ExportMetricsServiceRequest request;
  AddPoint(AddMetric(&request, "a")->mutable_gauge())->set_as_int(1);
  ASSERT_EQ(Write(request).rejected, 0U);
  AddPoint(AddMetric(&request, "b")->mutable_gauge())->set_as_int(1);
  AddPoint(Cumulative(AddMetric(&request, "h")->mutable_histogram()))->set_count(1);
  const MetricsWritten written = Write(request);
  EXPECT_TRUE(written.status.ok()) << written.status.ToString();
  EXPECT_EQ(written.rejected, 2U);
  EXPECT_THAT(written.message, HasSubstr("limit"));
  EXPECT_EQ(Stored().size(), 1U);
}

TEST_F(OtlpWriter, AFailedLogFailsTheRequestWhateverWasRefusedOfIt) {
  std::atomic<bool> broken{false};
  AdversarialOptions adversary;
  adversary.on_call = [&](EngineMethod method, const std::string&) {
    return broken && method == EngineMethod::kWrite ? IoError("no space left") : Status::Ok();
  };
  options_.engines = std::make_shared<EngineRegistry>();
  ASSERT_TRUE(options_.engines->Register(MakeAdversarialMemoryEngineFactory(adversary)).ok());
  ExportMetricsServiceRequest request;
  pb::NumberDataPoint* point = AddPoint(AddMetric(&request, "a")->mutable_gauge());
  point->set_as_int(1);
  auto* exemplar = point->add_exemplars();
  exemplar->set_as_int(1);
  auto* attribute = exemplar->add_filtered_attributes();
  attribute->set_key("k");
  attribute->mutable_value()->set_string_value(std::string(5000, 'v'));  // more than the store takes
  MetricsWritten written = Write(request);
  ASSERT_TRUE(written.status.ok()) << written.status.ToString();
  EXPECT_THAT(written.message, HasSubstr("exemplar"));
  broken = true;
  written = Write(request);
  EXPECT_EQ(written.status.code(), StatusCode::kUnavailable) << written.status.ToString();
  EXPECT_THAT(written.status.message(), HasSubstr("no space left"));
  writer_.reset();
  store_.reset();  // before what its engine asks
}

// Attributes may come in any order and between other fields; identities that do not fit the cache are translated again.
TEST_F(OtlpWriter, TheCacheNeverTakesOneSeriesForAnother) {
  cache_bytes_ = 64 << 10;
  std::mt19937 random(20261122);
  std::map<std::string, std::string> expected;  // series -> newest value
  for (int round = 0; round < 60; ++round) {
    ExportMetricsServiceRequest request;
    auto* resource = request.add_resource_metrics();
    const std::string job = std::to_string(random() % 3);
    SetAttribute(resource->mutable_resource(), "service.name", job);
    auto* scope = resource->add_scope_metrics();
    const bool scoped = random() % 2 == 0;
    if (scoped) scope->mutable_scope()->set_name("s");
    std::string prefix = "{";
    std::map<std::string, std::string> in_request;
    pb::Gauge* gauge = AddMetric(&request, "g")->mutable_gauge();
    for (int i = 0; i < 100; ++i) {
      pb::NumberDataPoint* point = AddPoint(gauge);
      const std::string a = std::to_string(random() % 40), b = std::to_string(random() % 40);
      const bool swap = random() % 2 == 0;
      SetAttribute(point, swap ? "b" : "a", swap ? b : a);
      SetAttribute(point, swap ? "a" : "b", swap ? a : b);
      const auto value = static_cast<std::int64_t>(random() % 1000);
      point->set_as_int(value);
      in_request["g{a=\"" + a + "\",b=\"" + b + "\",job=\"" + job + "\"" + (scoped ? ",otel_scope_name=\"s\"" : "") + "}"] =
          "0 " + std::to_string(value);
    }
    ASSERT_EQ(Write(request).message, "");
    for (const auto& [series, value] : in_request) expected[series] = value;
  }
  const auto stored = Stored();
  ASSERT_EQ(stored.size(), expected.size());
  // Within one request the order of two values of one series at one time is not promised; of different requests it is.
  for (const auto& [series, samples] : stored) {
    EXPECT_TRUE(expected.contains(series)) << series;
    EXPECT_EQ(samples.size(), 1U);
  }
}

TEST_F(OtlpWriter, AttributesBetweenOtherFieldsAreTheSameSeries) {
  ExportMetricsServiceRequest request;
  pb::NumberDataPoint* point = AddPoint(AddMetric(&request, "g")->mutable_gauge());
  SetAttribute(point, "a", "1");
  SetAttribute(point, "b", "2");
  point->set_as_int(1);
  ASSERT_EQ(Write(request).message, "");
  // The same point with its time between the attributes.
  const auto field = [](char tag, const std::string& bytes) { return std::string{tag, static_cast<char>(bytes.size())} + bytes; };
  pb::NumberDataPoint time;
  time.set_time_unix_nano(kNanos + 1'000'000);
  time.set_as_int(2);
  const std::string scattered = field(0x3a, point->attributes(0).SerializeAsString()) + time.SerializeAsString() +
                                field(0x3a, point->attributes(1).SerializeAsString());
  pb::Metric metric;
  metric.set_name("g");
  const std::string bytes = field(0x0a, field(0x12, field(0x12, metric.SerializeAsString() + field(0x2a, field(0x0a, scattered)))));
  EXPECT_EQ(WriteBytes(bytes).message, "");
  EXPECT_EQ(WriteBytes(bytes).message, "");
  EXPECT_THAT(Stored(), UnorderedElementsAre(Pair("g{a=\"1\",b=\"2\"}", ElementsAre("0 1", "1 2"))));
}

}  // namespace
}  // namespace chronolith::interop::otlp

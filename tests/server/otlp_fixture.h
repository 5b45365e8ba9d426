// A store behind an OtlpReceiver, and requests for it.
#ifndef CHRONOLITH_TESTS_SERVER_OTLP_FIXTURE_H_
#define CHRONOLITH_TESTS_SERVER_OTLP_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "chronolith/engine_registry.h"
#include "interop/value_text.h"
#include "plugins/memory/memory_engine.h"
#include "server/otlp_receiver.h"
#include "tests/support/otlp_requests.h"
#include "tests/support/stale_references.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse;

inline constexpr std::uint64_t kOtlpTime = 1'760'000'000'000'000'000;

using testing::Compress;

inline pb::NumberDataPoint* AddGauge(ExportMetricsServiceRequest* request, const std::string& name, double value) {
  return testing::AddGauge(request, name, kOtlpTime, value);
}

// One metric of each kind, and how many series they become.
inline constexpr std::size_t kAllKindsSeries = 9;
inline ExportMetricsServiceRequest AllKinds() {
  ExportMetricsServiceRequest request;
  AddGauge(&request, "g", 1.5);
  auto* scope = request.mutable_resource_metrics(0)->mutable_scope_metrics(0);
  pb::Metric* metric = scope->add_metrics();
  metric->set_name("c");
  metric->mutable_sum()->set_is_monotonic(true);
  metric->mutable_sum()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  pb::NumberDataPoint* number = metric->mutable_sum()->add_data_points();
  number->set_time_unix_nano(kOtlpTime);
  number->set_as_int(7);
  metric = scope->add_metrics();
  metric->set_name("h");
  metric->mutable_histogram()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  pb::HistogramDataPoint* histogram = metric->mutable_histogram()->add_data_points();
  histogram->set_time_unix_nano(kOtlpTime);
  histogram->set_count(3);
  histogram->set_sum(4);
  histogram->add_explicit_bounds(1);
  histogram->add_bucket_counts(1);
  histogram->add_bucket_counts(2);
  metric = scope->add_metrics();
  metric->set_name("e");
  metric->mutable_exponential_histogram()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  pb::ExponentialHistogramDataPoint* exponential = metric->mutable_exponential_histogram()->add_data_points();
  exponential->set_time_unix_nano(kOtlpTime);
  exponential->set_count(2);
  exponential->mutable_positive()->add_bucket_counts(2);
  metric = scope->add_metrics();
  metric->set_name("s");
  pb::SummaryDataPoint* summary = metric->mutable_summary()->add_data_points();
  summary->set_time_unix_nano(kOtlpTime);
  summary->set_count(2);
  summary->set_sum(3);
  return request;
}

class OtlpFixture : public ::testing::Test {
 protected:
  OtlpFixture() { OpenStore(); }
  // Another one, in place of the one that there is.
  void OpenStore(const std::function<void(Options*)>& change = {}) {
    Options options;
    options.engine = "memory";
    options.shards = 2;
    AdversarialOptions adversary;
    adversary.on_call = [this](EngineMethod method, const std::string&) {
      MutexLock lock(&fault_mu_);
      return method == EngineMethod::kWrite ? fault_ : Status::Ok();
    };
    options.engines = std::make_shared<EngineRegistry>();
    EXPECT_TRUE(options.engines->Register(MakeAdversarialMemoryEngineFactory(adversary)).ok());
    if (change) change(&options);
    store_.reset();
    store_ = Storage::Open(options, directory_ / ("db" + std::to_string(++stores_))).value();
  }
  // What writing the log answers from now on.
  void SetFault(Status fault) {
    MutexLock lock(&fault_mu_);
    fault_ = std::move(fault);
  }
  // A ring that some requests fill, where nothing empties it.
  static void SmallRing(Options* options) {
    options->ring_bytes = 64 << 10;
    options->backpressure_wait_ms = 1;
  }
  static ExportMetricsServiceRequest ManyPoints() {
    ExportMetricsServiceRequest request;
    for (int i = 0; i < 500; ++i) AddGauge(&request, "many", i / 7.0)->set_time_unix_nano(kOtlpTime + i * 1'000'000ULL);
    return request;
  }
  void MakeReceiver() { receiver_ = std::make_unique<OtlpReceiver>(store_.get(), options_, &registry_); }

  // Series -> the samples' values.
  std::map<std::string, std::vector<std::string>> Stored() {
    std::map<std::string, std::vector<std::string>> all;
    auto set = store_->Select({}, {}).value();
    while (set->Next()) {
      std::vector<std::string>& samples = all[set->labels().ToString()];
      for (ValueType type; (type = set->samples().Next()) != ValueType::kNone;) {
        EXPECT_EQ(set->samples().timestamp(), static_cast<Timestamp>(kOtlpTime / 1'000'000));
        samples.push_back(type == ValueType::kFloat ? interop::FormatValue(set->samples().value())
                                                    : interop::FormatHistogram(set->samples().histogram()));
      }
    }
    return all;
  }

  void ExpectAllKindsStored() {
    using ::testing::ElementsAre;
    using ::testing::Pair;
    EXPECT_THAT(Stored(), ::testing::UnorderedElementsAre(Pair("g", ElementsAre("1.5")), Pair("c_total", ElementsAre("7")),
                                                          Pair("h_bucket{le=\"1\"}", ElementsAre("1")),
                                                          Pair("h_bucket{le=\"+Inf\"}", ElementsAre("3")),
                                                          Pair("h_count", ElementsAre("3")), Pair("h_sum", ElementsAre("4")),
                                                          Pair("e", ElementsAre("{count:2, sum:0, (1,2]:2}")),
                                                          Pair("s_count", ElementsAre("2")), Pair("s_sum", ElementsAre("3"))));
  }

  testing_support::TempDirectory directory_;
  Mutex fault_mu_;
  Status fault_ ABSL_GUARDED_BY(fault_mu_);
  int stores_ = 0;
  OtlpOptions options_;
  MemoryBudget in_flight_{64ULL << 20};
  prometheus::Registry registry_;
  std::unique_ptr<Storage> store_;
  std::unique_ptr<OtlpReceiver> receiver_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_TESTS_SERVER_OTLP_FIXTURE_H_

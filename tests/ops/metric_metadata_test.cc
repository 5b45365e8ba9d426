#include "ops/metric_metadata.h"

#include <gmock/gmock.h>

#include "tests/storage/quarantine_fixture.h"

namespace chronolith::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

Metadata Gauge(const std::string& help) { return {MetricType::kGauge, "", help}; }

class MetricMetadataTest : public ::testing::TestWithParam<std::string> {
 protected:
  MetricMetadataTest() : store_(GetParam()) { store_.Open(); }
  void Write(const std::string& metric, int i, std::vector<Metadata> metadata) {
    TimeSeries series = MakeSeries({{"__name__", metric}, {"i", std::to_string(i)}}, {{kT, 1.0}});
    series.metadata = std::move(metadata);
    ASSERT_EQ(store_->Write(series).status, Status::Ok());
  }
  MetricMetadata Collect(const MetricMetadataOptions& options) {
    Result<MetricMetadata> found = CollectMetricMetadata(store_.get(), options);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return found.ok() ? std::move(*found) : MetricMetadata();
  }
  TestStore store_;
};
INSTANTIATE_TEST_SUITE_P(Engines, MetricMetadataTest, AllEngines(), EngineName);

TEST_P(MetricMetadataTest, DifferentOnesOfAMetricAreEachToldOnceAlsoFromRows) {
  EXPECT_THAT(Collect({}).metrics, IsEmpty());
  for (int i = 0; i < 300; ++i) Write("a", i, {Gauge(i % 2 == 0 ? "even" : "odd")});
  Write("b", 0, {{MetricType::kHistogram, "seconds", "b"}});
  Write("none", 0, {});
  for (int times = 0; times < 2; ++times) {
    const MetricMetadata all = Collect({.series_looked_at = 1000});
    ASSERT_THAT(all.metrics, SizeIs(2));
    EXPECT_THAT(all.metrics.at("a"), UnorderedElementsAre(Gauge("even"), Gauge("odd")));
    EXPECT_THAT(all.metrics.at("b"), ElementsAre(Metadata{MetricType::kHistogram, "seconds", "b"}));
    EXPECT_TRUE(all.complete && !all.limited && !all.partial);
    store_.Checkpoint();
    store_.Restart();
  }
}

TEST_P(MetricMetadataTest, OfOneMetricAllSeriesAreLookedAt) {
  for (int i = 0; i < 600; ++i) Write("a", i, i == 599 ? std::vector{Gauge("last")} : std::vector<Metadata>());
  Write("b", 0, {Gauge("b")});
  EXPECT_THAT(Collect({.series_looked_at = 1}).metrics, SizeIs(1));
  const MetricMetadata a = Collect({.metric = "a", .series_looked_at = 1});
  ASSERT_THAT(a.metrics, SizeIs(1));
  EXPECT_THAT(a.metrics.at("a"), ElementsAre(Gauge("last")));
}

TEST_P(MetricMetadataTest, WhatItsBoundsLeaveOutIsSaid) {
  for (const char* metric : {"a", "b", "c"}) {
    for (int i = 0; i < 5; ++i) Write(metric, i, {Gauge(std::string(100, static_cast<char>('0' + i)))});
  }
  const MetricMetadata two = Collect({.limit = 2, .limit_per_metric = 3});
  EXPECT_TRUE(two.limited && two.complete);
  ASSERT_THAT(two.metrics, SizeIs(2));
  EXPECT_THAT(two.metrics.at("a"), SizeIs(3));
  EXPECT_FALSE(Collect({.limit = 3}).limited);
  const MetricMetadata few = Collect({.metrics_max = 1});
  EXPECT_FALSE(few.complete);
  EXPECT_THAT(few.metrics, SizeIs(1));
  const MetricMetadata small = Collect({.bytes_max = 799});
  EXPECT_FALSE(small.complete);
  ASSERT_THAT(small.metrics, SizeIs(2));
  EXPECT_THAT(small.metrics.at("b"), SizeIs(2));
  EXPECT_FALSE(Collect({.deadline = std::chrono::steady_clock::now()}).complete);
}

class QuarantinedMetadata : public QuarantineTest {};

TEST_F(QuarantinedMetadata, IsThatOfTheOtherShards) {
  Fill();
  const std::string path = FileOf("index.1");
  fs::remove(path);
  store_.Open();
  TimeSeries series = MakeSeries(Numbered(OneOf(0)), {{kT, 1.0}});
  series.metadata = {Gauge("n")};
  ASSERT_EQ(store_->Write(series).status, Status::Ok());
  const auto found = CollectMetricMetadata(store_.get(), {});
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_TRUE(found->partial);
  EXPECT_THAT(found->metrics.at("n"), ElementsAre(Gauge("n")));
  store_.Close();
}

}  // namespace
}  // namespace chronolith::ops

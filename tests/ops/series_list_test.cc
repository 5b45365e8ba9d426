#include "ops/series_list.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/engines.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing_support::TempDirectory;

class SeriesListTest : public ::testing::TestWithParam<std::string> {
 protected:
  SeriesListTest() {
    Options options;
    options.engine = GetParam();
    options.shards = 4;
    store_ = Storage::Open(options, directory_ / "db").value();
    for (int i = 0; i < 600; ++i) {
      TimeSeries series;
      series.labels = Labels{{"__name__", "m"}, {"i", std::to_string(1000 + i)}, {"half", i < 300 ? "a" : "b"}};
      series.samples.push_back({i < 300 ? 1000 : 9'000'000'000, 1.0});
      series.metadata.push_back({.type = MetricType::kGauge, .unit = "u" + std::to_string(1000 + i), .help = ""});
      EXPECT_EQ(store_->Write(series).status, Status::Ok());
    }
  }
  // "i unit" of each series, as they come.
  std::vector<std::string> List(const SeriesListOptions& options) {
    std::vector<std::string> listed;
    const auto result = ListSeries(store_.get(), options, [&](const Labels& labels, const Metadata& metadata) {
      listed.push_back(std::string(labels.Get("i")) + " " + metadata.unit);
      return Status::Ok();
    });
    EXPECT_EQ(result.status(), Status::Ok());
    if (result.ok()) result_ = *result;
    return listed;
  }

  TempDirectory directory_;
  std::unique_ptr<Storage> store_;
  SeriesListResult result_;
};

TEST_P(SeriesListTest, OnePieceIsInOrderOfLabels) {
  const auto listed = List({.metadata = true});
  ASSERT_THAT(listed, SizeIs(600));
  for (std::size_t i = 0; i < listed.size(); ++i) {
    EXPECT_EQ(listed[i], std::to_string(1000 + i) + " u" + std::to_string(1000 + i));
  }
  EXPECT_FALSE(result_.truncated);
  EXPECT_FALSE(result_.partial);
}

TEST_P(SeriesListTest, ManyPiecesHaveTheSameSeriesEachInOrder) {
  auto listed = List({.metadata = true, .at_once = 7});
  for (std::size_t begin = 0; begin + 7 <= listed.size(); begin += 7) {
    EXPECT_TRUE(std::is_sorted(listed.begin() + begin, listed.begin() + begin + 7));
  }
  EXPECT_FALSE(std::is_sorted(listed.begin(), listed.end()));
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(listed, List({.metadata = true}));
}

TEST_P(SeriesListTest, ALimitIsTold) {
  EXPECT_THAT(List({.lookup = {.limit = 2}}), ElementsAre("1000 ", "1001 "));
  EXPECT_TRUE(result_.truncated);
  EXPECT_THAT(List({.lookup = {.limit = 599}, .at_once = 100}), SizeIs(599));
  EXPECT_TRUE(result_.truncated);
  EXPECT_THAT(List({.lookup = {.limit = 600}, .at_once = 100}), SizeIs(600));
  EXPECT_FALSE(result_.truncated);
  EXPECT_THAT(List({.lookup = {.limit = 100}, .at_once = 100}), SizeIs(100));
  EXPECT_TRUE(result_.truncated);
}

TEST_P(SeriesListTest, SelectorsAreUnitedAndTheRangeCounts) {
  const std::vector<std::vector<Matcher>> both = {{Matcher::Equal("half", "a")}, {Matcher::Equal("__name__", "m")}};
  EXPECT_THAT(List({.selectors = both, .at_once = 64}), SizeIs(600));
  EXPECT_THAT(List({.selectors = {{Matcher::Equal("half", "a")}}, .at_once = 64}), SizeIs(300));
  EXPECT_THAT(List({.lookup = {.range = {0, 5000}}, .at_once = 64}), SizeIs(300));
  EXPECT_THAT(List({.selectors = {{Matcher::Equal("half", "b")}}, .lookup = {.range = {0, 5000}}}), IsEmpty());
  EXPECT_EQ(ListSeries(store_.get(), {.lookup = {.range = {2, 1}}}, [](const auto&, const auto&) { return Status::Ok(); }).status().code(),
            StatusCode::kInvalidArgument);
}

// What ListLabelNames (`name` empty) or ListLabelValues visit.
std::vector<std::string> Strings(Storage* store, const std::string& name, const std::vector<std::vector<Matcher>>& selectors,
                                 const LookupOptions& options, SeriesListResult* result) {
  std::vector<std::string> all;
  const auto visit = [&all](std::string_view s) { all.emplace_back(s); };
  const auto listed =
      name.empty() ? ListLabelNames(store, selectors, options, visit) : ListLabelValues(store, name, selectors, options, visit);
  EXPECT_EQ(listed.status(), Status::Ok());
  if (listed.ok()) *result = *listed;
  return all;
}

TEST_P(SeriesListTest, NamesAndValuesOfAnySelectorComeOnceAndInOrder) {
  SeriesListResult result;
  EXPECT_THAT(Strings(store_.get(), "", {}, {}, &result), ElementsAre("__name__", "half", "i"));
  EXPECT_FALSE(result.truncated);
  EXPECT_THAT(Strings(store_.get(), "", {}, {.limit = 2}, &result), ElementsAre("__name__", "half"));
  EXPECT_TRUE(result.truncated);
  EXPECT_THAT(Strings(store_.get(), "half", {}, {}, &result), ElementsAre("a", "b"));
  EXPECT_THAT(Strings(store_.get(), "half", {}, {.range = {0, 5000}}, &result), ElementsAre("a"));
  const Matcher a = Matcher::Equal("half", "a"), one = Matcher::Equal("i", "1400");
  EXPECT_THAT(Strings(store_.get(), "half", {{a}}, {}, &result), ElementsAre("a"));
  EXPECT_THAT(Strings(store_.get(), "half", {{a}, {one}}, {}, &result), ElementsAre("a", "b"));
  EXPECT_THAT(Strings(store_.get(), "half", {{a}, {}}, {}, &result), ElementsAre("a", "b"));
  EXPECT_THAT(Strings(store_.get(), "half", {{Matcher::Equal("i", "no")}}, {}, &result), IsEmpty());
  EXPECT_THAT(Strings(store_.get(), "i", {{a}, {one}}, {}, &result), SizeIs(301));
  EXPECT_EQ(ListLabelValues(store_.get(), "i", {}, {.range = {2, 1}}, [](std::string_view) {}).status().code(),
            StatusCode::kInvalidArgument);
}

// More than comes from a shard at a time, from memory and from tables, and long values, which share the beginning of their keys.
TEST_P(SeriesListTest, ManyLargeValuesAreListedWhole) {
  std::vector<std::string> values;
  const auto add = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      const std::size_t shared = i % 2 == 0 ? 100 : 1500;
      values.push_back(std::string(shared, 'v') + std::to_string(100'000 + i * 7919 % 100'000) + std::string(i % 500, 'w'));
      TimeSeries series;
      series.labels = Labels{{"__name__", "large"}, {"value", values.back()}};
      series.samples.push_back({1000, 1.0});
      ASSERT_EQ(store_->Write(series).status, Status::Ok());
    }
  };
  add(0, 2000);
  ASSERT_EQ(store_->Checkpoint(), Status::Ok());
  add(1500, 3000);
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  SeriesListResult result;
  EXPECT_TRUE(Strings(store_.get(), "value", {}, {}, &result) == values);
  EXPECT_TRUE(Strings(store_.get(), "value", {{Matcher::Equal("__name__", "large")}}, {}, &result) == values);
  const auto found = store_->LabelValues("value", {}, {.limit = 1234});
  ASSERT_EQ(found.status(), Status::Ok());
  EXPECT_TRUE(found->truncated);
  EXPECT_TRUE(found->values == std::vector<std::string>(values.begin(), values.begin() + 1234));
}

INSTANTIATE_TEST_SUITE_P(Engines, SeriesListTest, AllEngines(), EngineName);

}  // namespace
}  // namespace chronolith::ops

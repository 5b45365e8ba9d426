// Deletes and chunks that are still open.
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kMinute = 60'000;

class DeleteOpenChunk : public EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, DeleteOpenChunk, AllEngines(), EngineName);

// The open chunk ends before the deleted range, and would have grown into it.
TEST_P(DeleteOpenChunk, SamplesWrittenLaterIntoTheRangeStay) {
  store_.Open();
  const Labels labels{{"__name__", "m"}};
  store_.Write(labels, {{1 * kMinute, 1}});
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "m")}, {2 * kMinute, 10 * kMinute}).ok());
  store_.Write(labels, {{5 * kMinute, 5}});
  const Contents expected = {{"m", {{1 * kMinute, Shown(1)}, {5 * kMinute, Shown(5)}}}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), expected); });
}

TEST_P(DeleteOpenChunk, HistogramsWrittenLaterIntoTheRangeStay) {
  store_.Open();
  const auto write = [&](Timestamp t) {
    TimeSeries series{.labels = {{"__name__", "h"}}};
    series.histograms.push_back({t, FloatHistogram{}});
    EXPECT_TRUE(store_->Write(series).ok());
  };
  write(1 * kMinute);
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "h")}, {2 * kMinute, 10 * kMinute}).ok());
  write(5 * kMinute);
  ThroughEverything([&] { EXPECT_EQ(store_.Read()["h"].size(), 2U); });
}

TEST_P(DeleteOpenChunk, RejectTakesANewValueForADeletedTimestamp) {
  store_.options().duplicate_policy = DuplicatePolicy::kReject;
  store_.Open();
  const Labels labels{{"__name__", "m"}};
  store_.Write(labels, {{1 * kMinute, 1}});
  EXPECT_EQ(store_->Write(MakeSeries(labels, {{1 * kMinute, 2}})).status.code(), StatusCode::kAlreadyExists);
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "m")}, {0, 2 * kMinute}).ok());
  store_.Write(labels, {{1 * kMinute, 3}});
  const Contents expected = {{"m", {{1 * kMinute, Shown(3)}}}};
  ThroughEverything([&] { EXPECT_EQ(store_.Read(), expected); });
}

}  // namespace
}  // namespace chronolith

// ChunkChurn and ShardCondition on values.
#include "ops/chunk_churn.h"

#include <gtest/gtest.h>

#include <limits>

#include "ops/shard_condition.h"

namespace chronolith::ops {
namespace {

class ChunkChurnOf : public ::testing::Test {
 protected:
  static ChunkMeta Chunk(Timestamp window_hour, std::uint32_t ordinal, Timestamp min_time, Timestamp max_time) {
    ChunkMeta meta;
    meta.window = window_hour * kHourMs;
    meta.ordinal = ordinal;
    meta.min_time = min_time;
    meta.max_time = max_time;
    return meta;
  }
  std::map<Timestamp, WindowChurn> windows_;
  std::map<std::int64_t, HourChurn> hours_;
};

TEST_F(ChunkChurnOf, HoursBeforeAndBehind1970AreWhole) {
  EXPECT_EQ(HourOf(0), 0);
  EXPECT_EQ(HourOf(kHourMs - 1), 0);
  EXPECT_EQ(HourOf(kHourMs), 1);
  EXPECT_EQ(HourOf(-1), -1);
  EXPECT_EQ(HourOf(-kHourMs), -1);
  EXPECT_EQ(HourOf(-kHourMs - 1), -2);
}

TEST_F(ChunkChurnOf, FirstAndLastAreThoseOfAllChunksOfASeries) {
  ChunkChurn churn(3, &windows_, &hours_);
  churn.Add(Chunk(0, 0, kHourMs, 2 * kHourMs - 1));
  churn.Add(Chunk(0, 0, 10, 20));  // a late one of the same window
  churn.Add(Chunk(0, 1, kHourMs, kHourMs));
  churn.Add(Chunk(2, 0, 3 * kHourMs, 3 * kHourMs + 5));
  churn.Add(Chunk(2, 3, 0, 0));  // no such series
  churn.End(true);
  ASSERT_EQ(hours_.size(), 3U);
  EXPECT_EQ(hours_[0].first, 1U);
  EXPECT_EQ(hours_[0].last, 0U);
  EXPECT_EQ(hours_[kHourMs].first, 1U);
  EXPECT_EQ(hours_[kHourMs].last, 1U);
  EXPECT_EQ(hours_[3 * kHourMs].last, 1U);
  ASSERT_EQ(windows_.size(), 2U);
  EXPECT_EQ(windows_[0].active, 2U);
  EXPECT_EQ(windows_[0].first, 2U);
  EXPECT_EQ(windows_[0].last, 1U);
  EXPECT_EQ(windows_[2 * kHourMs].active, 1U);
  EXPECT_EQ(windows_[2 * kHourMs].first, 0U);
  EXPECT_EQ(windows_[2 * kHourMs].last, 1U);
}

TEST_F(ChunkChurnOf, WhereChunksAreMissingNoSeriesEnds) {
  ChunkChurn churn(1, &windows_, &hours_);
  churn.Add(Chunk(0, 0, 0, 1));
  churn.End(false);
  EXPECT_EQ(hours_[0].first, 1U);
  EXPECT_EQ(hours_[0].last, 0U);
  EXPECT_EQ(windows_[0].last, 0U);
}

TEST_F(ChunkChurnOf, TimesBeyondItsHoursAreTheLastThatFits) {
  ChunkChurn churn(1, &windows_, &hours_);
  churn.Add(Chunk(0, 0, std::numeric_limits<Timestamp>::min() + 1, std::numeric_limits<Timestamp>::max()));
  churn.End(true);
  ASSERT_EQ(hours_.size(), 2U);
  EXPECT_EQ(hours_.begin()->first, std::numeric_limits<std::int32_t>::min() * kHourMs);
  EXPECT_EQ(hours_.rbegin()->first, std::numeric_limits<std::int32_t>::max() * kHourMs);
}

struct NumberedShard {
  ShardId shard;
  ShardCondition condition;
};

TEST(ShardCondition, NamesEachPartOnceAndEachProblem) {
  ShardCondition condition;
  EXPECT_TRUE(condition.complete());
  EXPECT_EQ(condition.State(), "ok");
  EXPECT_TRUE(condition.Problems(3).empty());
  condition.unread = {{"chunks", "a"}, {"log", "b"}, {"log", "c"}};
  EXPECT_FALSE(condition.complete());
  EXPECT_EQ(condition.State(), "damaged: chunks, log");
  EXPECT_EQ(condition.Problems(3), (std::vector<std::string>{"shard 3, chunks: a", "shard 3, log: b", "shard 3, log: c"}));
  condition.quarantine = "d";
  EXPECT_EQ(condition.State(), "quarantined");
  EXPECT_EQ(condition.Problems(3).front(), "shard 3 is quarantined: d");
  const std::vector<NumberedShard> shards = {{0, {}}, {1, condition}};
  EXPECT_FALSE(AllComplete(shards));
  EXPECT_EQ(ProblemsOf(shards).size(), 4U);
}

}  // namespace
}  // namespace chronolith::ops

#include "ops/store_cardinality.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "tests/storage/quarantine_fixture.h"

namespace chronolith::ops {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using Counts = std::map<std::pair<std::string, std::string>, std::uint64_t>;

// The same from the labels as a look-up gives them, in the simplest way.
struct Expected {
  explicit Expected(const std::vector<Labels>& series) : series(series.size()) {
    for (const Labels& labels : series) {
      for (const Label& l : labels) {
        ++pairs[{std::string(l.name), std::string(l.value)}];
        if (values[std::string(l.name)].emplace(l.value).second) bytes[std::string(l.name)] += l.value.size();
      }
    }
  }
  std::uint64_t series;
  Counts pairs;
  std::map<std::string, std::uint64_t> bytes;
  std::map<std::string, std::set<std::string>> values;
};

// Everything that was counted is right, and nothing larger is missing.
void ExpectTop(const std::vector<PairCount>& top, const Counts& all, std::size_t k) {
  ASSERT_EQ(top.size(), std::min(k, all.size()));
  std::vector<std::uint64_t> largest;
  for (const auto& [pair, series] : all) largest.push_back(series);
  std::sort(largest.rbegin(), largest.rend());
  for (std::size_t i = 0; i < top.size(); ++i) {
    EXPECT_EQ(top[i].series, largest[i]) << i;
    const auto it = all.find({top[i].name, top[i].value});
    ASSERT_NE(it, all.end()) << top[i].name << "=" << top[i].value;
    EXPECT_EQ(top[i].series, it->second) << top[i].name << "=" << top[i].value;
  }
}

void ExpectAll(const StoreCardinality& got, const Expected& expected, std::size_t k) {
  EXPECT_TRUE(got.complete);
  EXPECT_EQ(got.series, expected.series);
  EXPECT_EQ(got.label_pairs, expected.pairs.size());
  EXPECT_EQ(got.label_names, expected.values.size());
  ExpectTop(got.pairs, expected.pairs, k);
  Counts metrics;
  for (const auto& [pair, series] : expected.pairs) {
    if (pair.first == kMetricName) metrics[pair] = series;
  }
  ExpectTop(got.metrics, metrics, k);
  std::vector<std::pair<std::string, std::uint64_t>> by_values, by_bytes;
  for (const auto& [name, values] : expected.values) by_values.emplace_back(name, values.size());
  for (const auto& [name, bytes] : expected.bytes) by_bytes.emplace_back(name, bytes);
  for (auto* list : {&by_values, &by_bytes}) {
    std::stable_sort(list->begin(), list->end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    if (list->size() > k) list->resize(k);
  }
  ASSERT_THAT(got.names_by_values, SizeIs(by_values.size()));
  for (std::size_t i = 0; i < by_values.size(); ++i) {
    EXPECT_EQ(std::pair(got.names_by_values[i].name, got.names_by_values[i].values), by_values[i]);
  }
  ASSERT_THAT(got.names_by_bytes, SizeIs(by_bytes.size()));
  for (std::size_t i = 0; i < by_bytes.size(); ++i) {
    EXPECT_EQ(std::pair(got.names_by_bytes[i].name, got.names_by_bytes[i].bytes), by_bytes[i]);
  }
}

class StoreCardinalityTest : public ::testing::TestWithParam<std::string> {
 protected:
  StoreCardinalityTest() : store_(GetParam()) { store_.Open(); }

  // Some pairs are in all series, some in one; some series lack a label; pairs (x, y) and (y, x).
  void Write(int from, int to) {
    std::vector<TimeSeries> batch;
    for (int i = from; i < to; ++i) {
      std::vector<std::pair<std::string, std::string>> labels = {
          {"__name__", "m" + std::to_string(i % 7 * (i % 3))}, {"all", "same"}, {"id", std::to_string(i * 7919)}};
      if (i % 5 == 0) labels.emplace_back("some", std::string(static_cast<std::size_t>(i % 11), 'v') + "x");
      labels.emplace_back(i % 2 == 0 ? "x" : "y", i % 2 == 0 ? "y" : "x");
      batch.push_back(MakeSeries(Labels(std::move(labels)), {{kT + i, 1.0}}));
    }
    ASSERT_EQ(store_->Write(batch).status, Status::Ok());
  }
  StoreCardinality Count(const StoreCardinalityOptions& options) {
    Result<StoreCardinality> counted = CountStoreCardinality(store_.get(), options);
    EXPECT_TRUE(counted.ok()) << counted.status().ToString();
    return counted.ok() ? std::move(*counted) : StoreCardinality();
  }
  void ExpectCounted(const StoreCardinalityOptions& options) {
    const auto series = store_->Series({});
    ASSERT_TRUE(series.ok());
    const StoreCardinality got = Count(options);
    EXPECT_FALSE(got.partial);
    ExpectAll(got, Expected(series->values), options.top);
  }

  TestStore store_;
};
INSTANTIATE_TEST_SUITE_P(Engines, StoreCardinalityTest, AllEngines(), EngineName);

TEST_P(StoreCardinalityTest, CountsWhatALookUpFindsWhereverItIs) {
  ExpectCounted({});  // nothing
  Write(0, 700);
  ExpectCounted({});
  store_.Checkpoint();
  Write(700, 1000);  // rows, and what only the log has
  ExpectCounted({.top = 3});
  ExpectCounted({.top = 5000});
  store_.Restart();
  ExpectCounted({});
  ASSERT_TRUE(store_->Delete({Matcher::Equal("__name__", "m0")}, {}).ok());
  store_.Compact();  // their series leave the index
  EXPECT_LT(Count({}).series, 700U);
  ExpectCounted({});
}

TEST_P(StoreCardinalityTest, InSeveralPartsTheCountIsTheSame) {
  Write(0, 1000);
  for (const std::size_t pairs : {1, 3, 50, 400, 1022}) {
    SCOPED_TRACE(pairs);
    ExpectCounted({.top = 20, .pairs_at_once = pairs});
  }
}

TEST_P(StoreCardinalityTest, WhatItsBoundsLeaveOutIsSaid) {
  Write(0, 100);
  const StoreCardinality late = Count({.deadline = std::chrono::steady_clock::now()});
  EXPECT_FALSE(late.complete);
  EXPECT_EQ(late.series, 0U);
  const StoreCardinality few = Count({.names_max = 2});
  EXPECT_FALSE(few.complete);
  EXPECT_EQ(few.series, 100U);
  EXPECT_EQ(few.label_names, 2U);
  EXPECT_THAT(few.metrics, SizeIs(10));
  EXPECT_THAT(Count({.top = 0}).pairs, IsEmpty());
}

TEST_P(StoreCardinalityTest, TellsWhatIsInMemory) {
  StoreCardinality got = Count({});
  EXPECT_EQ(std::tuple(got.head_chunks, got.head_min_time, got.head_max_time), std::tuple(0U, kMaxTimestamp, kMinTimestamp));
  Write(0, 100);
  got = Count({});
  EXPECT_EQ(std::tuple(got.head_chunks, got.head_min_time, got.head_max_time), std::tuple(100U, kT, kT + 99));
}

TEST_F(QuarantineTest, CountsTheOtherShardsAndSaysSo) {
  Fill();
  const std::string path = FileOf("index.2");
  const std::string good = ReadFile(path);
  fs::remove(path);
  store_.Open();
  const auto series = store_->Series({}, {.skip_damaged = true});
  ASSERT_TRUE(series.ok());
  ASSERT_EQ(series->values.size(), Without(2).size());
  const auto got = CountStoreCardinality(store_.get(), {});
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_TRUE(got->partial);
  ExpectAll(*got, Expected(series->values), 10);
  store_.Close();
}

}  // namespace
}  // namespace chronolith::ops

#include "query/label_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

TEST(LabelOrder, AgreesWithTheOrderOfLabels) {
  std::mt19937_64 random(TestSeed());
  const std::vector<std::string> words = {"a",
                                          "b",
                                          "ab",
                                          "aa",
                                          "",
                                          std::string("\0", 1),
                                          std::string("a\0", 2),
                                          std::string("a\0b", 3),
                                          "\x01",
                                          "a\x01",
                                          "a\x02",
                                          "\xff",
                                          std::string(300, 'x'),
                                          std::string(300, 'x') + "y",
                                          "node_cpu_seconds_total"};
  for (int round = 0; round < 50; ++round) {
    std::vector<Labels> labels;
    const std::size_t n = random() % 200;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<std::pair<std::string, std::string>> pairs;
      for (const char* name : {"__name__", "a", "ab", "b"}) {
        if (random() % 3 != 0) pairs.emplace_back(name, words[random() % words.size()]);
      }
      labels.push_back(Labels(std::move(pairs)));
    }
    std::vector<std::uint32_t> expected(labels.size());
    std::iota(expected.begin(), expected.end(), 0U);
    std::stable_sort(expected.begin(), expected.end(), [&](std::uint32_t a, std::uint32_t b) { return labels[a] < labels[b]; });
    ASSERT_EQ(SortedByLabels(labels), expected);
  }
}

TEST(LabelOrder, OfManyThatBeginAlike) {
  std::vector<Labels> expected;
  for (const char* metric : {"node_cpu_seconds_total", "node_cpu_seconds_total_more", "node_disk_bytes"}) {
    for (int cpu = 10; cpu < 30; ++cpu) {
      for (int instance = 100; instance < 120; ++instance) {
        const std::string host = "a-host-of-a-long-name-" + std::to_string(instance) + ".example.com:9100";
        expected.push_back(
            Labels{{"__name__", metric}, {"cluster", "production"}, {"cpu", std::to_string(cpu)}, {"instance", host}});
        expected.push_back(expected.back());
        expected.push_back(Labels{
            {"__name__", metric}, {"cluster", "production"}, {"cpu", std::to_string(cpu)}, {"instance", host}, {"mode", "idle"}});
      }
    }
  }
  std::mt19937_64 random(TestSeed());
  std::vector<Labels> shuffled(expected);
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  std::vector<Labels> sorted;
  for (const std::uint32_t i : SortedByLabels(shuffled)) sorted.push_back(shuffled[i]);
  EXPECT_EQ(sorted, expected);
}

TEST(LabelOrder, OfNothingAndOfOneAndOfEqualOnes) {
  EXPECT_TRUE(SortedByLabels({}).empty());
  EXPECT_EQ(SortedByLabels({Labels{{"a", "b"}}}), std::vector<std::uint32_t>{0});
  EXPECT_EQ(SortedByLabels({Labels{{"a", "b"}}, Labels{{"a", "b"}}, Labels{}}), (std::vector<std::uint32_t>{2, 0, 1}));
}

}  // namespace
}  // namespace chronolith

#include "index/postings_merge.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "format/index_rows.h"
#include "index_fixture.h"

namespace chronolith {
namespace {

std::string PostingsKeyBytes() {
  std::string key = index_rows::MakePairKey("a", "b").bytes;
  index_rows::AppendHigh(0, &key);
  return key;
}
std::string HashKeyBytes() {
  std::string key;
  index_rows::AppendHashKey(42, &key);
  return key;
}

// An operand that adds or removes each of a few ordinals.
std::string RandomOperand(const std::string& key, std::mt19937_64* random) {
  OrdinalSet added;
  OrdinalSet removed;
  const int spread = (*random)() % 5 == 0 ? 5000 : 12;
  for (int n = static_cast<int>((*random)() % (spread == 12 ? 4 : 300)); n >= 0; --n) {
    const auto ordinal = static_cast<Ordinal>((*random)() % static_cast<unsigned>(spread));
    if (added.Contains(ordinal) || removed.Contains(ordinal)) continue;
    ((*random)() % 3 == 0 ? removed : added).Add(ordinal);
  }
  if (key[0] == index_rows::kHashPrefix) {
    std::string value;
    index_rows::AppendHashValue(key, added.ToVector(), removed.ToVector(), &value);
    return value;
  }
  return index_rows::EncodePostings(key, (*random)() % 3 == 0 ? "other text" : "", added, removed);
}

std::string MustMerge(std::string_view key, const std::string* existing, const std::vector<std::string>& operands) {
  std::vector<std::string_view> views(operands.begin(), operands.end());
  const std::string_view base = existing != nullptr ? std::string_view(*existing) : std::string_view();
  std::string result;
  EXPECT_TRUE(PostingsMergeFunction().Merge(key, existing != nullptr ? &base : nullptr, views, &result));
  return result;
}

// The live ordinals, by text.
std::map<std::string, std::vector<Ordinal>> Live(const std::string& key, const std::string& value) {
  std::map<std::string, std::vector<Ordinal>> live;
  if (key[0] == index_rows::kHashPrefix) {
    index_rows::HashSets sets;
    EXPECT_TRUE(index_rows::DecodeHashValue(key, value, &sets).ok());
    if (!sets.added.empty()) live[""] = sets.added;
    return live;
  }
  std::vector<index_rows::PostingSets> entries;
  EXPECT_TRUE(index_rows::DecodePostings(key, value, &entries).ok());
  for (const auto& entry : entries) {
    if (!entry.added.empty()) live[entry.text] = entry.added.ToVector();
  }
  return live;
}

TEST(PostingsMerge, IsAssociativeAndAgreesWithAFoldOneByOne) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 2000; ++round) {
    const std::string key = round % 2 == 0 ? PostingsKeyBytes() : HashKeyBytes();
    std::vector<std::string> operands;
    for (std::size_t n = 1 + random() % 6; n > 0; --n) operands.push_back(RandomOperand(key, &random));
    const std::string base = MustMerge(key, nullptr, {RandomOperand(key, &random)});
    const std::string* existing = random() % 2 == 0 ? &base : nullptr;

    const std::string at_once = MustMerge(key, existing, operands);
    std::string one_by_one = existing != nullptr ? base : operands[0];
    for (std::size_t i = existing != nullptr ? 0 : 1; i < operands.size(); ++i) {
      one_by_one =
          existing != nullptr ? MustMerge(key, &one_by_one, {operands[i]}) : MustMerge(key, nullptr, {one_by_one, operands[i]});
    }
    // Any grouping: fold a random run of neighbours first, as a compaction does.
    std::vector<std::string> grouped = operands;
    while (grouped.size() > 1 && random() % 4 != 0) {
      const std::size_t i = random() % (grouped.size() - 1);
      grouped[i] = MustMerge(key, nullptr, {grouped[i], grouped[i + 1]});
      grouped.erase(grouped.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
    const std::string of_groups = MustMerge(key, existing, grouped);
    EXPECT_EQ(Live(key, at_once), Live(key, one_by_one));
    EXPECT_EQ(Live(key, at_once), Live(key, of_groups));
    EXPECT_EQ(at_once, of_groups);
  }
}

TEST(PostingsMerge, RepeatedOperandsChangeNothing) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 500; ++round) {
    const std::string key = round % 2 == 0 ? PostingsKeyBytes() : HashKeyBytes();
    const std::string a = RandomOperand(key, &random);
    const std::string b = RandomOperand(key, &random);
    EXPECT_EQ(MustMerge(key, nullptr, {a, b}), MustMerge(key, nullptr, {a, b, a, b}));
  }
}

TEST(PostingsMerge, RefusesDamage) {
  std::string result;
  const std::string key = PostingsKeyBytes();
  std::string good = index_rows::EncodePostings(key, {}, {}, {});
  std::string bad = good;
  bad.back() = static_cast<char>(bad.back() ^ 1);
  const std::vector<std::string_view> bad_operand{bad};
  const std::vector<std::string_view> good_operand{good};
  const std::string_view bad_base = bad;
  const PostingsMergeFunction merge;
  EXPECT_TRUE(merge.Merge(key, nullptr, good_operand, &result));
  EXPECT_FALSE(merge.Merge(key, nullptr, bad_operand, &result));
  EXPECT_FALSE(merge.Merge(key, &bad_base, good_operand, &result));
  EXPECT_FALSE(merge.Merge("", nullptr, good_operand, &result));
  EXPECT_FALSE(merge.Merge("l", nullptr, good_operand, &result));
  EXPECT_FALSE(merge.Merge(HashKeyBytes(), nullptr, good_operand, &result));
}

TEST(EmptyPostingsFilter, DropsOnlyRowsWithoutSeries) {
  const EmptyPostingsFilter filter;
  const std::string key = PostingsKeyBytes();
  OrdinalSet one;
  one.Add(1);
  EXPECT_TRUE(filter.ShouldDrop(key, index_rows::EncodePostings(key, {}, {}, {})));
  EXPECT_FALSE(filter.ShouldDrop(key, index_rows::EncodePostings(key, {}, one, {})));
  EXPECT_FALSE(filter.ShouldDrop(key, index_rows::EncodePostings(key, {}, {}, one)));  // may still have to remove
  EXPECT_FALSE(filter.ShouldDrop(key, "damaged"));
  EXPECT_FALSE(filter.ShouldDrop(index_rows::StateKey(), index_rows::EncodeState({})));
  EXPECT_FALSE(filter.ShouldDrop("", ""));
  std::string empty_hash;
  index_rows::AppendHashValue(HashKeyBytes(), {}, {}, &empty_hash);
  EXPECT_TRUE(filter.ShouldDrop(HashKeyBytes(), empty_hash));
}

}  // namespace
}  // namespace chronolith

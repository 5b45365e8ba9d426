#include "base/ordinal_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kLast = 0xffffffffU;

OrdinalSet Of(const std::set<std::uint32_t>& values) {
  OrdinalSet s;
  for (const std::uint32_t v : values) s.Add(v);
  return s;
}

std::vector<std::uint32_t> Vector(const std::set<std::uint32_t>& values) { return {values.begin(), values.end()}; }

TEST(OrdinalSet, BehavesAsASet) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    std::set<std::uint32_t> a, b;
    const std::uint64_t spread = 1ULL << (1 + random() % 32);
    for (std::uint64_t n = random() % 300; n > 0; --n) a.insert(static_cast<std::uint32_t>(random() % spread));
    for (std::uint64_t n = random() % 300; n > 0; --n) b.insert(static_cast<std::uint32_t>(random() % spread));
    std::set<std::uint32_t> both, either = a, without = a;
    for (const std::uint32_t v : b) {
      if (a.contains(v)) both.insert(v);
      either.insert(v);
      without.erase(v);
    }
    const OrdinalSet x = Of(a);
    OrdinalSet y;
    y.AddMany(Vector(b));
    OrdinalSet s = x;
    s.IntersectWith(y);
    ASSERT_EQ(s.ToVector(), Vector(both));
    ASSERT_EQ(x.IntersectionSize(y), both.size());
    s = x;
    s.UnionWith(y);
    ASSERT_EQ(s.ToVector(), Vector(either));
    s = x;
    s.Subtract(y);
    ASSERT_EQ(s.ToVector(), Vector(without));
    ASSERT_EQ(s.size(), without.size());
    ASSERT_EQ(s.empty(), without.empty());
    for (const std::uint32_t v : a) {
      s.Remove(v);
      ASSERT_FALSE(s.Contains(v));
      ASSERT_TRUE(x.Contains(v)) << "a copy is its own";
    }
    ASSERT_TRUE(s.empty());
  }
}

TEST(OrdinalSet, HoldsTheWholeRangeOfOrdinals) {
  OrdinalSet s;
  s.AddRange(0, kLast);
  EXPECT_EQ(s.size(), 1ULL << 32);
  EXPECT_TRUE(s.Contains(kLast));
  s.Remove(kLast);
  EXPECT_FALSE(s.Contains(kLast));
  OrdinalSet ends;
  ends.Add(0);
  ends.Add(kLast);
  EXPECT_EQ(s.IntersectionSize(ends), 1U);
  EXPECT_EQ(ends.ToVector(), (std::vector<std::uint32_t>{0, kLast}));
}

TEST(OrdinalSet, AddRangeHasBothEndsInclusive) {
  OrdinalSet s;
  s.AddRange(7, 7);
  s.AddRange(65535, 65537);
  EXPECT_EQ(s.ToVector(), (std::vector<std::uint32_t>{7, 65535, 65536, 65537}));
}

TEST(OrdinalSet, IsAValueThatCanBeMovedAndAssigned) {
  OrdinalSet a = Of({1, 2, 3});
  OrdinalSet b = std::move(a);
  EXPECT_EQ(b.size(), 3U);
  a = b;  // a moved-from set may be assigned to
  a.Add(4);
  EXPECT_EQ(b.size(), 3U);
  EXPECT_EQ(a.size(), 4U);
  const OrdinalSet& same = a;
  a = same;
  EXPECT_EQ(a.size(), 4U);
  a.UnionWith(a);
  EXPECT_EQ(a.size(), 4U);
  EXPECT_GT(a.memory_bytes(), sizeof(OrdinalSet));
}

}  // namespace
}  // namespace chronolith

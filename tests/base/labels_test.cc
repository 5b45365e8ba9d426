#include "chronolith/labels.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs PairsOf(const Labels& labels) {
  Pairs pairs;
  for (const Label& label : labels) pairs.emplace_back(label.name, label.value);
  return pairs;
}

TEST(Labels, AreSortedByNameWhateverTheOrderGiven) {
  const Labels a({{"job", "node"}, {"__name__", "up"}, {"instance", "a:1"}});
  const Labels b({{"__name__", "up"}, {"instance", "a:1"}, {"job", "node"}});
  EXPECT_EQ(a, b);
  EXPECT_EQ(PairsOf(a), (Pairs{{"__name__", "up"}, {"instance", "a:1"}, {"job", "node"}}));
  EXPECT_EQ(a.size(), 3U);
  EXPECT_EQ(a.Get("job"), "node");
  EXPECT_EQ(a.Get("jo"), "");
  EXPECT_EQ(a.Get(""), "");
  EXPECT_EQ(Labels(Pairs{{"job", "node"}, {"instance", "a:1"}, {"__name__", "up"}}), a);
}

TEST(Labels, AreEncodedAsLengthsAndBytes) {
  const std::string expected(
      "\x01"
      "a"
      "\x02"
      "xy"
      "\x02"
      "bb"
      "\x00",
      9);
  EXPECT_EQ(Labels({{"bb", ""}, {"a", "xy"}}).encoded(), expected);
  const Labels again = Labels::FromEncoded(expected);
  EXPECT_EQ(PairsOf(again), (Pairs{{"a", "xy"}, {"bb", ""}}));
  std::string built;
  Labels::AppendEncoded("a", "xy", &built);
  Labels::AppendEncoded("bb", "", &built);
  EXPECT_EQ(built, expected);
  const Labels large({{"name", std::string(300, 'v')}});  // a length of two bytes
  EXPECT_EQ(large.Get("name").size(), 300U);
}

TEST(Labels, KeepDuplicateAndEmptyNamesForTheWriteToRefuse) {
  EXPECT_EQ(PairsOf(Labels({{"a", "2"}, {"", "x"}, {"a", "1"}})), (Pairs{{"", "x"}, {"a", "2"}, {"a", "1"}}));
}

TEST(Labels, EmptyOnesHaveNothing) {
  const Labels none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0U);
  EXPECT_TRUE(none.begin() == none.end());
  EXPECT_EQ(none.ToString(), "{}");
  EXPECT_EQ(none, Labels::FromEncoded(""));
}

TEST(Labels, IterationOfMalformedBytesEndsEarly) {
  const struct {
    std::string bytes;
    Pairs pairs;
  } rows[] = {
      {std::string("\x01"
                   "a",
                   2),
       {}},  // no value
      {std::string("\x01"
                   "a"
                   "\x05"
                   "xy",
                   5),
       {}},  // value cut off
      {std::string("\x09"
                   "a",
                   2),
       {}},                          // name cut off
      {std::string("\x80", 1), {}},  // length cut off
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                   "a",
                   11),
       {}},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"
                   "a",
                   11),
       {}},
      {std::string("\x01"
                   "a"
                   "\x01"
                   "x"
                   "\x01",
                   5),
       {{"a", "x"}}},
      {std::string("\x01"
                   "a"
                   "\x01"
                   "x"
                   "\x01"
                   "b"
                   "\xff",
                   7),
       {{"a", "x"}}},
  };
  for (const auto& row : rows) {
    const Labels labels = Labels::FromEncoded(row.bytes);
    EXPECT_EQ(PairsOf(labels), row.pairs);
    EXPECT_EQ(labels.Get("zz"), "");
    EXPECT_EQ(labels.encoded(), row.bytes) << "the bytes stay as they are";
    (void)labels.ToString();
  }
}

TEST(Labels, OrderIsLabelByLabelAndAPrefixSortsFirst) {
  const std::vector<Labels> ascending = {
      {},
      {{"a", ""}},
      {{"a", "1"}},
      {{"a", "1"}, {"b", "1"}},
      {{"a", "1"}, {"b", "2"}},
      {{"a", "1"}, {"bb", "1"}},  // not the order of the encoded bytes: there the length of the name comes first
      {{"a", "1"}, {"c", "1"}},
      {{"a", "10"}},
      {{"a", "9"}},
      {{"aa", "0"}},
      {{"b", "0"}},
      {{"b", "\x7f"}},
      {{"b", "\x80"}},  // bytes are unsigned
      {{"b", "\xff"}},
  };
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t k = 0; k < ascending.size(); ++k) {
      EXPECT_EQ(ascending[i] <=> ascending[k], i <=> k) << ascending[i].ToString() << " " << ascending[k].ToString();
      EXPECT_EQ(ascending[i] == ascending[k], i == k);
    }
  }
}

TEST(Labels, OrderAgreesWithThatOfPairs) {
  std::mt19937_64 random(TestSeed());
  const auto draw = [&] {
    std::map<std::string, std::string> pairs;
    for (std::uint64_t n = random() % 4; n > 0; --n) {
      pairs[std::string(1 + random() % 2, static_cast<char>('a' + random() % 2))] =
          std::string(random() % 3, static_cast<char>('0' + random() % 2));
    }
    return Pairs(pairs.begin(), pairs.end());
  };
  for (int i = 0; i < 5000; ++i) {
    const Pairs a = draw();
    const Pairs b = draw();
    ASSERT_EQ(Labels(a) <=> Labels(b), a <=> b) << Labels(a).ToString() << " " << Labels(b).ToString();
  }
}

TEST(Labels, ToStringEscapesAsPrometheusDoes) {
  EXPECT_EQ(Labels({{"__name__", "up"}}).ToString(), "up");
  EXPECT_EQ(Labels({{"__name__", "up"}, {"b", "2"}, {"a", "1"}}).ToString(), R"(up{a="1",b="2"})");
  EXPECT_EQ(Labels({{"a", "quote\" slash\\ line\n tab\t"}}).ToString(), "{a=\"quote\\\" slash\\\\ line\\n tab\t\"}");
}

TEST(Matcher, ToStringNamesTheOperator) {
  EXPECT_EQ(Matcher::Equal("a", "x").ToString(), R"(a="x")");
  EXPECT_EQ(Matcher::NotEqual("a", "x").ToString(), R"(a!="x")");
  EXPECT_EQ(Matcher::Regex("a", "x|\"").ToString(), R"(a=~"x|\"")");
  EXPECT_EQ(Matcher::NotRegex("a", "\\d").ToString(), R"(a!~"\\d")");
}

}  // namespace
}  // namespace chronolith

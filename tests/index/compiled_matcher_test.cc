#include "index/compiled_matcher.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace chronolith {
namespace {

using Type = Matcher::Type;
using Shape = CompiledMatcher::Shape;

struct MatchRow {
  Type type;
  std::string pattern;
  std::string value;
  bool matches;
};

// What Prometheus' labels.Matcher answers.
TEST(CompiledMatcher, MatchesAsPrometheusDoes) {
  const std::vector<MatchRow> rows = {
      {Type::kEqual, "bar", "bar", true},
      {Type::kEqual, "bar", "foo-bar", false},
      {Type::kEqual, "bar", "", false},
      {Type::kEqual, "", "", true},
      {Type::kEqual, "", "x", false},
      {Type::kEqual, "b.r", "bar", false},
      {Type::kNotEqual, "bar", "bar", false},
      {Type::kNotEqual, "bar", "foo-bar", true},
      {Type::kNotEqual, "bar", "", true},
      {Type::kNotEqual, "", "", false},
      {Type::kNotEqual, "", "x", true},
      {Type::kRegex, "bar", "bar", true},
      {Type::kRegex, "bar", "foo-bar", false},
      {Type::kRegex, "bar", "bar2", false},
      {Type::kRegex, ".*bar", "foo-bar", true},
      {Type::kRegex, "", "", true},
      {Type::kRegex, "", "x", false},
      {Type::kRegex, "foo|bar", "foo", true},
      {Type::kRegex, "foo|bar", "bar", true},
      {Type::kRegex, "foo|bar", "foobar", false},
      {Type::kRegex, "foo|bar", "fooar", false},
      {Type::kRegex, "foo|", "", true},
      {Type::kRegex, "foo|", "fo", false},
      {Type::kRegex, "(foo|bar)", "bar", true},
      {Type::kRegex, "(?:foo|bar)", "foo", true},
      {Type::kRegex, "(a)(b)", "ab", true},
      {Type::kRegex, "(a)(b)", "a)(b", false},
      {Type::kRegex, "()", "", true},
      {Type::kRegex, ".*", "", true},
      {Type::kRegex, ".*", "any\nthing", true},
      {Type::kRegex, ".+", "", false},
      {Type::kRegex, ".+", "\n", true},
      {Type::kRegex, "foo.*", "foo", true},
      {Type::kRegex, "foo.*", "foo\nbar", true},
      {Type::kRegex, "foo.*", "xfoo", false},
      {Type::kRegex, "foo.+", "foo", false},
      {Type::kRegex, "foo.+", "foo1", true},
      {Type::kRegex, "fooo*", "foo", true},
      {Type::kRegex, "fooo?", "foo", true},
      {Type::kRegex, "foo{2}", "fooo", true},
      {Type::kRegex, "foo{2}", "foo", false},
      {Type::kRegex, "foo{", "foo{", true},
      {Type::kRegex, "10\\.0\\.0\\.1", "10.0.0.1", true},
      {Type::kRegex, "10\\.0\\.0\\.1", "10x0.0.1", false},
      {Type::kRegex, "10.0.0.1", "10x0.0.1", true},
      {Type::kRegex, "10\\.1\\..*", "10.1.7", true},
      {Type::kRegex, "10\\.1\\..*", "10.17", false},
      {Type::kRegex, "a\\|b", "a|b", true},
      {Type::kRegex, "a\\|b", "a", false},
      {Type::kRegex, "[ab]|c", "b", true},
      {Type::kRegex, "[a|b]", "|", true},
      {Type::kRegex, "^foo$", "foo", true},
      {Type::kRegex, "(?i)foo", "FOO", true},
      {Type::kRegex, "(?i:foo).*", "FoO1", true},
      {Type::kRegex, "(?-s)a.*", "a\nb", false},
      {Type::kRegex, "\\d+", "042", true},
      {Type::kRegex, "\\d+", "d", false},
      {Type::kRegex, "\\Qa.b\\E", "a.b", true},
      {Type::kRegex, "\\Qa.b\\E", "axb", false},
      {Type::kRegex, "\xc3\xa9*", "\xc3\xa9\xc3\xa9", true},
      {Type::kRegex, "\xc3\xa9*", "", true},
      {Type::kRegex, ".", "\xc3\xa9", true},
      {Type::kRegex, "\xc3\xa9t\xc3\xa9|x", "\xc3\xa9t\xc3\xa9", true},
      {Type::kRegex, "ab(?)?", "a", true},
      {Type::kRegex, "ab(?i)*", "abb", true},
      {Type::kRegex, "ab\\Q\\E?", "a", true},
      {Type::kRegex, "x|y.*|z", "y1", true},
      {Type::kRegex, "x|y.*", "x", true},
      {Type::kRegex, "x|y.*", "x1", false},
      {Type::kNotRegex, "bar", "bar", false},
      {Type::kNotRegex, "bar", "foo-bar", true},
      {Type::kNotRegex, "bar", "", true},
      {Type::kNotRegex, ".*", "", false},
      {Type::kNotRegex, ".+", "", true},
      {Type::kNotRegex, ".+", "x", false},
      {Type::kNotRegex, "foo|", "", false},
      {Type::kNotRegex, "foo.*", "foobar", false},
      {Type::kNotRegex, "foo.*", "fo", true},
  };
  for (const MatchRow& row : rows) {
    const Matcher matcher{row.type, "l", row.pattern};
    const Result<CompiledMatcher> compiled = CompiledMatcher::Compile(matcher);
    ASSERT_TRUE(compiled.ok()) << matcher.ToString() << ": " << compiled.status().ToString();
    EXPECT_EQ(compiled->Matches(row.value), row.matches) << matcher.ToString() << " on '" << row.value << "'";
    if (row.value.empty()) {
      EXPECT_EQ(compiled->MatchesEmpty(), row.matches) << matcher.ToString();
    }
  }
}

TEST(CompiledMatcher, RefusesWhatIsNoMatcherAndSaysWhy) {
  struct {
    Matcher matcher;
    std::string says;
  } const rows[] = {
      {Matcher::Equal("", "x"), "empty label name"},
      {Matcher::Regex("", "x"), "empty label name"},
      {Matcher::Regex("l", "("), "l=~\"(\""},
      {Matcher::Regex("l", "("), "missing"},
      {Matcher::Regex("l", ")"), "unexpected"},
      {Matcher::Regex("l", "a)|(b"), "unexpected"},
      {Matcher::NotRegex("l", "["), "l!~\"[\""},
      {Matcher::Regex("l", "[z-a]"), "invalid character class range"},
      {Matcher::Regex("l", "*"), "no argument for repetition"},
      {Matcher::Regex("l", "a|*"), "no argument for repetition"},
      {Matcher::Regex("l", "a**"), "bad repetition operator"},
      {Matcher::Regex("l", "a\\"), "trailing"},
      {Matcher::Regex("l", "(?<x>a)"), "invalid"},
      {Matcher::Regex("l", "(?=a)"), "invalid"},
      {Matcher::Regex("l", "\\1"), "invalid escape sequence"},
      {Matcher::Regex("l", "a{1001}"), "invalid repetition"},
      {Matcher::Regex("l", "((a{100}){100}){100}"), "l=~"},
      {Matcher::Regex("l", "\xff"), "UTF-8"},
      {Matcher::Regex("l", "a.*\xc3"), "UTF-8"},
  };
  for (const auto& row : rows) {
    const Result<CompiledMatcher> compiled = CompiledMatcher::Compile(row.matcher);
    ASSERT_FALSE(compiled.ok()) << row.matcher.ToString();
    EXPECT_EQ(compiled.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(compiled.status().message().find(row.says), std::string::npos) << compiled.status().ToString();
  }
}

TEST(CompiledMatcher, FindsTheShapesThatSaveWork) {
  struct {
    std::string pattern;
    Shape shape;
    std::vector<std::string> literals;
    std::string prefix;
  } const rows[] = {
      {"abc", Shape::kLiterals, {"abc"}, ""},
      {"b|a|b", Shape::kLiterals, {"a", "b"}, ""},
      {"(a|b)", Shape::kLiterals, {"a", "b"}, ""},
      {"a\\.b|c", Shape::kLiterals, {"a.b", "c"}, ""},
      {"|a", Shape::kLiterals, {"", "a"}, ""},
      {".*", Shape::kAny, {}, ""},
      {".+", Shape::kNonEmpty, {}, ""},
      {"abc.*", Shape::kPrefix, {}, "abc"},
      {"a\\.c.*", Shape::kPrefix, {}, "a.c"},
      {"abc.+", Shape::kGeneral, {}, "abc"},
      {"abc*", Shape::kGeneral, {}, "ab"},
      {"ab\xc3\xa9?", Shape::kGeneral, {}, "ab"},
      {"abc(d|e)", Shape::kGeneral, {}, ""},
      {"abc|d.*", Shape::kGeneral, {}, ""},
      {"(?i)abc", Shape::kGeneral, {}, ""},
      {"a\\d", Shape::kGeneral, {}, "a"},
      // What is empty leaves its repetition to what stands in front of it.
      {"ab(?)?", Shape::kGeneral, {}, "a"},
      {"ab(?i-s)*", Shape::kGeneral, {}, "a"},
      {"ab\\Q\\E?", Shape::kGeneral, {}, "a"},
      {"ab(?:c)?", Shape::kGeneral, {}, "ab"},
      {"ab(c)?", Shape::kGeneral, {}, "ab"},
  };
  for (const auto& row : rows) {
    const Result<CompiledMatcher> compiled = CompiledMatcher::Compile(Matcher::Regex("l", row.pattern));
    ASSERT_TRUE(compiled.ok()) << row.pattern;
    EXPECT_EQ(compiled->shape(), row.shape) << row.pattern;
    if (row.shape == Shape::kLiterals) {
      EXPECT_EQ(compiled->literals(), row.literals) << row.pattern;
    }
    if (row.shape != Shape::kLiterals) {
      EXPECT_EQ(compiled->prefix(), row.prefix) << row.pattern;
    }
  }
}

TEST(CompiledMatcher, ALongAlternationOfLiteralsNeedsNoExpression) {
  std::string pattern;
  for (int i = 0; i < 50000; ++i) pattern += "host-" + std::to_string(i) + "|";
  const Result<CompiledMatcher> compiled = CompiledMatcher::Compile(Matcher::Regex("l", pattern + "last"));
  ASSERT_TRUE(compiled.ok());
  EXPECT_TRUE(compiled->Matches("host-49999"));
  EXPECT_FALSE(compiled->Matches("host-50000"));
}

TEST(CompiledMatcher, CompileAllStopsAtTheFirstBadOne) {
  std::vector<CompiledMatcher> compiled;
  const std::vector<Matcher> matchers{Matcher::Equal("a", "b"), Matcher::Regex("c", "(")};
  const Status s = CompiledMatcher::CompileAll(matchers, &compiled);
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(s.message().find("c=~"), std::string::npos);
}

TEST(CompiledMatcher, TheExpressionsOfAQueryShareTheirMemory) {
  const Matcher large = Matcher::Regex("l", "[a-z]([a-f]|[0-9]){400}");
  EXPECT_TRUE(CompiledMatcher::Compile(large).ok());
  std::vector<CompiledMatcher> compiled;
  EXPECT_TRUE(CompiledMatcher::CompileAll(std::vector<Matcher>(20, large), &compiled).ok());
  const Status s = CompiledMatcher::CompileAll(std::vector<Matcher>(2000, large), &compiled);
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(s.message().find("pattern too large"), std::string::npos) << s.ToString();
  // Those that people write stay possible in any number that they write.
  EXPECT_TRUE(
      CompiledMatcher::CompileAll(std::vector<Matcher>(100, Matcher::NotRegex("l", ".*test.*|canary-[0-9]+")), &compiled).ok());
}

}  // namespace
}  // namespace chronolith

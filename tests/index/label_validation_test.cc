#include "index/label_validation.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "chronolith/labels.h"
#include "index/utf8.h"

namespace chronolith {
namespace {

std::string Encoded(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string encoded;
  for (const auto& [name, value] : pairs) Labels::AppendEncoded(name, value, &encoded);
  return encoded;
}

TEST(ValidateLabels, AcceptsWhatIdentifiesASeries) {
  std::vector<std::pair<std::string, std::string>> thirty;
  for (int i = 0; i < 30; ++i) thirty.emplace_back("l" + std::to_string(100 + i), "v");
  const std::vector<std::string> good = {
      Encoded({{"__name__", "up"}}),
      Encoded({{"a", "1"}, {"aa", "1"}, {"b", "\xc3\xa9t\xc3\xa9"}}),
      Encoded({{"n\xc3\xa4me", "1"}}),
      Encoded({{"a", std::string(2048, 'x')}}),
      Encoded({{std::string(1024, 'n'), "x"}}),
      Encoded({{"a", "line\nbreak"}}),
      Encoded({{"a", "\xf0\x9f\x98\x80"}}),
      Encoded(thirty),
  };
  for (const std::string& encoded : good) EXPECT_TRUE(ValidateLabels(encoded, {}).ok()) << ValidateLabels(encoded, {}).ToString();
}

TEST(ValidateLabels, RefusesByName) {
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 31; ++i) many.emplace_back("l" + std::to_string(100 + i), "v");
  struct {
    std::string encoded;
    std::string says;
  } const rows[] = {
      {"", "at least one label"},
      {Encoded({{"", "x"}}), "empty name"},
      {Encoded({{"a", "1"}, {"", "2"}}), "empty name"},
      {Encoded({{"b", "1"}, {"a", "2"}}), "not sorted by name: label \"a\" stands behind \"b\""},
      {Encoded({{"a", "1"}, {"a", "2"}}), "label \"a\" is there twice"},
      {Encoded({{"a", "1"}, {"a", "1"}}), "twice"},
      {Encoded({{"a", ""}}), "label \"a\" is empty"},
      {Encoded({{"a\xff", "1"}}), "name of label \"a\\xff\" is not valid UTF-8"},
      {Encoded({{"a", "\xc3"}}), "value of label \"a\" is not valid UTF-8: \"\\xc3\""},
      {Encoded({{"a", "\xc0\x80"}}), "UTF-8"},
      {Encoded({{"a", "\xed\xa0\x80"}}), "UTF-8"},
      {Encoded({{"a", "\xf4\x90\x80\x80"}}), "UTF-8"},
      {Encoded({{"a", "\xe0\x80\x80"}}), "UTF-8"},
      {Encoded(many), "more labels than max_labels_per_series (30): the first beyond is \"l130\""},
      {Encoded({{std::string(1025, 'n'), "1"}}), "is longer than max_label_name_bytes (1024)"},
      {Encoded({{"a", std::string(2049, 'v')}}), "is longer than max_label_value_bytes (2048)"},
      {std::string("\x05"
                   "a",
                   2),
       "malformed"},
      {Encoded({{"a", "1"}}) + "\x01", "malformed encoding of a label set behind label 1 \"a\""},
      {Encoded({{"a", "1"}}) + std::string(11, '\xff'), "malformed"},
      {std::string("\x01"), "malformed"},
  };
  for (const auto& row : rows) {
    const Status s = ValidateLabels(row.encoded, {});
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument) << row.says;
    EXPECT_NE(s.message().find(row.says), std::string::npos) << s.ToString() << " should say " << row.says;
    EXPECT_LT(s.message().size(), 300u);
  }
}

TEST(ValidateLabels, TakesItsLimitsFromTheCaller) {
  const LabelLimits limits{.max_labels_per_series = 1, .max_label_name_bytes = 2, .max_label_value_bytes = 3};
  EXPECT_TRUE(ValidateLabels(Encoded({{"ab", "abc"}}), limits).ok());
  EXPECT_FALSE(ValidateLabels(Encoded({{"abc", "abc"}}), limits).ok());
  EXPECT_FALSE(ValidateLabels(Encoded({{"ab", "abcd"}}), limits).ok());
  EXPECT_FALSE(ValidateLabels(Encoded({{"a", "b"}, {"c", "d"}}), limits).ok());
}

// Each label within its limits, and together more than a record of the log can carry.
TEST(ValidateLabels, RefusesMoreThanTheLogCarries) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < 20; ++i) pairs.emplace_back("n" + std::to_string(10 + i), std::string(2048, 'v'));
  EXPECT_TRUE(ValidateLabels(Encoded(pairs), LabelLimits{}).ok());
  for (int i = 20; i < 30; ++i) pairs.emplace_back("n" + std::to_string(10 + i), std::string(2048, 'v'));
  const Status status = ValidateLabels(Encoded(pairs), LabelLimits{});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find(std::to_string(Encoded(pairs).size())), std::string::npos) << status.ToString();
}

TEST(Utf8, KnowsTheEdgesOfEachForm) {
  struct {
    std::string bytes;
    bool valid;
  } const rows[] = {
      {"", true},
      {"plain ascii, longer than eight bytes", true},
      {"\xc2\x80", true},
      {"\xdf\xbf", true},
      {"\xe0\xa0\x80", true},
      {"\xed\x9f\xbf", true},
      {"\xee\x80\x80", true},
      {"\xef\xbf\xbf", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      {"12345678\xc3\xa9", true},
      {"\x80", false},
      {"\xc1\xbf", false},
      {"\xc2", false},
      {"\xc2\x41", false},
      {"\xe0\x9f\xbf", false},
      {"\xe2\x82", false},
      {"\xed\xbf\xbf", false},
      {"\xf0\x8f\xbf\xbf", false},
      {"\xf0\x90\x80", false},
      {"\xf5\x80\x80\x80", false},
      {"\xff", false},
      {"1234567\xff", false},
      {"12345678\xff", false},
  };
  for (const auto& row : rows) EXPECT_EQ(IsValidUtf8(row.bytes), row.valid) << testing::PrintToString(row.bytes);
}

}  // namespace
}  // namespace chronolith

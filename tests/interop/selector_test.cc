#include "interop/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace chronolith::interop {
namespace {

using ::testing::HasSubstr;

std::string Canonical(std::string_view text) {
  const auto matchers = ParseSelector(text);
  if (!matchers.ok()) return matchers.status().ToString();
  std::string all;
  for (const Matcher& m : *matchers) all += (all.empty() ? "" : " ") + m.ToString();
  return all;
}

TEST(ParseSelector, ReadsWhatPromqlWrites) {
  struct Row {
    const char* text;
    const char* want;
  };
  const Row kRows[] = {
      {"up", "__name__=\"up\""},
      {" job:rate5m ", "__name__=\"job:rate5m\""},
      {"{}", ""},
      {"up{}", "__name__=\"up\""},
      {"up{job=\"node\"}", "__name__=\"up\" job=\"node\""},
      {"up { job = 'no\"de' , mode =~ `a|\\d` , }", "__name__=\"up\" job=\"no\\\"de\" mode=~\"a|\\\\d\""},
      {"{__name__=~\"node_.*\",a!=\"b\",c!~\"d\"}", "__name__=~\"node_.*\" a!=\"b\" c!~\"d\""},
      {R"({a="\x41\u00e9\101\t\\\"'"})",
       "a=\"A\xc3\xa9"
       "A\t\\\\\\\"'\""},
      {"{a=\"\xc3\xa9\"}", "a=\"\xc3\xa9\""},
      {"{a=\"\"}", "a=\"\""},
      {"{a=\"1\",a!=\"2\"}", "a=\"1\" a!=\"2\""},
  };
  for (const Row& row : kRows) EXPECT_EQ(Canonical(row.text), row.want) << row.text;
}

TEST(ParseSelector, NamesThePositionOfWhatIsWrong) {
  struct Row {
    const char* text;
    const char* want;
  };
  const Row kRows[] = {
      {"", "position 1: expected a metric name or '{', got the end"},
      {"9up", "position 1: expected a metric name or '{', got \"9up\""},
      {"up job", "position 4: expected '{' or the end"},
      {"up{", "position 4: expected a label name, got the end"},
      {"up{=\"x\"}", "position 4: expected a label name, got \"="},
      {"up{job}", "position 7: expected =, !=, =~ or !~, got \"}\""},
      {"up{job==\"x\"}", "position 8: expected a value in quotes"},
      {"up{job>\"x\"}", "position 7: expected =, !=, =~ or !~"},
      {"up{job=node}", "position 8: expected a value in quotes"},
      {"up{job=\"node}", "position 8: the quote is never closed"},
      {"up{job=\"node\\", "position 13: the escape is cut off"},
      {"up{job=\"a\\q\"}", "position 10: unknown escape"},
      {"up{job=\"a\\x4\"}", "position 10: escape \"\\\\x\" needs 2 digits"},
      {"up{job=\"a\\400\"}", "beyond a byte"},
      {"up{job=\"\\ud800\"}", "no Unicode character"},
      {"up{job=\"\\xff\"}", "position 8: the value is not valid UTF-8"},
      {"up{job=\"a\" mode=\"b\"}", "position 12: expected ',' or '}'"},
      {"up{job=\"a\",,}", "position 12: expected a label name"},
      {"up{job=\"a\"} offset 5m", "position 13: expected the end"},
      {"up{job=\"a\"}[5m]", "position 12: expected the end"},
      {"up{__name__=\"down\"}", "given twice"},
      {"rate(up)", "position 5: expected '{' or the end"},
      {"{a:b=\"c\"}", "position 3: expected =, !=, =~ or !~"},
  };
  for (const Row& row : kRows) EXPECT_THAT(Canonical(row.text), HasSubstr(row.want)) << row.text;
}

}  // namespace
}  // namespace chronolith::interop

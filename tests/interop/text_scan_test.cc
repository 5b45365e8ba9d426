#include "interop/text_scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace chronolith::interop {
namespace {

TEST(IsValidUtf8, AgreesWithTheStandard) {
  for (const char* good : {"", "a", "abcdefgh", "abcdefgh\xc3\xa9", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf",
                           "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsValidUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "abcdefg\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3(", "\xf0\x90\x80("}) {
    EXPECT_FALSE(IsValidUtf8(bad)) << Quoted(bad);
  }
}

TEST(ParseSeconds, CutsBelowMillisecondsWithoutRoundingErrors) {
  struct Row {
    const char* text;
    Timestamp want;
  };
  const Row kRows[] = {{"0", 0},           {"1", 1000},       {"1.", 1000},     {".5", 500},
                       {"-1.5", -1500},    {"+2", 2000},      {"1.0019", 1001}, {"1700000000.001", 1700000000001},
                       {"1e3", 1'000'000}, {"1.5E1", 15'000}, {"00001", 1000},  {"9223372036854775.807", kMaxTimestamp}};
  for (const Row& row : kRows) {
    Timestamp t = -1;
    ASSERT_TRUE(ParseSeconds(row.text, &t)) << row.text;
    EXPECT_EQ(t, row.want) << row.text;
  }
  Timestamp t = 0;
  for (const char* bad : {"", ".", "-", "1.2.3", "1s", "NaN", "Inf", "1e", "e5", "1e99", "0x1", "9223372036854775.808",
                          "9223372036854776", "99999999999999999999999", "1 ", "--1"}) {
    EXPECT_FALSE(ParseSeconds(bad, &t)) << bad;
  }
}

TEST(ParseMillis, TakesWholeNumbersOnly) {
  Timestamp t = 0;
  EXPECT_TRUE(ParseMillis("-9223372036854775808", &t));
  EXPECT_EQ(t, kMinTimestamp);
  EXPECT_TRUE(ParseMillis("+7", &t));
  EXPECT_EQ(t, 7);
  for (const char* bad : {"", "+", "-", "+-1", "1.0", "1e3", " 1", "1 ", "9223372036854775808", "0x1", "NaN"})
    EXPECT_FALSE(ParseMillis(bad, &t)) << bad;
}

TEST(ParseValue, TakesTheFormatsNumbersOnly) {
  double v = 0;
  EXPECT_TRUE(ParseValue("5.", &v));
  EXPECT_EQ(v, 5);
  EXPECT_TRUE(ParseValue("+1.5e+06", &v));
  EXPECT_EQ(v, 1.5e6);
  EXPECT_TRUE(ParseValue("999999999999999", &v));
  EXPECT_EQ(v, 999999999999999.0);
  EXPECT_TRUE(ParseValue("12345678901234567890", &v));
  EXPECT_EQ(v, 12345678901234567890.0);
  EXPECT_TRUE(ParseValue("-infinity", &v));
  EXPECT_EQ(v, -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(ParseValue("5e-324", &v));
  EXPECT_EQ(v, std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(ParseValue("nan", &v));
  EXPECT_TRUE(std::isnan(v));
  for (const char* bad : {"", "+", "-", ".", "e5", "1e", "1e+", "0x1p3", "1_0", "+nan", "-NaN", "nan(5)", "infin", "1,5", "--1",
                          "1e999", "-1e999", "1 "}) {
    EXPECT_FALSE(ParseValue(bad, &v)) << bad;
  }
}

TEST(Quoted, CutsLongTextsAndShowsStrangeBytes) {
  EXPECT_EQ(Quoted("a\"\x01\xff"), "\"a\\\"\\x01\\xff\"");
  EXPECT_EQ(Quoted(std::string(100, 'x')), "\"" + std::string(64, 'x') + "\"...");
}

}  // namespace
}  // namespace chronolith::interop

#include "interop/time_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chronolith::interop {
namespace {

constexpr Timestamp kNow = 1'700'000'000'000;

TEST(ParseTime, ReadsWhatPeopleType) {
  struct Row {
    const char* text;
    Timestamp want;
  };
  const Row kRows[] = {
      {"now", kNow},
      {"0", 0},
      {"1700000000000", kNow},
      {"-5", -5},
      {"-1h", kNow - 3'600'000},
      {"+1h30m", kNow + 5'400'000},
      {"-0", 0},  // a number, not a duration
      {"1970-01-01T00:00:00Z", 0},
      {"2023-11-14T22:13:20Z", kNow},
      {"2023-11-14t22:13:20.000z", kNow},
      {"2023-11-14 22:13:20.1239Z", kNow + 123},
      {"2023-11-15T00:13:20+02:00", kNow},
      {"2023-11-14T17:13:20-05:00", kNow},
      {"2023-11-14", 1'699'920'000'000},
      {"1969-12-31T23:59:59.5Z", -500},
      {"2024-02-29T00:00:00Z", 1'709'164'800'000},
  };
  for (const Row& row : kRows) {
    const auto t = ParseTime(row.text, kNow);
    ASSERT_TRUE(t.ok()) << row.text << ": " << t.status().ToString();
    EXPECT_EQ(*t, row.want) << row.text;
  }
}

TEST(ParseTime, RefusesEverythingElseAndSaysWhatItExpected) {
  for (const char* text : {"",
                           "yesterday",
                           "1h",
                           "-1x",
                           "-",
                           "+",
                           "-1h-5m",
                           "1.5",
                           "99999999999999999999",
                           "2023-13-01",
                           "2023-02-29",
                           "2023-1-1",
                           "2023-11-14T22:13",
                           "2023-11-14T24:00:00Z",
                           "2023-11-14T22:13:20",
                           "2023-11-14T22:13:20.Z",
                           "2023-11-14T22:13:20+2",
                           "2023-11-14T22:13:20Zx",
                           "2023-11-14T22:60:20Z",
                           "-9223372036854775807y"}) {
    const auto t = ParseTime(text, kNow);
    ASSERT_FALSE(t.ok()) << text;
    EXPECT_THAT(t.status().message(), ::testing::HasSubstr("expected RFC 3339")) << text;
  }
}

TEST(ParseDuration, ReadsPrometheusDurations) {
  EXPECT_EQ(*ParseDuration("0"), 0);
  EXPECT_EQ(*ParseDuration("15s"), 15'000);
  EXPECT_EQ(*ParseDuration("1y2w3d4h5m6s7ms"), ((((365LL + 14 + 3) * 24 + 4) * 60 + 5) * 60 + 6) * 1000 + 7);
  for (const char* text : {"", "1", "s", "-1s", "1m1h", "1s1s", "1 s", "1.5h", "99999999999y"})
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
}

TEST(FormatTime, WritesWhatParseTimeReads) {
  EXPECT_EQ(FormatTime(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatTime(-1), "1969-12-31T23:59:59.999Z");
  for (const Timestamp t :
       {Timestamp{0}, kNow + 7, Timestamp{-86'400'001}, kMinTimestamp, kMaxTimestamp, Timestamp{253402300799999}}) {
    EXPECT_EQ(*ParseTime(FormatTime(t), kNow), t) << FormatTime(t);
  }
}

}  // namespace
}  // namespace chronolith::interop

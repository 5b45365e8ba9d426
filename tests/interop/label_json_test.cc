#include "interop/label_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace chronolith::interop {
namespace {

TEST(ParseLabelJson, ReadsFlatObjectsOfStrings) {
  struct Row {
    const char* json;
    const char* want;
  };
  const Row kRows[] = {
      {R"({"__name__":"up","job":"node"})", R"(up{job="node"})"},
      {R"( { "z" : "1" , "a" : "2" } )", R"({a="2",z="1"})"},
      {R"({"a":"\"\\\/\n\u00e9\ud83d\ude00"})", "{a=\"\\\"\\\\/\\n\xc3\xa9\xf0\x9f\x98\x80\"}"},
      {R"({"a":"x","b":""})", R"({a="x"})"},
  };
  for (const Row& row : kRows) {
    const auto labels = ParseLabelJson(row.json);
    ASSERT_TRUE(labels.ok()) << row.json << ": " << labels.status().ToString();
    EXPECT_EQ(labels->ToString(), row.want);
  }
}

TEST(ParseLabelJson, RefusesEverythingElse) {
  for (const char* json : {"",
                           "{}",
                           "[]",
                           "{",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1}",
                           "{\"a\":\"b\",}",
                           "{\"a\":\"b\"",
                           "{\"a\":\"b}",
                           "{a:\"b\"}",
                           "{\"a\":\"b\"}x",
                           "{\"a\":\"b\",\"a\":\"c\"}",
                           "{\"\":\"b\"}",
                           "{\"a\":\"\\q\"}",
                           "{\"a\":\"\\u12\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":\"\\ud800\\u0041\"}",
                           "{\"a\":\"\\udc00\"}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\\u0000\"}",
                           "{\"a\":null}",
                           "{\"a\":{\"b\":\"c\"}}",
                           "{\"a\":\"b\"\"c\":\"d\"}",
                           "{\"a\":\"\"}"}) {
    const auto labels = ParseLabelJson(json);
    EXPECT_FALSE(labels.ok()) << json;
    EXPECT_EQ(labels.status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(AppendJsonString, EscapesWhatJsonDemands) {
  std::string json;
  AppendJsonString("a\"\\\n\t\x01\x7f\xc3\xa9", &json);
  EXPECT_EQ(json, "\"a\\\"\\\\\\n\\u0009\\u0001\\u007f\xc3\xa9\"");
  json.clear();
  AppendJsonString("x\xff", &json);
  EXPECT_EQ(json, "\"x\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace chronolith::interop

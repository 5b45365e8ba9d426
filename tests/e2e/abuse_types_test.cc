// Proof 5, the types: fields of another type than theirs, in each message and at each level of it, and JSON of wrong types.
#include <functional>
#include <set>

#include "base/coding.h"
#include "interop/proto_writer.h"
#include "tests/e2e/abuse_fixture.h"
#include "tests/support/remote_read.h"

namespace chronolith::testing {
namespace {

constexpr int kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5;

// A field of any wire type: 3 and 4 begin and end a group, 6 and 7 are none.
std::string Field(int number, int type) {
  std::string bytes;
  PutVarint(&bytes, static_cast<std::uint64_t>(number << 3 | type));
  if (type == kVarint) bytes += '\x01';
  if (type == kFixed64) bytes.append(8, '\0');
  if (type == kLength) bytes += std::string("\x01\x01");
  if (type == 3) PutVarint(&bytes, static_cast<std::uint64_t>(number << 3 | 4));
  if (type == kFixed32) bytes.append(4, '\0');
  return bytes;
}

// A good message of everything, with `extra` at the end of what is called `where`.
using Make = std::string (*)(std::string_view where, std::string_view extra);

std::string Write1(std::string_view where, std::string_view extra) {
  std::string all;
  interop::ProtoWriter out(&all);
  const auto end_of = [&](std::string_view level) { all.append(level == where ? extra : ""); };
  out.Nested(1, [&] {
    out.Nested(1, [&] {
      out.Bytes(1, "__name__");
      out.Bytes(2, "typed");
      end_of("label");
    });
    out.Nested(2, [&] {
      out.DoubleAlways(1, 1);
      out.Int(2, kGoodStart);
      end_of("sample");
    });
    out.Nested(3, [&] {
      out.NestedPair(1, 1, "trace_id", 2, "x");
      out.Int(3, kGoodStart);
      end_of("exemplar");
    });
    out.Nested(4, [&] {
      out.UintAlways(1, 0);
      out.Int(15, kGoodStart + 1);
      end_of("histogram");
    });
    end_of("series");
  });
  out.Nested(3, [&] {
    out.Uint(1, 2);
    out.Bytes(2, "typed");
    end_of("metadata");
  });
  end_of("request");
  return all;
}

std::string Write2(std::string_view where, std::string_view extra) {
  std::string all;
  interop::ProtoWriter out(&all);
  const auto end_of = [&](std::string_view level) { all.append(level == where ? extra : ""); };
  for (const char* symbol : {"", "__name__", "typed", "trace_id", "x"}) out.BytesAlways(4, symbol);
  out.Nested(5, [&] {
    out.BytesAlways(1, "\x01\x02");
    out.Nested(2, [&] {
      out.DoubleAlways(1, 1);
      out.Int(2, kGoodStart);
      end_of("sample");
    });
    out.Nested(3, [&] {
      out.UintAlways(1, 0);
      out.Int(15, kGoodStart + 1);
      end_of("histogram");
    });
    out.Nested(4, [&] {
      out.BytesAlways(1, "\x03\x04");
      out.Int(3, kGoodStart);
      end_of("exemplar");
    });
    out.Nested(5, [&] {
      out.Uint(1, 2);
      end_of("metadata");
    });
    end_of("series");
  });
  end_of("request");
  return all;
}

std::string Read(std::string_view where, std::string_view extra) {
  std::string all;
  interop::ProtoWriter out(&all);
  const auto end_of = [&](std::string_view level) { all.append(level == where ? extra : ""); };
  out.Nested(1, [&] {
    out.Int(2, kGoodStart);
    out.Nested(3, [&] {
      out.Bytes(2, "__name__");
      out.Bytes(3, "good");
      end_of("matcher");
    });
    end_of("query");
  });
  end_of("request");
  return all;
}

std::string Otlp(std::string_view where, std::string_view extra) {
  std::string all;
  interop::ProtoWriter out(&all);
  const auto end_of = [&](std::string_view level) { all.append(level == where ? extra : ""); };
  out.Nested(1, [&] {
    out.Nested(2, [&] {
      out.Nested(2, [&] {
        out.Bytes(1, "typed_gauge");
        out.Nested(5, [&] {
          out.Nested(1, [&] {
            all.push_back(3 << 3 | kFixed64);
            PutFixed64(&all, static_cast<std::uint64_t>(kGoodStart) * 1'000'000);
            out.DoubleAlways(4, 1);
          });
          end_of("gauge");
        });
        end_of("metric");
      });
      end_of("scope");
    });
    end_of("resource");
  });
  end_of("request");
  return all;
}

struct Level {
  const char* name;
  std::map<int, std::set<int>> types;  // of its fields
};

const std::set<int> kV{kVarint}, kF{kFixed64}, kL{kLength}, kPackedV{kVarint, kLength}, kPackedF{kFixed64, kLength};
const std::map<int, std::set<int>> kHistogram = {{1, kV},        {2, kF},  {3, kF},       {4, kV},        {5, kF},  {6, kV},
                                                 {7, kF},        {8, kL},  {9, kPackedV}, {10, kPackedF}, {11, kL}, {12, kPackedV},
                                                 {13, kPackedF}, {14, kV}, {15, kV},      {16, kPackedF}};

using AbuseTypes = AbuseTest;

TEST_F(AbuseTypes, FieldsOfAnotherTypeThanTheirs) {
  Start();
  struct Kind {
    const char* name;
    Make make;
    std::function<int(const std::string&)> send;
    int good;
    std::vector<Level> levels;
  };
  const Kind kinds[] = {
      {"1.0",
       Write1,
       [this](const std::string& m) { return PostWrite(kWriteType1, Snappy(m)); },
       204,
       {{"request", {{1, kL}, {3, kL}}},
        {"series", {{1, kL}, {2, kL}, {3, kL}, {4, kL}}},
        {"label", {{1, kL}, {2, kL}}},
        {"sample", {{1, kF}, {2, kV}}},
        {"exemplar", {{1, kL}, {2, kF}, {3, kV}}},
        {"histogram", kHistogram},
        {"metadata", {{1, kV}, {2, kL}, {4, kL}, {5, kL}}}}},
      {"2.0",
       Write2,
       [this](const std::string& m) { return PostWrite(kWriteType2, Snappy(m)); },
       204,
       {{"request", {{4, kL}, {5, kL}}},
        {"series", {{1, kPackedV}, {2, kL}, {3, kL}, {4, kL}, {5, kL}}},
        {"sample", {{1, kF}, {2, kV}}},
        {"exemplar", {{1, kPackedV}, {2, kF}, {3, kV}}},
        {"histogram", kHistogram},
        {"metadata", {{1, kV}, {3, kV}, {4, kV}}}}},
      {"read",
       Read,
       [this](const std::string& m) { return PostRead(Snappy(m)); },
       200,
       {{"request", {{1, kL}, {2, kPackedV}}}, {"query", {{1, kV}, {2, kV}, {3, kL}}}, {"matcher", {{1, kV}, {2, kL}, {3, kL}}}}},
      {"otlp",
       Otlp,
       [this](const std::string& m) { return PostOtlp(kOtlpType, m); },
       200,
       {{"request", {{1, kL}}},
        {"resource", {{1, kL}, {2, kL}, {3, kL}}},
        {"scope", {{1, kL}, {2, kL}, {3, kL}}},
        {"metric", {{1, kL}, {2, kL}, {3, kL}, {5, kL}, {7, kL}, {9, kL}, {10, kL}, {11, kL}}},
        {"gauge", {{1, kL}}}}},
  };
  const auto each = [&](const auto& check) {
    for (const Kind& kind : kinds) {
      for (const Level& level : kind.levels) check(kind, level);
    }
  };
  // Without them, and with fields that nobody knows, they are good.
  each([&](const Kind& kind, const Level& level) {
    for (const int type : {kVarint, kFixed64, kLength, kFixed32}) {
      EXPECT_EQ(kind.send(kind.make(level.name, Field(1000, type))), kind.good) << kind.name << " " << level.name << " " << type;
    }
  });
  EXPECT_EQ(Stored().size(), 5U + 2);
  TakeIntoTheBooks();
  each([&](const Kind& kind, const Level& level) {
    for (const auto& [number, types] : level.types) {
      for (int type = 0; type < 8; ++type) {
        if (types.contains(type)) continue;
        EXPECT_EQ(kind.send(kind.make(level.name, Field(number, type))), 400)
            << kind.name << " " << level.name << " " << number << " as " << type;
      }
    }
    const std::string cut = Field(1000, kLength);
    for (const std::string& wrong :
         {std::string("\0\x01", 2),       // field number 0
          std::string(11, '\x80'),        // a number without an end
          cut.substr(0, cut.size() - 1),  // a length beyond the end
          std::string("\xc2\x3e\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), std::string("\xc2\x3e\xff\xff\xff\xff\x07")}) {
      EXPECT_EQ(kind.send(kind.make(level.name, wrong)), 400)
          << kind.name << " " << level.name << " " << ::testing::PrintToString(wrong);
    }
  });
}

TEST_F(AbuseTypes, JsonOfWrongTypes) {
  Start();
  const auto point = [](const std::string& members) {
    return R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"typed","gauge":{"dataPoints":[{)" + members + "}]}}]}]}]}";
  };
  const std::string at = R"("timeUnixNano":"1760000000000000000",)";
  EXPECT_EQ(PostOtlp(kJsonType, point(at + R"("asDouble":1)")), 200);
  TakeIntoTheBooks();
  const std::string cases[] = {
      "",
      " ",
      "5",
      "\"text\"",
      "[]",
      "null",
      "true",
      "nothing",
      "{",
      "}",
      "{}}",
      "{} {}",
      "{\"a\"}",
      "{'a':1}",
      "{\"a\":1,}",
      "{a:1}",
      "\xff",
      "{\"\xff\":1}",
      R"({"resourceMetrics":5})",
      R"({"resourceMetrics":"x"})",
      R"({"resourceMetrics":{}})",
      R"({"resourceMetrics":[5]})",
      R"({"resourceMetrics":[[]]})",
      R"({"resourceMetrics":[{"scopeMetrics":true}]})",
      R"({"resourceMetrics":[{"resource":[]}]})",
      R"({"resourceMetrics":[{"schemaUrl":5}]})",
      R"({"resourceMetrics":[{"resource":{"attributes":{"a":"b"}}}]})",
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":5}]}]}]})",
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":["a"]}]}]}]})",
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":[]}]}]}]})",
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"aggregationTemporality":"SOMETIMES"}}]}]}]})",
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"isMonotonic":"perhaps"}}]}]}]})",
      point(at + R"("asDouble":"abc")"),
      point(at + R"("asDouble":{})"),
      point(at + R"("asDouble":[1])"),
      point(at + R"("asDouble":true)"),
      point(at + R"("asDouble":NaN)"),
      point(at + R"("asDouble":1e999)"),
      point(at + R"("asDouble":0x10)"),
      point(at + R"("asDouble":)"),
      point(at + R"("asInt":1.5)"),
      point(at + R"("asInt":"99999999999999999999")"),
      point(at + R"("asInt":9223372036854775808)"),
      point(R"("timeUnixNano":-1,"asDouble":1)"),
      point(R"("timeUnixNano":"soon","asDouble":1)"),
      point(R"("timeUnixNano":18446744073709551616,"asDouble":1)"),
      point(at + R"("flags":-1)"),
      point(at + R"("flags":4294967296)"),
      point(at + R"("attributes":5)"),
      point(at + R"("attributes":["a"])"),
      point(at + R"("attributes":[{"key":5}])"),
      point(at + R"("attributes":[{"key":"a","value":"b"}])"),
      point(at + R"("attributes":[{"key":"a","value":{"intValue":"x"}}])"),
      point(at + R"("attributes":[{"key":"a","value":{"boolValue":2}}])"),
      point(at + R"("attributes":[{"key":"a","value":{"bytesValue":"***"}}])"),
      point(at + R"("attributes":[{"key":"a\u0000","value":{}}])"),
      point(at + R"("attributes":[{"key":"\ud800","value":{}}])"),
      point(at + R"("exemplars":[{"traceId":"xyz"}])"),
      point(at + R"("exemplars":[{"spanId":"abc"}])"),
  };
  for (const std::string& json : cases) EXPECT_EQ(PostOtlp(kJsonType, json), 400) << json;
}

}  // namespace
}  // namespace chronolith::testing

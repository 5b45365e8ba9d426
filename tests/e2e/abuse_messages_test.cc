// Proof 5, the messages: whatever is wrong with one is answered with its status, none of it is stored, and good ones go on.
#include <functional>
#include <random>
#include <set>
#include <utility>

#include "base/coding.h"
#include "interop/otlp/metrics_service.pb.h"
#include "interop/proto_writer.h"
#include "tests/e2e/abuse_fixture.h"
#include "tests/interop/remote_write_encode.h"
#include "tests/support/remote_read.h"

namespace chronolith::testing {
namespace {

using grpc::StatusCode;
using interop::RemoteWriteVersion;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
namespace pb = ::opentelemetry::proto::metrics::v1;

// One of everything that remote write carries, in series whose names begin with `prefix`.
std::string WriteMessage(RemoteWriteVersion version, const std::string& prefix) {
  std::vector<TimeSeries> series(2);
  series[0] = {.labels = {{"__name__", prefix + "_a"}, {"host", "one"}}, .samples = {{kGoodStart, 1}, {kGoodStart + 15'000, 2}}};
  series[0].exemplars = {{.labels = {{"trace_id", "abc"}}, .value = 1, .timestamp = kGoodStart}};
  series[0].metadata = {{.type = MetricType::kGauge, .unit = "", .help = "Some help."}};
  series[1] = {.labels = {{"__name__", prefix + "_b"}, {"host", "two"}}};
  series[1].histograms = {
      {kGoodStart, IntHistogram{.zero_count = 2, .count = 5, .sum = 3, .positive_spans = {{0, 1}}, .positive_deltas = {3}}}};
  return EncodeRemoteWrite(version, series);
}

ExportMetricsServiceRequest OtlpMessage(const std::string& prefix) {
  ExportMetricsServiceRequest request;
  auto* scope = request.add_resource_metrics()->add_scope_metrics();
  pb::Metric* metric = scope->add_metrics();
  metric->set_name(prefix + "_g");
  pb::NumberDataPoint* point = metric->mutable_gauge()->add_data_points();
  point->set_time_unix_nano(static_cast<std::uint64_t>(kGoodStart) * 1'000'000);
  point->set_as_double(0.5);
  auto* attribute = point->add_attributes();
  attribute->set_key("k");
  attribute->mutable_value()->mutable_array_value()->add_values()->set_int_value(7);
  metric = scope->add_metrics();
  metric->set_name(prefix + "_h");
  metric->mutable_histogram()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
  pb::HistogramDataPoint* histogram = metric->mutable_histogram()->add_data_points();
  histogram->set_time_unix_nano(static_cast<std::uint64_t>(kGoodStart) * 1'000'000);
  histogram->set_count(3);
  histogram->set_sum(4);
  histogram->add_explicit_bounds(1);
  histogram->add_bucket_counts(1);
  histogram->add_bucket_counts(2);
  return request;
}

std::string OtlpJson(const std::string& name) {
  return R"({"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeMetrics":[)"
         R"({"metrics":[{"name":")" +
         name + R"(","gauge":{"dataPoints":[{"timeUnixNano":"1760000000000000000","asDouble":1.5e0}]}}]}]}]})";
}

std::string ReadMessage() {
  return ReadRequest({QueryBytes(kGoodStart, kGoodStart + 1000, {MatcherBytes(0, "__name__", "good")}),
                      QueryBytes(0, 1, {MatcherBytes(2, "road", "j.*")})});
}

// Where a message's own fields end: cut there, it is a shorter message.
std::set<std::size_t> Boundaries(const std::string& message) {
  std::set<std::size_t> ends{0};
  ByteReader reader(message);
  while (reader.remaining() > 0) {
    (void)reader.Varint();
    (void)reader.LengthPrefixed();
    ends.insert(message.size() - reader.remaining());
  }
  EXPECT_TRUE(reader.ok());
  return ends;
}

// `levels` messages within each other, each in the next field of `fields`, from the innermost out.
std::string Nest(int levels, const std::vector<int>& fields) {
  std::string bytes;
  for (int i = 0; i < levels; ++i) {
    std::string around;
    interop::ProtoWriter(&around).BytesAlways(fields[static_cast<std::size_t>(i) % fields.size()], bytes);
    bytes = std::move(around);
  }
  return bytes;
}

using AbuseMessages = AbuseTest;

TEST_F(AbuseMessages, SnappyThatLiesOrBursts) {
  Start();
  const std::string good = WriteMessage(RemoteWriteVersion::k1, "snappy"), packed = Snappy(good);
  const auto claiming = [&](std::uint64_t length) {  // instead of what it holds
    std::string lying;
    PutVarint(&lying, length);
    std::string rest = packed;
    while ((rest[0] & 0x80) != 0) rest.erase(0, 1);
    return lying + rest.substr(1);
  };
  const std::pair<std::string, int> cases[] = {
      {"", 400},
      {std::string("\xff\xff\xff\xff\x0f"), 413},              // promises 4 GiB
      {std::string("\xff\xff\xff\xff\xff\xff\xff\x7f"), 400},  // more than the format can
      {Snappy(std::string(kDecodedMax + 1, '\0')), 413},
      {Snappy(std::string(64 << 20, '\0')), 413},
      {Snappy(std::string(kDecodedMax, '\0')), 400},  // within the limit, and no message
      {claiming(kDecodedMax + 1), 413},
      {claiming(kDecodedMax), 400},
      {claiming(good.size() + 1), 400},
      {claiming(good.size() - 1), 400},
      {claiming(0), 400},
      {std::string("\x08\x0c"
                   "abcd\x01\x00",
                   8),
       400},  // a copy of what is 0 bytes back
      {std::string("\x08\x0c"
                   "abcd\x01\x09",
                   8),
       400},  // and of what lies in front of the begin
      {std::string("\x05\xf0\x7f"
                   "abc",
                   6),
       400},                                             // a literal beyond the end
      {std::string("\xff\x06\x00\x00sNaPpY", 10), 400},  // the framed format
      {Snappy(packed), 400},
      {packed + "x", 400},
      {good, 400},
  };
  for (const auto& [body, status] : cases) {
    EXPECT_EQ(PostWrite(kWriteType1, body), status) << ::testing::PrintToString(body.substr(0, 20));
    EXPECT_EQ(PostWrite(kWriteType2, body), status) << ::testing::PrintToString(body.substr(0, 20));
  }
  EXPECT_EQ(PostRead("\xff\xff\xff\xff\x0f"), 413);
  EXPECT_EQ(PostRead(Snappy(std::string(64 << 20, '\0'))), 413);
  EXPECT_EQ(PostRead(""), 400);
  EXPECT_EQ(PostRead(packed + "x"), 400);
  for (std::size_t cut = 0; cut < packed.size(); ++cut) {
    EXPECT_EQ(PostWrite(kWriteType1, packed.substr(0, cut)), 400) << cut;
    EXPECT_EQ(PostRead(packed.substr(0, cut)), 400) << cut;
  }
}

TEST_F(AbuseMessages, GzipThatLiesOrBursts) {
  Start();
  const std::string good = OtlpMessage("gzip").SerializeAsString(), packed = Gzip(good);
  const auto changed = [&](std::size_t from_end) {
    std::string wrong = packed;
    wrong[wrong.size() - from_end] ^= 0x55;
    return wrong;
  };
  const std::string bomb = Gzip(std::string(64 << 20, '\0'));
  ASSERT_LT(bomb.size(), kBodyMax);
  const std::tuple<std::string, int, StatusCode> cases[] = {
      {bomb, 413, StatusCode::INVALID_ARGUMENT},
      {Gzip(std::string(kDecodedMax + 1, '\0')), 413, StatusCode::INVALID_ARGUMENT},
      {Gzip(std::string(kDecodedMax, '\0')), 400, StatusCode::INVALID_ARGUMENT},  // no message
      {changed(1), 400, StatusCode::INVALID_ARGUMENT},                            // its length
      {changed(8), 400, StatusCode::INVALID_ARGUMENT},                            // its checksum
      {packed + packed, 400, StatusCode::INVALID_ARGUMENT},
      {packed + "x", 400, StatusCode::INVALID_ARGUMENT},
      {Gzip(packed), 400, StatusCode::INVALID_ARGUMENT},
  };
  for (const auto& [body, status, code] : cases) {
    EXPECT_EQ(PostOtlp(kOtlpType, body, "gzip"), status) << body.size();
    EXPECT_EQ(CallGrpc(body), code) << body.size();
  }
  EXPECT_EQ(PostOtlp(kJsonType, bomb, "gzip"), 413);
  EXPECT_EQ(PostOtlp(kJsonType, Gzip(std::string(2 << 20, ' ')), "gzip"), 400);
  EXPECT_EQ(PostOtlp(kOtlpType, good, "gzip"), 400);
  EXPECT_EQ(PostOtlp(kOtlpType, packed), 400);  // and does not say so
  EXPECT_EQ(CallGrpc(std::string(kBodyMax + 1, '\0')), StatusCode::RESOURCE_EXHAUSTED);
  for (std::size_t cut = 0; cut < packed.size(); ++cut) {
    EXPECT_EQ(PostOtlp(kOtlpType, packed.substr(0, cut), "gzip"), 400) << cut;
    // Two bytes tell gzip. Nothing at all is an empty request.
    EXPECT_EQ(CallGrpc(packed.substr(0, cut)), cut == 0 ? StatusCode::OK : StatusCode::INVALID_ARGUMENT) << cut;
  }
}

TEST_F(AbuseMessages, EachPrefixOfAMessageIsRefusedUnlessItIsAMessage) {
  Start();
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    const char* const type = version == RemoteWriteVersion::k1 ? kWriteType1 : kWriteType2;
    const std::string message = WriteMessage(version, version == RemoteWriteVersion::k1 ? "one" : "two");
    const std::set<std::size_t> whole = Boundaries(message);
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
      EXPECT_EQ(PostWrite(type, Snappy(message.substr(0, cut))), whole.contains(cut) ? 204 : 400) << cut << " of " << type;
    }
  }
  const std::string read = ReadMessage();
  const std::set<std::size_t> whole_reads = Boundaries(read);
  for (std::size_t cut = 0; cut <= read.size(); ++cut) {
    EXPECT_EQ(PostRead(Snappy(read.substr(0, cut))), whole_reads.contains(cut) ? 200 : 400) << cut;
  }
  const std::string otlp = OtlpMessage("otlp").SerializeAsString();
  for (std::size_t cut = 0; cut <= otlp.size(); ++cut) {
    const bool whole = cut == 0 || cut == otlp.size();
    EXPECT_EQ(PostOtlp(kOtlpType, otlp.substr(0, cut)), whole ? 200 : 400) << cut;
    EXPECT_EQ(CallGrpc(otlp.substr(0, cut)), whole ? StatusCode::OK : StatusCode::INVALID_ARGUMENT) << cut;
  }
  const std::string json = OtlpJson("json");
  for (std::size_t cut = 0; cut <= json.size(); ++cut) {
    EXPECT_EQ(PostOtlp(kJsonType, json.substr(0, cut)), cut == json.size() ? 200 : 400) << cut;
  }
  const auto stored = Stored();
  // Beside the five good ones: two of each remote write, a gauge and four of a histogram, and the one of the JSON.
  EXPECT_EQ(stored.size(), 5U + 2 + 2 + 5 + 1);
  EXPECT_EQ(stored.at(R"({"__name__":"one_a","host":"one"})")["values"], std::vector<int>({1, 2}));
  EXPECT_EQ(stored.at(R"({"__name__":"two_a","host":"one"})")["values"], std::vector<int>({1, 2}));
  TakeIntoTheBooks();
}

TEST_F(AbuseMessages, FlippedBytesAreRefusedOrReadAsWhatTheySay) {
  Start();
  LeaveOut("flip");
  std::mt19937_64 random(5);
  const auto flipped = [&](std::string bytes) {
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    return bytes;
  };
  // Names that four bytes do not turn into others: what they make begins with it, or is counted as left out below.
  const std::string prefix = "flip";
  const std::string one = WriteMessage(RemoteWriteVersion::k1, prefix), two = WriteMessage(RemoteWriteVersion::k2, prefix);
  const std::string otlp = OtlpMessage(prefix).SerializeAsString(), json = OtlpJson(prefix), read = ReadMessage();
  const std::string packed = Snappy(one), gzip = Gzip(otlp);
  const std::pair<const char*, std::function<int()>> kinds[] = {
      {"1.0", [&] { return PostWrite(kWriteType1, Snappy(flipped(one))); }},
      {"2.0", [&] { return PostWrite(kWriteType2, Snappy(flipped(two))); }},
      {"snappy", [&] { return PostWrite(kWriteType1, flipped(packed)); }},
      {"otlp", [&] { return PostOtlp(kOtlpType, flipped(otlp)); }},
      {"gzip", [&] { return PostOtlp(kOtlpType, flipped(gzip), "gzip"); }},
      {"json", [&] { return PostOtlp(kJsonType, flipped(json)); }},
      {"read", [&] { return PostRead(Snappy(flipped(read))); }},
  };
  for (const auto& [name, ask] : kinds) {
    std::map<int, int> answers;
    for (int i = 0; i < 1000; ++i) ++answers[ask() / 100 * 100];
    EXPECT_GT(answers[400], 50) << name;
    EXPECT_EQ(answers[200] + answers[400], 1000) << name;
  }
  std::map<StatusCode, int> answers;
  for (int i = 0; i < 1000; ++i) ++answers[CallGrpc(flipped(otlp))];
  EXPECT_GT(answers[StatusCode::INVALID_ARGUMENT], 50);
  EXPECT_EQ(answers[StatusCode::OK] + answers[StatusCode::INVALID_ARGUMENT], 1000);
  for (const auto& [labels, line] : Stored()) {  // a flip within the four letters of the prefix
    if (labels.find(R"("__name__":"good")") == std::string::npos) {
      LeaveOut(nlohmann::json::parse(labels)["__name__"].get<std::string>());
    }
  }
}

TEST_F(AbuseMessages, SymbolReferencesOf2) {
  Start();
  struct Message {
    std::vector<std::string> symbols = {"", "__name__", "bad", "l", "v"};
    std::vector<std::uint64_t> refs = {1, 2, 3, 4};
    std::vector<std::uint64_t> exemplar;  // its references, where there are any
    std::vector<std::uint64_t> metadata;  // help
    int times = 1;                        // that the series stands there

    std::string Bytes() const {
      const auto packed = [](const std::vector<std::uint64_t>& numbers) {
        std::string bytes;
        for (const std::uint64_t n : numbers) PutVarint(&bytes, n);
        return bytes;
      };
      std::string series, all;
      interop::ProtoWriter to(&series), out(&all);
      to.BytesAlways(1, packed(refs));
      if (!exemplar.empty()) to.Nested(4, [&] { to.BytesAlways(1, packed(exemplar)); });
      if (!metadata.empty()) to.Nested(5, [&] { to.UintAlways(3, metadata[0]); });
      if (exemplar.empty() && metadata.empty()) to.Nested(2, [&] { to.Int(2, kGoodStart); });
      for (const std::string& symbol : symbols) out.BytesAlways(4, symbol);
      for (int i = 0; i < times; ++i) out.BytesAlways(5, series);
      return all;
    }
  };
  const std::uint64_t far = std::uint64_t{1} << 63;
  const Message cases[] = {
      {.refs = {1, 2, 3}},
      {.refs = {1}},
      {.refs = {1, 5}},
      {.refs = {1, 2, 3, far}},
      {.refs = {1, 2, 3, ~std::uint64_t{0}}},
      {.symbols = {"__name__", "bad"}, .refs = {0, 1}},  // the first is not empty
      {.symbols = {}, .refs = {0, 0}},
      {.refs = {}},                  // no name
      {.refs = {3, 4}},              // likewise
      {.refs = {1, 2, 3, 4, 3, 4}},  // one twice
      {.refs = {1, 0}},              // an empty name of the metric
      {.refs = {1, 2, 0, 4}},        // an empty name of a label
      {.exemplar = {3}},
      {.exemplar = {3, 5}},
      {.exemplar = {far, 4}},
      {.metadata = {5}},
      {.metadata = {far}},
      // One byte that stands for very many.
      {.symbols = {"", "__name__", "bad", "l", std::string(300 << 10, 'v')}},
      {.symbols = {"", "__name__", "bad", "l", std::string(200 << 10, 'v')}, .times = 100'000},
      {.symbols = std::vector<std::string>(3 << 20), .refs = {}},
  };
  for (const Message& c : cases) {
    const std::string bytes = c.Bytes();
    EXPECT_EQ(PostWrite(kWriteType2, Snappy(bytes)), 400) << &c - cases << ": " << bytes.size();
  }
  EXPECT_EQ(PostWrite(kWriteType2, Snappy(Message{.refs = {1, 2}, .times = 2}.Bytes())), 204);
  EXPECT_EQ(Stored().size(), 6U);
  TakeIntoTheBooks();
}

TEST_F(AbuseMessages, NestingOf10000Levels) {
  Start();
  constexpr int kLevels = 10'000;
  // A KeyValue that is so many AnyValue deep: array_value (5) {values (1)}, kvlist_value (6) {values (1) {value (2)}}.
  const auto value = [](int levels, bool of_lists) {
    const std::vector<int> fields = of_lists ? std::vector<int>{2, 1, 6} : std::vector<int>{1, 5};
    std::string key_value;
    interop::ProtoWriter to(&key_value);
    to.Bytes(1, "k");
    to.BytesAlways(2, Nest(levels * static_cast<int>(fields.size()), fields));
    return key_value;
  };
  for (const bool of_lists : {false, true}) {
    // In the attributes of a point (7), of an exemplar (5: 7), of the scope (1: 3) and of the resource (1: 1).
    const auto request = [&](std::string point, std::string scope, std::string resource) {
      std::string all;
      interop::ProtoWriter out(&all);
      out.Nested(1, [&] {
        if (!resource.empty()) out.Nested(1, [&] { out.BytesAlways(1, resource); });
        out.Nested(2, [&] {
          if (!scope.empty()) out.Nested(1, [&] { out.BytesAlways(3, scope); });
          out.Nested(2, [&] {
            out.Bytes(1, "deep");
            out.Nested(5, [&] {
              out.Nested(1, [&] {
                all.push_back(3 << 3 | 1);
                PutFixed64(&all, static_cast<std::uint64_t>(kGoodStart) * 1'000'000);
                out.DoubleAlways(4, 1);
                all += point;
              });
            });
          });
        });
      });
      return all;
    };
    std::string attribute, exemplar;
    interop::ProtoWriter(&attribute).BytesAlways(7, value(kLevels, of_lists));
    interop::ProtoWriter to(&exemplar);
    to.Nested(5, [&] { to.BytesAlways(7, value(kLevels, of_lists)); });
    const std::string less = value(kLevels / 4, of_lists), more = value(kLevels, of_lists);
    for (const std::string& bytes :
         {request(attribute, "", ""), request(exemplar, "", ""), request("", less, ""), request("", "", less)}) {
      EXPECT_EQ(PostOtlp(kOtlpType, bytes), 400);
      EXPECT_EQ(CallGrpc(bytes), StatusCode::INVALID_ARGUMENT);
    }
    // These take more than a scope and a resource may: their points are rejected, unread.
    for (const std::string& bytes : {request("", more, ""), request("", "", more)}) {
      const RawAnswer answer = Ask(Post("/v1/metrics", bytes, TypeAndEncoding(kOtlpType)));
      EXPECT_EQ(answer.status, 200);
      EXPECT_NE(answer.body.find("the limit is 65536"), std::string::npos) << answer.body;
      EXPECT_EQ(CallGrpc(bytes), StatusCode::OK);
    }
  }
  const std::string groups = Repeated("\x0b", kLevels);
  EXPECT_EQ(PostOtlp(kOtlpType, groups), 400);
  EXPECT_EQ(PostWrite(kWriteType1, Snappy(groups)), 400);
  EXPECT_EQ(PostWrite(kWriteType2, Snappy(groups)), 400);
  EXPECT_EQ(PostRead(Snappy(groups)), 400);

  const std::string head = R"({"resourceMetrics":[{"resource":{"attributes":[{"key":"k","value":)", tail = "}]}}]}";
  for (const auto& [open, close] : {std::pair<const char*, const char*>{R"({"arrayValue":{"values":[)", "]}}"},
                                    {R"({"kvlistValue":{"values":[{"key":"k","value":)", "}]}}"}}) {
    const std::string deep = Repeated(open, kLevels) + R"({"intValue":1})" + Repeated(close, kLevels);
    EXPECT_EQ(PostOtlp(kJsonType, head + deep + tail), 400) << open;
    EXPECT_EQ(PostOtlp(kJsonType, head + Repeated(open, kLevels)), 400) << open;
  }
  for (const char c : {'[', '{'}) EXPECT_EQ(PostOtlp(kJsonType, std::string(1 << 20, c)), 400);
  EXPECT_EQ(PostOtlp(kJsonType, R"({"unknown":)" + std::string(1 << 20, '[') + "}"), 400);
}

}  // namespace
}  // namespace chronolith::testing

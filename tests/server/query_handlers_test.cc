// Remote read, look-ups, export and the admin calls over a store of all kinds of samples.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "chronolith/engine_registry.h"
#include "interop/remote_compression.h"
#include "interop/remote_read_message.h"
#include "plugins/memory/memory_engine.h"
#include "server/admin_handlers.h"
#include "server/export_handler.h"
#include "server/lookup_handlers.h"
#include "server/metadata_handlers.h"
#include "server/remote_read_handler.h"
#include "server/tsdb_status_handler.h"
#include "tests/interop/remote_write_decoder.h"
#include "tests/support/gate.h"
#include "tests/support/remote_read.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using interop::ProtoWriter;
using nlohmann::json;
using testing::DecodeStream;
using ::testing::HasSubstr;
using testing::MatcherBytes;
using testing::QueryBytes;
using testing::ReadRequest;
using testing::Said;
using testing::Words;

constexpr Timestamp kStart = 1'700'000'000'000;

struct Collected : BodyWriter {
  Status Write(std::string_view piece) override {
    bytes.append(piece);
    return Status::Ok();
  }
  std::string bytes;
};

class QueryHandlers : public ::testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.shards = 3;
    options.engine = "memory";
    options.engines = engines_;
    ASSERT_TRUE(engines_->Register(MakeMemoryEngineFactory()).ok());
    storage_ = std::move(*Storage::Open(options, dir_ / "db"));
    for (int i = 0; i < 20; ++i) {
      TimeSeries s{.labels = {{"__name__", "up"}, {"instance", "host-" + std::to_string(i)}, {"job", i % 2 == 0 ? "node" : "web"}}};
      for (int k = 0; k < 500; ++k) s.samples.push_back({kStart + k * 15'000, i * 1000.0 + k / 7.0});
      Write(s);
    }
    TimeSeries ints{.labels = {{"__name__", "latency"}, {"kind", "int"}}};
    TimeSeries floats{.labels = {{"__name__", "latency"}, {"kind", "float"}}};
    for (int k = 0; k < 50; ++k) {
      IntHistogram h{.schema = 1, .count = static_cast<std::uint64_t>(3 * k), .sum = k * 1.5, .positive_spans = {{2, 2}}};
      h.positive_deltas = {k, k};
      ints.histograms.push_back({kStart + k * 15'000, h});
      FloatHistogram f{.schema = 0, .count = 0.5 * k, .sum = k * 2.5, .positive_spans = {{-1, 1}}, .positive_counts = {0.5 * k}};
      floats.histograms.push_back({kStart + k * 15'000, f});
    }
    // Floats and histograms in one series.
    for (int k = 50; k < 60; ++k) ints.samples.push_back({kStart + k * 15'000, k * 0.5});
    ints.exemplars.push_back({{{"trace_id", "abc"}}, 1.5, kStart + 1});
    ints.exemplars.push_back({{{"trace_id", "def"}}, 6, kStart + 60'000});
    ints.metadata.push_back({MetricType::kHistogram, "seconds", "How \"long\" it took."});
    floats.metadata.push_back({MetricType::kGauge, "", "Another's."});
    Write(ints);
    Write(floats);
    ASSERT_TRUE(storage_->Checkpoint().ok());

    AddRemoteReadHandler(storage_.get(), &in_flight_, read_options_, &router_);
    AddLookupHandlers(storage_.get(), &in_flight_, std::chrono::seconds(60), &router_);
    AddExportHandler(storage_.get(), &in_flight_, std::chrono::seconds(60), &router_);
    AddMetadataHandlers(storage_.get(), &in_flight_, std::chrono::seconds(60), &router_);
    cardinality_ = std::make_unique<LiveCardinality>(storage_.get(), LiveCardinalityOptions{.max_age = std::chrono::seconds(0)});
    AddTsdbStatusHandler(cardinality_.get(), &in_flight_, &router_);
    AddAdminHandlers(storage_.get(), {.enabled = true, .snapshot_directory = dir_ / "snapshots"}, &router_);
  }
  void TearDown() override { EXPECT_EQ(in_flight_.used_bytes(), 0U); }

  void Write(const TimeSeries& s) { ASSERT_TRUE(storage_->Write(s).ok()); }

  HttpResponse Ask(const std::string& method, const std::string& target, std::string body = {}, Pairs headers = {}) {
    HttpRequest request{.method = method, .headers = std::move(headers), .body = std::move(body), .cancelled = &cancelled_};
    EXPECT_TRUE(ParseTarget(target, &request.path, &request.query).ok());
    const Router::Match match = router_.Find(method, request.path);
    if (match.route == nullptr) return {.status = 404};
    request.segments = match.segments;
    HttpResponse response = match.route->handler(request);
    if (response.stream) {
      Collected all;
      const Status s = response.stream(all);
      if (!s.ok()) return response.failure ? response.failure(s) : HttpResponse::Text(500, s.ToString());
      response.body = all.bytes;
    }
    return response;
  }
  HttpResponse Read(const std::string& message) {
    return Ask("POST", "/api/v1/read", interop::CompressBlock(message), {{"Content-Encoding", "snappy"}});
  }
  json Api(const std::string& target) {
    const HttpResponse response = Ask("GET", target);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }

  // What the store itself says.
  Said Expected(const std::vector<Matcher>& matchers, TimeRange range) {
    Said said;
    auto set = std::move(*storage_->Select(matchers, range));
    while (set->Next()) {
      std::vector<std::string>& words = said[set->labels().ToString()];
      SampleIterator& in = set->samples();
      for (ValueType type = in.Next(); type != ValueType::kNone; type = in.Next()) {
        words.push_back(type == ValueType::kFloat ? Words(in.timestamp(), in.value()) : Words({in.timestamp(), in.histogram()}));
      }
    }
    return said;
  }

  const testing_support::TempDirectory dir_;
  const std::shared_ptr<EngineRegistry> engines_ = std::make_shared<EngineRegistry>();
  std::unique_ptr<Storage> storage_;
  MemoryBudget in_flight_{64 << 20};
  std::atomic<bool> cancelled_{false};
  RemoteReadOptions read_options_;
  std::unique_ptr<LiveCardinality> cardinality_;
  Router router_;
};

TEST_F(QueryHandlers, SamplesAreThoseOfTheStoreAndTheEndIsInclusive) {
  const Timestamp last = kStart + 100 * 15'000;
  const HttpResponse response = Read(ReadRequest({QueryBytes(kStart + 15'000, last, {MatcherBytes(0, "job", "node")})}));
  ASSERT_EQ(response.status, 200) << response.body;
  const testing::DecodedRequest got = testing::DecodeReadResponse(testing::Unsnappy(response.body));
  ASSERT_EQ(got.error, "");
  Said said;
  for (const TimeSeries& s : got.series) {
    for (const Sample& x : s.samples) said[s.labels.ToString()].push_back(Words(x.timestamp, x.value));
  }
  const Said expected = Expected({Matcher::Equal("job", "node")}, {kStart + 15'000, last + 1});
  ASSERT_EQ(expected.size(), 10U);
  EXPECT_EQ(expected.begin()->second.size(), 100U);
  EXPECT_EQ(said, expected);
}

TEST_F(QueryHandlers, StreamedChunksHoldWhatTheStoreHolds) {
  std::size_t frames = 0;
  const HttpResponse response =
      Read(ReadRequest({QueryBytes(kStart, kStart + 10'000'000, {MatcherBytes(2, "__name__", "up|latency")}),
                        QueryBytes(kStart, kStart - 1, {MatcherBytes(0, "job", "web")}),
                        QueryBytes(kStart + 1, kStart + 30'000, {MatcherBytes(3, "job", "node|")})},
                       {7, 1, 0}));
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.headers.front().second, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
  const std::vector<Said> said = DecodeStream(response.body, &frames);
  ASSERT_EQ(said.size(), 3U);
  EXPECT_EQ(said[0], Expected({Matcher::Regex("__name__", "up|latency")}, {kStart, kStart + 10'000'001}));
  EXPECT_EQ(said[0].size(), 22U);
  EXPECT_TRUE(said[1].empty());  // it ends before it starts
  EXPECT_EQ(said[2], Expected({Matcher::NotRegex("job", "node|")}, {kStart + 1, kStart + 30'001}));
  EXPECT_EQ(said[2].size(), 10U);
  EXPECT_EQ(frames, 32U);
}

TEST_F(QueryHandlers, StreamedChunksHoldHistogramsOfCustomBuckets) {
  TimeSeries mixed{.labels = {{"__name__", "converted"}}};
  for (int k = 1; k <= 40; ++k) {
    IntHistogram h{.schema = kCustomBucketsSchema,
                   .count = static_cast<std::uint64_t>(3 * k),
                   .sum = k * 0.5,
                   .positive_spans = {{1, 2}},
                   .positive_deltas = {k, k},
                   .custom_values = {-0.75, 0.5, 1e9}};
    if (k > 20) h.custom_values = {0.005, 0.01, 0.025};
    if (k == 30) h = {.count = 1, .positive_spans = {{0, 1}}, .positive_deltas = {1}};
    mixed.histograms.push_back({kStart + k * 15'000, h});
  }
  Write(mixed);
  std::size_t frames = 0;
  const HttpResponse response =
      Read(ReadRequest({QueryBytes(kStart, kStart + 10'000'000, {MatcherBytes(0, "__name__", "converted")})}, {1}));
  ASSERT_EQ(response.status, 200) << response.body;
  const std::vector<Said> said = DecodeStream(response.body, &frames);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0], Expected({Matcher::Equal("__name__", "converted")}, {kStart, kStart + 10'000'001}));
  EXPECT_EQ(said[0].at("converted").size(), 40U);
}

TEST_F(QueryHandlers, FloatChunksAreTheStoredBytes) {
  auto set = std::move(*storage_->Select({Matcher::Equal("instance", "host-3")}, {kStart, kStart + 8'000'000}));
  ASSERT_TRUE(set->Next());
  ASSERT_TRUE(set->chunks().Next());
  const std::string stored(set->chunks().chunk().data);
  const HttpResponse response =
      Read(ReadRequest({QueryBytes(kStart, kStart + 7'999'999, {MatcherBytes(0, "instance", "host-3")})}, {1}));
  EXPECT_THAT(response.body, HasSubstr(stored));
}

TEST_F(QueryHandlers, WrongReadRequestsAreRefusedWithTheReason) {
  EXPECT_EQ(Ask("POST", "/api/v1/read", "not snappy at all").status, 400);
  EXPECT_EQ(Ask("POST", "/api/v1/read", "x", {{"Content-Encoding", "gzip"}}).status, 415);
  const std::string bomb("\xff\xff\xff\xff\x0f", 5);  // claims 4 GiB
  EXPECT_EQ(Ask("POST", "/api/v1/read", bomb, {{"Content-Encoding", "snappy"}}).status, 413);
  EXPECT_EQ(Read("\x0a\x05").status, 400);
  EXPECT_THAT(Read(ReadRequest({}, {5})).body, HasSubstr("STREAMED_XOR_CHUNKS"));
  EXPECT_THAT(Read(ReadRequest({QueryBytes(0, 1, {MatcherBytes(4, "a", "b")})})).body, HasSubstr("type 4"));
  // Fields of another type: a matcher that is passed over would find too much.
  std::string matcher, query;
  ProtoWriter(&matcher).UintAlways(2, 1);
  ProtoWriter(&query).UintAlways(3, 1);
  for (const std::string& wrong :
       {QueryBytes(0, 1, {matcher}), query, QueryBytes(0, 1, {MatcherBytes(0, "a", "b")}) + "\x0a\x01x"}) {
    EXPECT_THAT(Read(ReadRequest({wrong})).body, HasSubstr("is of another type"));
  }
  EXPECT_THAT(Read("\x08\x01").body, HasSubstr("is of another type"));
  const HttpResponse regex = Read(ReadRequest({QueryBytes(0, 1, {MatcherBytes(2, "a", "b(")})}, {1}));
  EXPECT_EQ(regex.status, 400);
  EXPECT_THAT(regex.body, HasSubstr("b("));
  const std::vector<std::string> many(interop::kRemoteReadQueriesMax + 1, QueryBytes(0, 1, {}));
  EXPECT_EQ(Read(ReadRequest(many)).status, 400);
}

TEST_F(QueryHandlers, AnAnswerOfSamplesIsBoundedAndAStreamIsNot) {
  Router small;
  MemoryBudget little(64 << 10);
  const auto ask = [&](Router* router, std::uint32_t form) {
    const HttpRequest request{.method = "POST",
                              .body = interop::CompressBlock(
                                  ReadRequest({QueryBytes(kStart, kStart + 10'000'000, {MatcherBytes(2, "job", ".+")})}, {form}))};
    return router->Find("POST", "/api/v1/read").route->handler(request);
  };
  AddRemoteReadHandler(storage_.get(), &in_flight_, {.samples_bytes_max = 100'000}, &small);
  const HttpResponse refused = ask(&small, 0);
  ASSERT_EQ(refused.status, 413);
  EXPECT_THAT(refused.body, HasSubstr("STREAMED_XOR_CHUNKS"));
  Collected all;
  EXPECT_TRUE(ask(&small, 1).stream(all).ok());
  std::size_t frames = 0;
  EXPECT_EQ(DecodeStream(all.bytes, &frames)[0].size(), 20U);

  Router poor;
  AddRemoteReadHandler(storage_.get(), &little, {}, &poor);
  const HttpResponse never = ask(&poor, 0);
  EXPECT_EQ(never.status, 413) << "it will never be taken, whatever the others do";
  EXPECT_THAT(never.body, HasSubstr("--max-in-flight-bytes"));
  Router poorest;
  MemoryBudget least(10);  // not even the request
  AddRemoteReadHandler(storage_.get(), &least, {}, &poorest);
  EXPECT_EQ(ask(&poorest, 1).status, 413);
  EXPECT_EQ(least.used_bytes(), 0U);
  EXPECT_EQ(little.used_bytes(), 0U);
}

TEST_F(QueryHandlers, AReadIsCountedBeforeItIsDecodedAndOverloadAsksToTryLater) {
  const auto retry_after = [](const HttpResponse& response) {
    for (const auto& [name, value] : response.headers) {
      if (name == "Retry-After") return value;
    }
    return std::string("(none)");
  };
  const std::uint64_t all = in_flight_.limit_bytes();
  // Claims 4 KiB, and is malformed: decoding it would be answered 400.
  const std::string claims("\x80\x20 no snappy");
  EXPECT_EQ(Ask("POST", "/api/v1/read", claims).status, 400);
  in_flight_.ForceReserve(all - 4095);
  HttpResponse response = Ask("POST", "/api/v1/read", claims);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(retry_after(response), "1");
  in_flight_.Release(60'000);
  // Room for the request and some series at a time, none for the answer; a stream needs none.
  const auto message = [](std::uint32_t form) {
    return ReadRequest({QueryBytes(kStart, kStart + 10'000'000, {MatcherBytes(2, "job", ".+")})}, {form});
  };
  response = Read(message(0));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(retry_after(response), "1");
  EXPECT_EQ(Read(message(1)).status, 200);
  EXPECT_EQ(in_flight_.used_bytes(), all - 64'095) << "each gave back what it took";
  in_flight_.Release(all - 64'095);
  EXPECT_EQ(Read(message(0)).status, 200);
}

TEST_F(QueryHandlers, LookupsAnswerAsPrometheusDoes) {
  EXPECT_EQ(Api("/api/v1/labels"), (json{{"status", "success"}, {"data", {"__name__", "instance", "job", "kind"}}}));
  EXPECT_EQ(Api("/api/v1/labels?match[]=latency")["data"], (json{"__name__", "kind"}));
  EXPECT_EQ(Api("/api/v1/label/job/values?match%5B%5D=up")["data"], (json{"node", "web"}));
  EXPECT_EQ(Api("/api/v1/label/nobody/values")["data"], json::array());
  const json two = Api("/api/v1/series?match[]=up{instance=\"host-7\"}&match[]={instance=~\"host-(7|3)\"}")["data"];
  ASSERT_EQ(two.size(), 2U);  // united, in order
  EXPECT_EQ(two[0], (json{{"__name__", "up"}, {"instance", "host-3"}, {"job", "web"}}));
  EXPECT_EQ(two[1]["instance"], "host-7");
  const json some = Api("/api/v1/series?match[]=up&limit=3");
  EXPECT_EQ(some["data"].size(), 3U);
  EXPECT_EQ(some["warnings"], (json{"results truncated due to limit"}));
  EXPECT_EQ(Api("/api/v1/series?match[]=up&start=2500000000")["data"], json::array());
  EXPECT_EQ(Api("/api/v1/series?match[]=up&end=1700000000.000")["data"].size(), 20U) << "the end is inclusive";

  const HttpResponse form =
      Ask("POST", "/api/v1/series", "match%5B%5D=up%7Bjob%3D%22web%22%7D", {{"Content-Type", "application/x-www-form-urlencoded"}});
  EXPECT_EQ(json::parse(form.body)["data"].size(), 10U);
}

TEST_F(QueryHandlers, TakesTheTimesThatClientsSendForNone) {
  const std::pair<std::string, std::string> ranges[] = {
      {"-9223372036854775.808", "9223372036854775.807"},
      {"-9223309901257974", "9223309901257974"},
      {"-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z"},
      {"", ""},
  };
  for (const auto& [start, end] : ranges) {
    const json answer = Api("/api/v1/series?match[]=up&limit=&start=" + start + "&end=" + end);
    EXPECT_EQ(answer["data"].size(), 20U) << start;
    EXPECT_EQ(Api("/api/v1/series?match[]=up&start=" + end + "&end=" + end)["data"].size(), end.empty() ? 20U : 0U) << end;
  }
  EXPECT_EQ(Api("/api/v1/series?match[]={a=\"\",job=~\"we.\"}")["data"].size(), 10U);
  EXPECT_EQ(Api("/api/v1/series?match[]={__name__!=\"\"}")["data"].size(), 22U);
}

TEST_F(QueryHandlers, WhoAsksForPromQlIsToldWhereItIs) {
  for (const char* path : {"/api/v1/query?query=up", "/api/v1/query_range?query=up"}) {
    const HttpResponse response = Ask("GET", path);
    EXPECT_EQ(response.status, 404);
    EXPECT_EQ(json::parse(response.body)["errorType"], "not_found");
    EXPECT_THAT(response.body, HasSubstr("remote_read"));
  }
}

const char* const kLookups[] = {"/api/v1/series?match[]=up",
                                "/api/v1/series?match[]=up&match[]=latency",
                                "/api/v1/labels",
                                "/api/v1/labels?match[]=up",
                                "/api/v1/label/instance/values",
                                "/api/v1/label/instance/values?match[]=up&match[]=latency",
                                "/api/v1/metadata",
                                "/api/v1/query_exemplars?query=latency",
                                "/api/v1/export?match[]=up",
                                "/api/v1/status/tsdb"};

TEST_F(QueryHandlers, LookupsAreCountedAndOverloadAsksToTryLater) {
  for (const std::string target : kLookups) {
    EXPECT_EQ(Ask("GET", target).status, 200) << target;
    EXPECT_EQ(in_flight_.used_bytes(), 0U) << target;
    in_flight_.ForceReserve(in_flight_.limit_bytes());
    const HttpResponse response = Ask("GET", target);
    EXPECT_EQ(response.status, 503) << target;
    const json answer = json::parse(response.body);
    EXPECT_EQ(answer["errorType"], "unavailable");
    EXPECT_EQ(answer["error"], "other requests have taken the memory that there is for them");
    EXPECT_THAT(response.headers, ::testing::Contains(::testing::Pair("Retry-After", "1"))) << target;
    in_flight_.Release(in_flight_.limit_bytes());
  }
}

TEST_F(QueryHandlers, ALookupThatTakesMoreThanThereIsIsNotTriedAgain) {
  Router poor;
  MemoryBudget little(20);
  const auto timeout = std::chrono::seconds(60);
  AddLookupHandlers(storage_.get(), &little, timeout, &poor);
  AddMetadataHandlers(storage_.get(), &little, timeout, &poor);
  AddExportHandler(storage_.get(), &little, std::chrono::seconds(60), &poor);
  LiveCardinality cardinality(storage_.get(), {});
  AddTsdbStatusHandler(&cardinality, &little, &poor);
  std::swap(poor, router_);
  for (const std::string target : kLookups) {
    const HttpResponse response = Ask("GET", target);
    EXPECT_EQ(response.status, 422) << target << response.body;
    const json answer = json::parse(response.body);
    EXPECT_EQ(answer["errorType"], "execution");
    EXPECT_THAT(answer["error"].get<std::string>(), HasSubstr("--max-in-flight-bytes")) << target;
    EXPECT_EQ(little.used_bytes(), 0U) << target;
  }
}

TEST_F(QueryHandlers, WhatIsAskedAtTheEndOfTheServerIsAnsweredSo) {
  cancelled_ = true;
  for (const std::string target : kLookups) {
    const HttpResponse response = Ask("GET", target);
    EXPECT_EQ(response.status, 503) << target;
    EXPECT_EQ(json::parse(response.body)["errorType"], "canceled") << target;
  }
  const std::string all = QueryBytes(kStart, kStart + 10'000'000, {MatcherBytes(2, "job", ".+")});
  EXPECT_EQ(Read(ReadRequest({all}, {0})).status, 503);
  EXPECT_EQ(Read(ReadRequest({all}, {1})).status, 503);
}

// What is in memory of them together is bounded; what is not in memory is not.
TEST_F(QueryHandlers, ManySeriesAreAnsweredInLittleMemory) {
  constexpr int kSeries = 40'000;
  std::vector<TimeSeries> many(kSeries);
  for (int i = 0; i < kSeries; ++i) {
    many[static_cast<std::size_t>(i)] = {
        .labels = {{"__name__", "many"}, {"i", std::to_string(1'000'000 + i)}, {"text", std::string(150, 'x')}},
        .samples = {{kStart, 1.0 * i}}};
  }
  ASSERT_TRUE(storage_->Write(many).ok());
  Router poor;
  MemoryBudget little(5 << 20);  // the labels of all take 8 MiB, and three times that while they are sorted
  const auto timeout = std::chrono::seconds(60);
  AddLookupHandlers(storage_.get(), &little, timeout, &poor);
  AddExportHandler(storage_.get(), &little, std::chrono::seconds(60), &poor);
  AddRemoteReadHandler(storage_.get(), &little, {}, &poor);
  std::swap(poor, router_);
  std::set<std::string> seen;
  const json series = Api("/api/v1/series?match[]=many");
  for (const json& one : series["data"]) seen.insert(one["i"]);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kSeries));
  EXPECT_EQ(Api("/api/v1/series?match[]=many&limit=39999")["warnings"].size(), 1U);
  const HttpResponse exported = Ask("GET", "/api/v1/export?match[]=many");
  EXPECT_EQ(exported.status, 200) << exported.body;
  EXPECT_EQ(std::count(exported.body.begin(), exported.body.end(), '\n'), kSeries);
  const HttpResponse values = Ask("GET", "/api/v1/label/i/values");
  EXPECT_EQ(values.status, 422) << values.body;
  EXPECT_EQ(Api("/api/v1/label/i/values?match[]={i=~\"10000.*\"}")["data"].size(), 100U);
  EXPECT_EQ(Api("/api/v1/labels")["data"].size(), 6U);
  // All of them in one order: their labels are in memory together.
  EXPECT_EQ(Read(ReadRequest({QueryBytes(kStart, kStart, {MatcherBytes(0, "__name__", "many")})}, {1})).status, 413);
  EXPECT_EQ(little.used_bytes(), 0U);
}

TEST_F(QueryHandlers, WrongParametersAreNamed) {
  const std::map<std::string, std::string> wrong = {
      {"/api/v1/series", "no match[]"},
      {"/api/v1/series?match[]=up{", "parameter match[]"},
      {"/api/v1/series?match[]=up&start=yesterday", "parameter start"},
      {"/api/v1/series?match[]=up&start=20&end=10", "end lies before start"},
      {"/api/v1/series?match[]=up&end=1e300", "parameter end"},
      {"/api/v1/labels?limit=-1", "parameter limit"},
      {"/api/v1/labels?match[]={a=~\"(\"}", "("},
      {"/api/v1/status/tsdb?limit=0", "limit must be a number"},
      {"/api/v1/status/tsdb?limit=ten", "limit must be a number"},
      {"/api/v1/status/tsdb?limit=10001", "limit must be a number"},
      {"/api/v1/metadata?limit=some", "limit must be a number"},
      {"/api/v1/metadata?limit_per_metric=-1", "limit_per_metric must be a number"},
      {"/api/v1/query_exemplars", "no query"},
      {"/api/v1/query_exemplars?query=rate(latency[5m])", "not PromQL"},
      {"/api/v1/query_exemplars?query=latency&start=20&end=10", "end lies before start"},
      {"/api/v1/query_exemplars?query={a=~\"(\"}", "("},
      {"/api/v1/series?match[]=up&start=nan", "parameter start"},
      {"/api/v1/series?match[]=up&match[]={}", "must not match the empty string"},
      {"/api/v1/labels?match[]={a=\"\",b=~\".*\",c!=\"d\",e!~\"f+\"}", "must not match the empty string"},
      {"/api/v1/label/job/values?match[]={__name__=~\".*\"}", "must not match the empty string"},
      {"/api/v1/export?match[]={}", "must not match the empty string"},
      {"/api/v1/export", "no match[]"},
      {"/api/v1/export?match[]={a=~\"(\"}", "("},
  };
  for (const auto& [target, reason] : wrong) {
    const HttpResponse response = Ask("GET", target);
    EXPECT_EQ(response.status, 400) << target;
    const json answer = json::parse(response.body);
    EXPECT_EQ(answer["status"], "error");
    EXPECT_EQ(answer["errorType"], "bad_data");
    EXPECT_THAT(answer["error"].get<std::string>(), HasSubstr(reason)) << target;
  }
}

TEST_F(QueryHandlers, ExportsJsonLinesWithHistogramsAndExemplars) {
  const HttpResponse response = Ask("GET", "/api/v1/export?match[]=latency{kind=\"int\"}&end=1700000900");
  ASSERT_EQ(response.status, 200) << response.body;
  const json line = json::parse(response.body);
  EXPECT_EQ(line["metric"], (json{{"__name__", "latency"}, {"kind", "int"}}));
  EXPECT_EQ(line["histograms"].size(), 50U);
  EXPECT_EQ(line["values"].size(), 10U);
  EXPECT_EQ(line["exemplars"][0]["labels"]["trace_id"], "abc");
}

TEST_F(QueryHandlers, MetadataIsToldByMetric) {
  Write({.labels = {{"__name__", "jobs"}}, .samples = {{kStart, 1}}, .metadata = {{MetricType::kCounter, "", "Done."}}});
  Write({.labels = {{"__name__", "jobs"}, {"job", "other"}},
         .samples = {{kStart, 1}},
         .metadata = {{MetricType::kCounter, "", "Done."}}});
  const json jobs = json::array({{{"type", "counter"}, {"help", "Done."}, {"unit", ""}}});
  const json histogram = {{"type", "histogram"}, {"help", "How \"long\" it took."}, {"unit", "seconds"}};
  const json all = Api("/api/v1/metadata");
  EXPECT_FALSE(all.contains("warnings"));
  ASSERT_EQ(all["data"].size(), 2U);  // nothing is known of up
  EXPECT_EQ(all["data"]["jobs"], jobs);
  EXPECT_THAT(all["data"]["latency"],
              ::testing::UnorderedElementsAre(histogram, json{{"type", "gauge"}, {"help", "Another's."}, {"unit", ""}}));
  EXPECT_EQ(Api("/api/v1/metadata?metric=jobs")["data"], (json{{"jobs", jobs}}));
  EXPECT_EQ(Api("/api/v1/metadata?metric=none")["data"], json::object());
  EXPECT_EQ(Api("/api/v1/metadata?limit_per_metric=1")["data"]["latency"].size(), 1U);
  const json one = Api("/api/v1/metadata?limit=1");
  EXPECT_EQ(one["data"], (json{{"jobs", jobs}}));
  EXPECT_EQ(one["warnings"], (json{"results truncated due to limit"}));
}

TEST_F(QueryHandlers, ExemplarsAreFoundBySelectorAndTime) {
  const json one = {{"labels", {{"trace_id", "abc"}}}, {"value", "1.5"}, {"timestamp", 1'700'000'000.001}};
  const json two = {{"labels", {{"trace_id", "def"}}}, {"value", "6"}, {"timestamp", 1'700'000'060.000}};
  const json series = {{"__name__", "latency"}, {"kind", "int"}};
  const auto of = [&](const json& exemplars) { return json::array({{{"seriesLabels", series}, {"exemplars", exemplars}}}); };
  EXPECT_EQ(Api("/api/v1/query_exemplars?query=latency"), (json{{"status", "success"}, {"data", of({one, two})}}));
  EXPECT_EQ(Api("/api/v1/query_exemplars?query={kind=~\".%2b\"}&start=1700000001&end=1700000060")["data"], of(json::array({two})));
  EXPECT_EQ(Api("/api/v1/query_exemplars?query=latency&end=1700000059.999")["data"], of(json::array({one})));
  EXPECT_EQ(Api("/api/v1/query_exemplars?query=up")["data"], json::array());
  const HttpResponse form = Ask("POST", "/api/v1/query_exemplars", "query=latency%7Bkind%3D%22int%22%7D&start=1700000060",
                                {{"Content-Type", "application/x-www-form-urlencoded"}});
  EXPECT_EQ(json::parse(form.body)["data"], of(json::array({two})));
}

TEST_F(QueryHandlers, TellsWhatMakesSeriesAsPrometheusDoes) {
  const json all = Api("/api/v1/status/tsdb");
  EXPECT_EQ(all["status"], "success");
  EXPECT_FALSE(all.contains("warnings"));
  const json& head = all["data"]["headStats"];
  EXPECT_EQ(head["numSeries"], 22);
  EXPECT_EQ(head["numLabelPairs"], 26);  // 2 metrics, 20 instances, 2 jobs, 2 kinds
  EXPECT_GE(head["chunkCount"], 22);
  EXPECT_EQ(head["maxTime"], kStart + 499 * 15'000);
  const auto stat = [](const char* name, int value) { return json{{"name", name}, {"value", value}}; };
  EXPECT_EQ(all["data"]["seriesCountByMetricName"], json::array({stat("up", 20), stat("latency", 2)}));
  EXPECT_EQ(all["data"]["labelValueCountByLabelName"],
            json::array({stat("instance", 20), stat("__name__", 2), stat("job", 2), stat("kind", 2)}));
  EXPECT_EQ(all["data"]["memoryInBytesByLabelName"],
            json::array({stat("instance", 10 * 6 + 10 * 7), stat("__name__", 2 + 7), stat("kind", 3 + 5), stat("job", 4 + 3)}));
  const json two = Api("/api/v1/status/tsdb?limit=2")["data"];
  EXPECT_EQ(two["seriesCountByLabelValuePair"], json::array({stat("__name__=up", 20), stat("job=node", 10)}));
  EXPECT_EQ(two["labelValueCountByLabelName"].size(), 2U);
  EXPECT_EQ(two["headStats"]["numLabelPairs"], 26);
}

TEST_F(QueryHandlers, WhatIsLeftOutOfACountIsSaid) {
  LiveCardinality some([](const auto&) { return ops::StoreCardinality{.partial = true, .complete = false}; }, {});
  Router router;
  AddTsdbStatusHandler(&some, &in_flight_, &router);
  const json answer = json::parse(router.Find("GET", "/api/v1/status/tsdb").route->handler({}).body);
  EXPECT_EQ(answer["warnings"].size(), 2U);
  EXPECT_EQ(answer["data"]["headStats"]["minTime"], std::numeric_limits<std::int64_t>::max());
}

TEST_F(QueryHandlers, OneCountAtATimeWhichIsKept) {
  int counts = 0;
  LiveCardinality* in_count = nullptr;
  StatusCode meanwhile = StatusCode::kOk;
  LiveCardinality counting(
      [&](const ops::StoreCardinalityOptions& how) {
        meanwhile = in_count->Get(10).status().code();  // as another thread would
        return ops::StoreCardinality{.series = 100U * static_cast<unsigned>(++counts) + how.top};
      },
      {.max_age = std::chrono::hours(1)});
  in_count = &counting;
  EXPECT_EQ((*counting.Get(10))->series, 110U);
  EXPECT_EQ(meanwhile, StatusCode::kResourceExhausted);
  EXPECT_EQ((*counting.Get(5))->series, 110U);
  EXPECT_EQ((*counting.Get(20))->series, 220U);
  EXPECT_EQ(meanwhile, StatusCode::kOk);  // it got the older one
  EXPECT_EQ((*counting.Get(10))->series, 220U);
}

TEST_F(QueryHandlers, DeletesAndCopies) {
  EXPECT_EQ(Ask("POST", "/api/v1/admin/tsdb/delete_series").status, 400);
  const HttpResponse copied = Ask("POST", "/api/v1/admin/tsdb/snapshot");
  ASSERT_EQ(copied.status, 200) << copied.body;
  EXPECT_EQ(Ask("PUT", "/api/v1/admin/tsdb/delete_series?match[]=up&match[]={}").status, 400);  // nothing of it, then
  EXPECT_EQ(Api("/api/v1/series?match[]=up")["data"].size(), 20U);
  EXPECT_EQ(Ask("PUT", "/api/v1/admin/tsdb/delete_series?match[]=up{job=\"web\"}").status, 204);
  EXPECT_EQ(Ask("POST", "/api/v1/admin/tsdb/clean_tombstones").status, 204);
  EXPECT_EQ(Api("/api/v1/series?match[]=up")["data"].size(), 10U);
  EXPECT_TRUE(std::filesystem::is_directory(dir_ / "snapshots/" + json::parse(copied.body)["data"]["name"].get<std::string>()));

  Router off;
  AddAdminHandlers(storage_.get(), {}, &off);
  const HttpResponse refused = off.Find("POST", "/api/v1/admin/tsdb/delete_series").route->handler({});
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr("--web.enable-admin-api"));
}

TEST_F(QueryHandlers, WhatNeedsAllShardsDoesNotWaitForReplay) {
  storage_.reset();
  Gate gate;
  gate.Close();
  Options options;
  options.engine = "memory";
  options.engines = engines_;
  options.wait_for_replay = false;
  options.on_replay = [&](const ReplayProgress& progress) {
    if (progress.done && progress.shard == 1) gate.Pass();
  };
  auto opened = Storage::Open(options, dir_ / "db");
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  const std::unique_ptr<Storage> replaying = std::move(*opened);
  Router router;
  AddAdminHandlers(replaying.get(), {.enabled = true, .snapshot_directory = dir_ / "snapshots"}, &router);
  const auto ask = [&](const std::string& name) {
    return router.Find("POST", "/api/v1/admin/tsdb/" + name).route->handler({.query = {{"match[]", "up"}}});
  };
  for (const char* name : {"delete_series", "clean_tombstones", "snapshot"}) {
    const HttpResponse refused = ask(name);
    EXPECT_EQ(refused.status, 503) << name;
    EXPECT_THAT(refused.headers, ::testing::Contains(::testing::Pair("Retry-After", "1"))) << name;
    EXPECT_THAT(refused.body, HasSubstr("still being replayed: shard")) << name;
  }
  // Of an export half would pass for a whole one: it waits, but not for ever.
  AddExportHandler(replaying.get(), &in_flight_, std::chrono::milliseconds(1), &router);
  const HttpResponse exported = router.Find("GET", "/api/v1/export").route->handler({.query = {{"match[]", "up"}}});
  Collected nothing;
  const Status late = exported.stream(nothing);
  EXPECT_EQ(nothing.bytes, "");
  EXPECT_EQ(exported.failure(late).status, 503) << late.ToString();
  EXPECT_THAT(exported.failure(late).body, HasSubstr("still being replayed: shard"));
  gate.Open();
  ASSERT_TRUE(replaying->WaitReady().ok());
  const auto samples = [&] {
    std::size_t n = 0;
    auto set = std::move(*replaying->Select({Matcher::Equal("__name__", "up")}, {}));
    while (set->Next()) {
      while (set->samples().Next() != ValueType::kNone) ++n;
    }
    return n;
  };
  EXPECT_EQ(samples(), 20U * 500);
  EXPECT_EQ(ask("delete_series").status, 204);
  EXPECT_EQ(samples(), 0U);
  EXPECT_EQ(ask("snapshot").status, 200);
}

}  // namespace
}  // namespace chronolith::server

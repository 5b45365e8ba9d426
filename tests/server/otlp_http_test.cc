#include "server/otlp_http.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "interop/otlp/rpc_status.pb.h"
#include "server/inflate.h"
#include "tests/server/otlp_fixture.h"

namespace chronolith::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kProtobuf = "application/x-protobuf";
constexpr const char* kJson = "application/json";

constexpr const char* kAllKindsJson = R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[
  {"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1760000000000000000","asDouble":1.5}]}},
  {"name":"c","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1760000000000000000","asInt":"7"}]}},
  {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
    {"timeUnixNano":"1760000000000000000","count":"3","sum":4,"explicitBounds":[1],"bucketCounts":["1","2"]}]}},
  {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
    {"timeUnixNano":"1760000000000000000","count":2,"positive":{"bucketCounts":[2]}}]}},
  {"name":"s","summary":{"dataPoints":[{"timeUnixNano":"1760000000000000000","count":2,"sum":3}]}}]}]}]})";

class OtlpHttp : public OtlpFixture {
 protected:
  HttpResponse Post(const std::string& type, std::string body, Pairs more = {}) {
    if (receiver_ == nullptr) {
      MakeReceiver();
      AddOtlpHandler(receiver_.get(), &in_flight_, &router_);
    }
    HttpRequest request{.method = "POST", .path = "/v1/metrics", .headers = std::move(more), .body = std::move(body)};
    request.headers.emplace_back("Content-Type", type);
    HttpResponse response = router_.Find("POST", "/v1/metrics").route->handler(request);
    EXPECT_EQ(in_flight_.used_bytes(), 0U) << "all that a request reserved is given back";
    return response;
  }
  static std::string Header(const HttpResponse& response, const std::string& name) {
    for (const auto& [n, value] : response.headers) {
      if (n == name) return value;
    }
    return {};
  }
  static google::rpc::Status Error(const HttpResponse& response) {
    EXPECT_EQ(Header(response, "Content-Type"), kProtobuf);
    google::rpc::Status status;
    EXPECT_TRUE(status.ParseFromString(response.body)) << response.body;
    return status;
  }

  Router router_;
};

TEST_F(OtlpHttp, StoresEachKindInProtobuf) {
  const HttpResponse response = Post(kProtobuf, AllKinds().SerializeAsString());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");  // an empty ExportMetricsServiceResponse
  EXPECT_EQ(Header(response, "Content-Type"), kProtobuf);
  ExpectAllKindsStored();
}

TEST_F(OtlpHttp, StoresEachKindInJson) {
  const HttpResponse response = Post("application/json; charset=utf-8", kAllKindsJson);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.body, "{}");
  EXPECT_EQ(Header(response, "Content-Type"), kJson);
  ExpectAllKindsStored();
}

TEST_F(OtlpHttp, StoresGzipOfBoth) {
  EXPECT_EQ(Post(kProtobuf, Compress(AllKinds().SerializeAsString()), {{"content-encoding", "gzip"}}).status, 200);
  ExpectAllKindsStored();
  EXPECT_EQ(Post(kJson, Compress(kAllKindsJson), {{"Content-Encoding", "GZIP"}}).status, 200);
  EXPECT_EQ(Post(kProtobuf, AllKinds().SerializeAsString(), {{"Content-Encoding", "identity"}}).status, 200);
  ExpectAllKindsStored();
}

TEST_F(OtlpHttp, AnEmptyRequestSucceeds) {
  EXPECT_EQ(Post(kProtobuf, "").status, 200);
  EXPECT_EQ(Post(kJson, "{}").status, 200);
}

TEST_F(OtlpHttp, TellsOfPartialSuccessInTheRequestsType) {
  ExportMetricsServiceRequest request;
  AddGauge(&request, "g", 1.5);
  AddGauge(&request, "late", 1)->set_time_unix_nano(0);
  HttpResponse response = Post(kProtobuf, request.SerializeAsString());
  EXPECT_EQ(response.status, 200);
  ExportMetricsServiceResponse answer;
  ASSERT_TRUE(answer.ParseFromString(response.body));
  EXPECT_EQ(answer.partial_success().rejected_data_points(), 1);
  EXPECT_THAT(answer.partial_success().error_message(), HasSubstr("late: a point has no timestamp"));
  response = Post(kJson, R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"d","sum":{"aggregationTemporality":1,
    "dataPoints":[{"asInt":1,"timeUnixNano":1}]}}]}]}]})");
  EXPECT_EQ(response.status, 200);
  const auto json = nlohmann::json::parse(response.body);
  EXPECT_EQ(json["partialSuccess"]["rejectedDataPoints"], "1");
  EXPECT_THAT(json["partialSuccess"]["errorMessage"].get<std::string>(), HasSubstr("delta"));
  EXPECT_EQ(Stored().size(), 1U);
}

TEST_F(OtlpHttp, RefusesOtherTypesAndEncodings) {
  EXPECT_EQ(Post("text/plain", "").status, 415);
  EXPECT_EQ(Post("", "").status, 415);
  EXPECT_EQ(Post("application/x-protobuffer", "").status, 415);
  const HttpResponse response = Post(kProtobuf, "", {{"Content-Encoding", "snappy"}});
  EXPECT_EQ(response.status, 415);
  EXPECT_EQ(Error(response).code(), 3);
  EXPECT_THAT(Error(response).message(), HasSubstr("gzip"));
  EXPECT_EQ(Post(kProtobuf, "", {{"X-Chronolith-Ack-Level", "maybe"}}).status, 400);
}

TEST_F(OtlpHttp, TakesTheLevelOfTheRequest) {
  const std::string request = AllKinds().SerializeAsString();
  for (const char* level : {"queued", "logged", "synced"}) {
    EXPECT_EQ(Post(kProtobuf, request, {{"X-Chronolith-Ack-Level", level}}).status, 200) << level;
  }
  std::uint64_t of[3] = {};
  for (const ShardStats& shard : store_->Stats().shards) {
    for (std::size_t level = 0; level < 3; ++level) of[level] += shard.write_latency[level].count;
  }
  EXPECT_GT(of[static_cast<int>(AckLevel::kSynced)], 0U);
  EXPECT_EQ(of[static_cast<int>(AckLevel::kQueued)], of[static_cast<int>(AckLevel::kSynced)]);
  EXPECT_EQ(of[static_cast<int>(AckLevel::kLogged)], of[static_cast<int>(AckLevel::kSynced)]);
}

TEST_F(OtlpHttp, WhatTheServerRefusesItselfIsAStatusToo) {
  ASSERT_EQ(Post(kProtobuf, "").status, 200);  // the handler is there
  const struct {
    int http, rpc;
  } rows[] = {{400, 3}, {401, 16}, {403, 7},  {404, 12}, {405, 12}, {408, 4},  {413, 8},  {415, 3}, {417, 3},
              {429, 8}, {431, 8},  {500, 13}, {501, 12}, {502, 14}, {503, 14}, {504, 14}, {505, 2}};
  for (const auto& row : rows) {
    HttpResponse plain = HttpResponse::TryLater(row.http, "why");
    router_.Shape({.path = "/v1/traces", .headers = {{"content-type", "application/x-protobuf"}}}, &plain);
    EXPECT_EQ(plain.status, row.http);
    EXPECT_EQ(Error(plain).code(), row.rpc) << row.http;
    EXPECT_EQ(Error(plain).message(), "why");
    EXPECT_EQ(Header(plain, "Retry-After"), "1") << "other headers stay";
    HttpResponse json = HttpResponse::Text(row.http, "why");
    router_.Shape({.path = "/v1/metrics", .headers = {{"Content-Type", "application/json; charset=utf-8"}}}, &json);
    EXPECT_EQ(Header(json, "Content-Type"), kJson);
    EXPECT_EQ(nlohmann::json::parse(json.body), (nlohmann::json{{"code", row.rpc}, {"message", "why"}}));
  }
  HttpResponse elsewhere = HttpResponse::Text(404, "why");
  router_.Shape({.path = "/api/v1/traces"}, &elsewhere);
  EXPECT_EQ(elsewhere.body, "why\n");
}

TEST_F(OtlpHttp, MalformedBodiesAreTheSendersFault) {
  const HttpResponse response = Post(kProtobuf, "\x0a\x05nope");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(Error(response).code(), 3);
  const HttpResponse json = Post(kJson, R"({"resourceMetrics":[{]})");
  EXPECT_EQ(json.status, 400);
  EXPECT_EQ(nlohmann::json::parse(json.body)["code"], 3);
  EXPECT_EQ(Post(kProtobuf, "\x1f\x8b", {{"Content-Encoding", "gzip"}}).status, 400);
  const std::string good = Compress(AllKinds().SerializeAsString());
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    ASSERT_EQ(Post(kProtobuf, good.substr(0, cut), {{"Content-Encoding", "gzip"}}).status, 400) << cut;
  }
  EXPECT_EQ(Post(kProtobuf, good + "more", {{"Content-Encoding", "gzip"}}).status, 400);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(OtlpHttp, BombsAreNotInflatedBeyondTheLimit) {
  options_.decoded_bytes_max = 1 << 20;
  const std::string bomb = Compress(std::string(32 << 20, '\0'));
  EXPECT_LT(bomb.size(), 64U << 10);
  const HttpResponse response = Post(kProtobuf, bomb, {{"Content-Encoding", "gzip"}});
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(Error(response).code(), 8);
  EXPECT_THAT(Error(response).message(), HasSubstr("1048576"));
  // A length in the last bytes that lies does not matter.
  std::string lying = Compress(AllKinds().SerializeAsString());
  lying.back() = '\x7f';
  EXPECT_EQ(Post(kProtobuf, lying, {{"Content-Encoding", "gzip"}}).status, 400);
}

TEST_F(OtlpHttp, WithoutMemoryItAsksToTryLater) {
  in_flight_.ForceReserve(in_flight_.limit_bytes());
  if (receiver_ == nullptr) {
    MakeReceiver();
    AddOtlpHandler(receiver_.get(), &in_flight_, &router_);
  }
  HttpRequest request{
      .method = "POST", .path = "/v1/metrics", .headers = {{"Content-Type", kProtobuf}, {"Content-Encoding", "gzip"}}};
  request.body = Compress(AllKinds().SerializeAsString());
  const HttpResponse response = router_.Find("POST", "/v1/metrics").route->handler(request);
  in_flight_.Release(in_flight_.limit_bytes());
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  EXPECT_EQ(Error(response).code(), 8);
  EXPECT_EQ(Post(kProtobuf, request.body, {{"Content-Encoding", "gzip"}}).status, 200);
}

TEST_F(OtlpHttp, WhatNeverFitsIsNotTriedAgain) {
  MakeReceiver();
  AddOtlpHandler(receiver_.get(), &in_flight_, &router_);
  const std::string protobuf = AllKinds().SerializeAsString(), json = kAllKindsJson;
  struct Row {
    const char* type;
    std::string body;
    const char* encoding;
    std::uint64_t limit, enough;
  } const rows[] = {
      // Ten bytes for each of the text, beside the body itself.
      {kJson, json, "identity", 11 * json.size() - 1, 11 * json.size() + (1 << 20)},
      {kJson, Compress(json), "gzip", 64 << 10, 2 << 20},
      {kProtobuf, Compress(protobuf), "gzip", 64 << 10, 2 << 20},
      {kProtobuf, protobuf, "identity", 200 << 10, 1 << 20},  // a quarter MiB for what is made of it
  };
  for (const Row& row : rows) {
    const HttpRequest request{.method = "POST",
                              .path = "/v1/metrics",
                              .headers = {{"Content-Type", row.type}, {"Content-Encoding", row.encoding}},
                              .body = row.body};
    const auto ask = [&](std::uint64_t limit, std::uint64_t taken) {
      MemoryBudget budget(limit);
      budget.ForceReserve(taken + row.body.size());
      Router router;
      AddOtlpHandler(receiver_.get(), &budget, &router);
      HttpResponse response = router.Find("POST", "/v1/metrics").route->handler(request);
      EXPECT_EQ(budget.used_bytes(), taken + row.body.size());
      return response;
    };
    HttpResponse response = ask(row.limit, 0);
    EXPECT_EQ(response.status, 413) << row.type << row.encoding << response.body;
    EXPECT_THAT(response.body, HasSubstr("--max-in-flight-bytes"));
    EXPECT_EQ(Header(response, "Retry-After"), "");
    EXPECT_EQ(Stored().size(), 0U);
    response = ask(row.enough, row.enough - row.body.size());
    EXPECT_EQ(response.status, 429) << row.type << row.encoding << response.body;
    EXPECT_EQ(Header(response, "Retry-After"), "1");
  }
  for (const Row& row : rows) EXPECT_EQ(Post(row.type, row.body, {{"Content-Encoding", row.encoding}}).status, 200);
  ExpectAllKindsStored();
}

TEST_F(OtlpHttp, AFullRingAsksToTryLater) {
  OpenStore(SmallRing);
  const std::string request = ManyPoints().SerializeAsString();
  ASSERT_EQ(Post(kProtobuf, request).status, 200);
  SetFault(ResourceExhausted("the disk is full"));
  HttpResponse response;
  for (int i = 0; i < 1000; ++i) {
    response = Post(kProtobuf, request, {{"X-Chronolith-Ack-Level", "queued"}});
    if (response.status != 200) break;
  }
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  EXPECT_EQ(Error(response).code(), 8);
  EXPECT_THAT(Error(response).message(), HasSubstr("ring"));
  SetFault(Status::Ok());
  do {
    response = Post(kProtobuf, request);
  } while (response.status == 429);
  EXPECT_EQ(response.status, 200);
}

TEST_F(OtlpHttp, AFailedLogIsUnavailable) {
  SetFault(IoError("the disk is gone"));
  HttpResponse response = Post(kProtobuf, AllKinds().SerializeAsString());
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  EXPECT_EQ(Error(response).code(), 14);
  EXPECT_THAT(Error(response).message(), HasSubstr("the disk is gone"));
  response = Post(kJson, kAllKindsJson);
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  EXPECT_EQ(nlohmann::json::parse(response.body)["code"], 14);
}

// Series that the cache knows, and the log never had: their references lead to none of those that are made after the opening.
TEST_F(OtlpHttp, SeriesThatAFailedLogHasLostAreMadeAnew) {
  const std::string request = AllKinds().SerializeAsString();
  ASSERT_EQ(Post(kProtobuf, "").status, 200);
  SetFault(IoError("the disk is gone"));
  EXPECT_THAT(Post(kProtobuf, request, {{"X-Chronolith-Ack-Level", "queued"}}).status, ::testing::AnyOf(200, 503));
  while (!store_->Stats().log_failed) std::this_thread::yield();
  EXPECT_EQ(Post(kProtobuf, request).status, 503);
  SetFault(Status::Ok());
  ASSERT_TRUE(store_->Reopen().ok());
  ASSERT_TRUE(store_->WaitReady().ok());
  ExportMetricsServiceRequest others;
  for (int i = 0; i < 20; ++i) AddGauge(&others, "other" + std::to_string(i), 100 + i);
  ASSERT_EQ(Post(kProtobuf, others.SerializeAsString()).status, 200);
  const HttpResponse response = Post(kProtobuf, request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "") << "nothing was rejected";
  std::map<std::string, std::vector<std::string>> stored = Stored();
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(stored["other" + std::to_string(i)], ::testing::ElementsAre(std::to_string(100 + i)));
    stored.erase("other" + std::to_string(i));
  }
  EXPECT_EQ(stored.size(), kAllKindsSeries);
  EXPECT_THAT(stored["g"], ::testing::ElementsAre("1.5"));
  EXPECT_THAT(stored["h_count"], ::testing::ElementsAre("3"));
}

TEST_F(OtlpHttp, ReferencesThatHaveExpiredAreResolvedOnceMore) {
  OpenStore([](Options* options) { options->shards = 1; });
  const std::string request = AllKinds().SerializeAsString();
  ASSERT_EQ(Post(kProtobuf, request).status, 200);
  testing_support::ExpireReferences(store_.get(), static_cast<Timestamp>(kOtlpTime / 1'000'000));
  ASSERT_THAT(Stored(), IsEmpty());
  const HttpResponse response = Post(kProtobuf, request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "") << "nothing was rejected";
  ExpectAllKindsStored();
}

TEST(Inflate, ReadsBothFormatsOfAnySize) {
  for (const std::size_t size : {0, 1, 65535, 65536, 65537, 1'000'000}) {
    const std::string text(size, 'x');
    for (const bool gzip : {true, false}) {
      MemoryBudget budget(8 << 20);
      MemoryShare share(&budget);
      std::string out = "what was there before";
      ASSERT_TRUE(Inflate(Compress(text, gzip), 1'000'000, &share, &out).ok()) << size;
      EXPECT_EQ(out, text);
      EXPECT_GE(budget.used_bytes(), size);
    }
  }
  MemoryBudget budget(8 << 20);
  MemoryShare share(&budget);
  std::string out;
  EXPECT_EQ(Inflate(Compress(std::string(1001, 'x')), 1000, &share, &out).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Inflate("plain text", 1000, &share, &out).code(), StatusCode::kInvalidArgument);
  MemoryBudget small(100 << 10);
  MemoryShare poor(&small);
  EXPECT_EQ(Inflate(Compress(std::string(200 << 10, 'x')), 1 << 20, &poor, &out).code(), StatusCode::kFailedPrecondition);
  EXPECT_LE(out.size(), small.limit_bytes()) << "nothing grows that is not counted";
  // 256 KiB hold it, and the 128 KiB of which they are a copy.
  for (const std::uint64_t limit : {300 << 10, 400 << 10}) {
    MemoryBudget copies(limit);
    MemoryShare both(&copies);
    EXPECT_EQ(Inflate(Compress(std::string(200 << 10, 'x')), 1 << 20, &both, &out).ok(), limit == 400 << 10);
    EXPECT_LE(both.bytes(), 256U << 10) << "the first is gone";
  }
}

}  // namespace
}  // namespace chronolith::server

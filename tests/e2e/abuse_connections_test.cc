// Proof 5, the connections: framing that lies, headers and bodies that never end, clients that vanish, idle ones by the thousand,
// floods, and queries that ask for too much.
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <thread>

#include "interop/proto_writer.h"
#include "tests/e2e/abuse_fixture.h"
#include "tests/support/remote_read.h"

namespace chronolith::testing {
namespace {

constexpr const char* kHalfHeader = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-";
const std::string kHalfBody =
    "POST /api/v1/write HTTP/1.1\r\nHost: x\r\n" + TypeAndEncoding(kWriteType1, "snappy") + "Content-Length: 1000000\r\n\r\nhalf";

std::string Escaped(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    out.push_back('%');
    out.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

std::string Selector(std::string_view text) { return "/api/v1/series?match%5B%5D=" + Escaped(text); }

class AbuseConnections : public AbuseTest {
 protected:
  // This connection and no other.
  void AwaitQuiet() {
    Await("the end of all connections", [&] { return Metric("chronolith_http_connections") == 1; });
    EXPECT_EQ(Metric("chronolith_http_body_bytes_in_flight"), 0);
  }
  int StatusAlone(const std::string& bytes, bool stop_sending = false) {
    RawClient client(port());
    client.Send(bytes);
    if (stop_sending) client.CloseSending();
    return client.Read().status;
  }
};

TEST_F(AbuseConnections, FramingThatLies) {
  Start();
  const std::string head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\n" + TypeAndEncoding(kWriteType1, "snappy");
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  const std::pair<std::string, int> cases[] = {
      {"\r\n\r\n\r\n", 400},
      {"nonsense\r\n\r\n", 400},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n", 400},  // TLS
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"GET  /api/v1/labels HTTP/1.1\r\n\r\n", 400},
      {"GET /api/v1/labels HTTP/1.1\nHost: x\n\n", 400},
      {"GET /api/v1/labels HTTP/9.9\r\n\r\n", 400},
      {"GET /api/%zz HTTP/1.1\r\n\r\n", 400},
      {"GET /api/%00 HTTP/1.1\r\n\r\n", 400},
      {"GET labels HTTP/1.1\r\n\r\n", 400},
      {"GET /api/v1/labels HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET /nowhere HTTP/1.1\r\n\r\n", 404},
      {"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404},
      {"GET /api/v1/write HTTP/1.1\r\n\r\n", 405},
      {"BREW /api/v1/read HTTP/1.1\r\n\r\n", 405},
      {head + "Content-Length: -1\r\n\r\n", 400},
      {head + "Content-Length: 1x\r\n\r\n", 400},
      {head + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {head + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {head + "Content-Length: 4194305\r\n\r\n", 413},
      {head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400},
      {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: gzip\r\n\r\n", 400},
      {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {head + "Expect: 100-continue\r\nContent-Length: 4194305\r\n\r\n", 413},
      {head + "Expect: the worst\r\nContent-Length: 4\r\n\r\nabcd", 417},
      {chunked + "zz\r\n\r\n", 400},
      {chunked + "-1\r\n\r\n", 400},
      {chunked + "fffffffffffffffff\r\n", 400},
      {chunked + "3\r\nabcd\r\n0\r\n\r\n", 400},
      {chunked + "5\r\nabcd\r\n0\r\n\r\n", 400},
      {chunked + "400001\r\n" + std::string(0x400001, 'x') + "\r\n0\r\n\r\n", 413},
      {"GET /api/v1/labels HTTP/1.1\r\nLong: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n", 431},
      {std::string(20'000, 'x'), 431},
  };
  for (const auto& [bytes, status] : cases) EXPECT_EQ(StatusAlone(bytes), status) << bytes.substr(0, 300);

  // Cut off by the client, who still listens.
  for (const std::string& bytes : {std::string(kHalfHeader), kHalfBody, chunked + "5\r\nab", chunked + "2\r\nab\r\n"}) {
    EXPECT_EQ(StatusAlone(bytes, true), 400) << bytes;
  }
  // A header that goes on and on.
  RawClient endless(port());
  for (int i = 0; i < 100'000 && endless.Send("X-" + std::to_string(i) + ": y\r\n"); ++i) {
  }
  AwaitQuiet();

  // Shorter than what is sent: the rest is no request.
  RawClient shorter(port());
  EXPECT_EQ(shorter.Ask(head + "Content-Length: 1\r\n\r\nxyz\r\n\r\n").status, 400);
  EXPECT_EQ(shorter.Read().status, 400);
  EXPECT_EQ(shorter.ReadToEnd(), "");
  // Behind each other, good ones and bad ones, the last of which ends it.
  RawClient pipelined(port());
  std::string all;
  for (int i = 0; i < 200; ++i) all += Get("/-/healthy") + Get("/nowhere") + Post("/api/v1/write", "", TypeAndEncoding("a/b"));
  ASSERT_TRUE(pipelined.Send(all + "nonsense\r\n\r\n" + Get("/-/healthy")));
  for (int i = 0; i < 200; ++i) {
    for (const int status : {200, 404, 415}) ASSERT_EQ(pipelined.Read().status, status) << i;
  }
  EXPECT_EQ(pipelined.Read().status, 400);
  pipelined.CloseSending();
  EXPECT_EQ(pipelined.ReadToEnd(), "");
}

TEST_F(AbuseConnections, WrongTypesEncodingsAndMethodsOfEachProtocol) {
  Start();
  for (const char* type : {"text/plain", "application/json", "application/x-protobuf;proto=io.prometheus.write.v3.Request"}) {
    EXPECT_EQ(Ask(Post("/api/v1/write", "x", TypeAndEncoding(type, "snappy"))).status, 415) << type;
  }
  for (const char* encoding : {"gzip", "zstd", "identity"}) {
    EXPECT_EQ(Ask(Post("/api/v1/write", "x", TypeAndEncoding(kWriteType1, encoding))).status, 415) << encoding;
  }
  EXPECT_EQ(Ask(Post("/api/v1/write", "", TypeAndEncoding(kWriteType1, "snappy") + "X-Chronolith-Ack-Level: maybe\r\n")).status,
            400);
  for (const char* encoding : {"gzip", "zstd"}) {
    EXPECT_EQ(Ask(Post("/api/v1/read", "x", TypeAndEncoding(kWriteType1, encoding))).status, 415) << encoding;
  }
  for (const char* type : {"", "text/plain", "application/x-protobuffer", "application/grpc"})
    EXPECT_EQ(PostOtlp(type, "x"), 415) << type;
  for (const char* encoding : {"snappy", "deflate", "br"}) EXPECT_EQ(PostOtlp(kOtlpType, "x", encoding), 415) << encoding;
  EXPECT_EQ(Ask("PUT /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").status, 405);
  EXPECT_EQ(Ask(Post("/v1/traces", "", TypeAndEncoding(kOtlpType))).status, 404);
  EXPECT_EQ(Ask(Post("/api/v1/admin/tsdb/delete_series", "")).status, 403);
  EXPECT_EQ(CallGrpc("", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Import"), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(CallGrpc("", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"), grpc::StatusCode::UNIMPLEMENTED);
}

// Each byte that comes is progress, and still the request has its time.
TEST_F(AbuseConnections, SlowRequestsMeetTheirTimeout) {
  Start({"--header-timeout", "2s", "--body-timeout", "2s"});
  const std::string otlp =
      "POST /v1/metrics HTTP/1.1\r\nHost: x\r\n" + TypeAndEncoding(kJsonType) + "Content-Length: 1000000\r\n\r\n";
  const std::string read = "POST /api/v1/read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n";
  std::vector<std::thread> slow;
  std::atomic<int> told{0};
  const std::vector<std::pair<std::string, char>> kinds = {
      {"GET /", 'x'}, {kHalfHeader, 'x'}, {kHalfBody, 'x'}, {otlp, ' '}, {read, 'x'}};
  for (const auto& [begin, more] : kinds) {
    slow.emplace_back([&told, begin = begin, more = more, this] {
      RawClient client(port());
      client.Send(begin);
      while (!client.Readable(std::chrono::milliseconds(20))) client.Send(std::string(1, more));
      if (client.Read().status == 408) told.fetch_add(1);
    });
  }
  GoodWorks();  // others are not held up
  for (std::thread& client : slow) client.join();
  EXPECT_EQ(told.load(), 5);
  AwaitQuiet();
}

TEST_F(AbuseConnections, ClientsThatVanish) {
  Start();
  for (const std::string& sent : {std::string(), std::string(kHalfHeader), kHalfBody, Get("/api/v1/export?match%5B%5D=good"),
                                  Get("/-/healthy") + Get("/metrics") + Get("/metrics")}) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 100; ++i) {
      clients.push_back(std::make_unique<RawClient>(port()));
      ASSERT_TRUE(clients.back()->Send(sent));
      if (i % 2 == 0) clients.back()->ResetAtEnd();
    }
    clients.clear();
    AwaitQuiet();
  }
  GoodWorks();
}

TEST_F(AbuseConnections, FiveThousandIdleConnections) {
  constexpr std::size_t kIdle = 5000, kUsed = kIdle / 2;
  RaiseFileLimit(kIdle + 500);
  Start();
  const std::uint64_t before = StatusBytes(server_->pid(), "VmRSS");
  std::vector<std::unique_ptr<RawClient>> idle;
  while (idle.size() < kIdle) {
    idle.push_back(std::make_unique<RawClient>(port()));
    if (idle.size() <= kUsed) {
      ASSERT_EQ(idle.back()->Ask(Get("/-/healthy")).status, 200) << idle.size();
    }
  }
  Await("the server to take all", [&] { return Metric("chronolith_http_connections") == kIdle + 1; });
  const std::uint64_t with = StatusBytes(server_->pid(), "VmRSS");
  const std::uint64_t each = (with - std::min(before, with)) / kIdle;
  std::printf("%zu idle connections: %llu bytes of memory each\n", kIdle, static_cast<unsigned long long>(each));
  EXPECT_LT(each, 16U << 10);
  for (int i = 0; i < 20; ++i) GoodWorks();
  EXPECT_EQ(idle.front()->Ask(Get("/-/healthy")).status, 200);
  EXPECT_EQ(idle.back()->Ask(Get("/-/healthy")).status, 200);
  idle.clear();
  AwaitQuiet();

  // gRPC counts connections against its memory.
  for (int i = 0; i < 1000; ++i) idle.push_back(std::make_unique<RawClient>(static_cast<std::uint16_t>(grpc_port_)));
  for (std::size_t i = 0; i < idle.size(); i += 2) idle[i]->Send(i % 4 == 0 ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" : Get("/"));
  GoodWorks();
}

// As much of a header as there may be, and of bodies more than the memory for bodies.
TEST_F(AbuseConnections, ThousandsOfHalfRequests) {
  constexpr std::size_t kHalf = 5000;
  RaiseFileLimit(kHalf + 500);
  Start();
  const std::string header =
      "GET /api/v1/labels HTTP/1.1\r\nHost: x\r\n" + Repeated("Some-Name: some value of no use at all\r\n", 380);
  std::vector<std::unique_ptr<RawClient>> clients;
  double accepted = 0;
  for (const std::string& half : {header, kHalfBody + std::string(15'000, 'x')}) {
    while (clients.size() < kHalf) {
      clients.push_back(std::make_unique<RawClient>(port()));
      ASSERT_TRUE(clients.back()->Send(half));
    }
    accepted += kHalf;
    Await("the server to take all", [&] { return Metric("chronolith_http_connections_accepted_total") > accepted; });
    std::printf("%zu half requests: %llu MiB of memory\n", kHalf,
                static_cast<unsigned long long>(StatusBytes(server_->pid(), "VmRSS") >> 20));
    clients.clear();
    AwaitQuiet();
    GoodWorks();
  }
}

TEST_F(AbuseConnections, FloodsBeyondTheLimitOfConnections) {
  constexpr std::size_t kLimit = 50;
  Start({"--max-connections", std::to_string(kLimit)});
  std::vector<std::unique_ptr<RawClient>> taken;
  while (taken.size() + 1 < kLimit) {
    taken.push_back(std::make_unique<RawClient>(port()));
    ASSERT_EQ(taken.back()->Ask(Get("/-/healthy")).status, 200);
  }
  for (int i = 0; i < 1000; ++i) {
    RawClient beyond(port());
    RawAnswer answer = beyond.Read();
    ASSERT_EQ(answer.status, 503) << i << answer.error;
    EXPECT_EQ(answer.headers["retry-after"], "5");
    EXPECT_EQ(beyond.ReadToEnd(), "");
  }
  GoodWorks();  // by the connection that it had before
  EXPECT_EQ(Metric("chronolith_http_connections_refused_total"), 1000);
  taken.clear();
  AwaitQuiet();
}

// All workers at once have what is just within the limits of one request.
TEST_F(AbuseConnections, BombsInParallelStayWithinTheMemory) {
  Start();
  const std::string zeros(kDecodedMax, '\0');
  const std::string json = R"({"resourceMetrics":[)" + std::string(kBodyMax - 100, ' ') + "5]}";
  // As many symbols as there may be, and a series of an odd number of references to them.
  const std::string symbols = Repeated(std::string("\x22\x00", 2), 2 << 20) + std::string("\x2a\x03\x0a\x01\x00", 5);
  const std::vector<std::string> bombs = {
      Post("/api/v1/write", Snappy(symbols), TypeAndEncoding(kWriteType2, "snappy")),
      Post("/api/v1/write", Snappy(zeros), TypeAndEncoding(kWriteType1, "snappy")),
      Post("/api/v1/write", Snappy(zeros), TypeAndEncoding(kWriteType2, "snappy")),
      Post("/v1/metrics", Gzip(zeros), TypeAndEncoding(kOtlpType, "gzip")),
      Post("/v1/metrics", Gzip(std::string(kDecodedMax + 1, ' ')), TypeAndEncoding(kJsonType, "gzip")),
      Post("/v1/metrics", json, TypeAndEncoding(kJsonType)),
      Post("/api/v1/read", Snappy(zeros), TypeAndEncoding(kWriteType1, "snappy")),
      Post("/api/v1/write", std::string(kBodyMax, '\xff'), TypeAndEncoding(kWriteType1, "snappy")),
  };
  constexpr int kClients = 24, kRounds = 20;
  std::atomic<int> refused{0}, later{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c, this] {
      for (int i = 0; i < kRounds; ++i) {
        RawClient client(port());
        const int status = client.Ask(bombs[static_cast<std::size_t>(c + i) % bombs.size()]).status;
        if (status == 400 || status == 413) refused.fetch_add(1);
        if (status == 429) later.fetch_add(1);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(refused.load() + later.load(), kClients * kRounds);
  EXPECT_GT(refused.load(), 0);
  AwaitQuiet();
}

TEST_F(AbuseConnections, QueriesThatAskForTooMuch) {
  Start();
  std::string many = "{a=~\"[a-z]([a-f]|[0-9]){400}\"";
  for (int i = 0; i < 5000; ++i) many += ",a=~\"[a-z]([a-f]|[0-9]){400}\"";
  many += "}";
  const std::string form = "Content-Type: application/x-www-form-urlencoded\r\n";
  EXPECT_EQ(Ask(Post("/api/v1/series", "match[]=" + Escaped(many), form)).status, 400);
  EXPECT_EQ(Ask(Post("/api/v1/export", "match[]=" + Escaped(many), form)).status, 400);
  const std::string deep(100'000, '(');
  for (const std::string& regex :
       {std::string("((a{100}){100}){100}"), std::string("a{1001}"), std::string("(a"), deep, std::string("(?=a)")}) {
    EXPECT_EQ(Ask(Post("/api/v1/series", "match[]=" + Escaped("{a=~\"" + regex + "\"}"), form)).status, 400) << regex.substr(0, 50);
    EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(0, 1, {MatcherBytes(2, "a", regex)})}))), 400) << regex.substr(0, 50);
  }
  const std::string closed = deep + "a+" + std::string(deep.size(), ')');
  EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(0, 1, {MatcherBytes(2, "a", closed)})}))), 200);
  // Exponential for those that try all ways; not for RE2.
  EXPECT_EQ(Ask(Get(Selector("{road=~\"(a+)+(b+)+((c*)*)*$\"}"))).status, 200);
  for (const char* target : {"/api/v1/series", "/api/v1/export", "/api/v1/series?match%5B%5D=%7B", "/api/v1/labels?start=NaN",
                             "/api/v1/labels?start=1e300", "/api/v1/labels?end=-Inf", "/api/v1/labels?start=2&end=1",
                             "/api/v1/labels?limit=-1", "/api/v1/labels?limit=99999999999999999999", "/api/v1/labels?start=%zz"}) {
    EXPECT_EQ(Ask(Get(target)).status, 400) << target;
  }
  EXPECT_EQ(Ask(Get(Selector("good") + "&start=-9000000000000000&end=9000000000000000")).status, 200);
  EXPECT_EQ(Ask(Get(Selector("good") + "&limit=18446744073709551615")).status, 200);
  // Of all time, backwards, beyond what there is; in more queries than there may be.
  const std::string all = MatcherBytes(0, "__name__", "good");
  EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(kMinTimestamp, kMaxTimestamp, {all})}))), 200);
  EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(kMaxTimestamp, kMinTimestamp, {all})}, {1}))), 200);
  EXPECT_EQ(PostRead(Snappy(ReadRequest(std::vector<std::string>(256, QueryBytes(0, kMaxTimestamp, {all}))))), 200);
  EXPECT_EQ(PostRead(Snappy(ReadRequest(std::vector<std::string>(257, QueryBytes(0, 1, {all}))))), 400);
  const std::string regex = MatcherBytes(2, "road", "[a-z]([a-f]|[0-9]){400}");
  EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(0, 1, std::vector<std::string>(1025, all))}))), 400);
  EXPECT_EQ(PostRead(Snappy(ReadRequest({QueryBytes(0, 1, std::vector<std::string>(1024, regex))}))), 400);
}

}  // namespace
}  // namespace chronolith::testing

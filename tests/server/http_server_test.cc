// The server over loopback, with a client that misbehaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <fstream>
#include <future>
#include <latch>
#include <optional>
#include <thread>

#include "tests/server/http_server_fixture.h"
#include "tests/server/raw_client.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

using testing::Get;
using ::testing::HasSubstr;
using testing::Post;
using testing::RawAnswer;
using testing::RawClient;

TEST_F(HttpServerTest, KeepsAConnectionAndAnswersPipelinedRequestsInOrder) {
  Start();
  RawClient client(server_->port());
  RawAnswer answer = client.Ask(Get("/ok?q=1"));
  EXPECT_EQ(answer.status, 200) << answer.error;
  EXPECT_EQ(answer.body, "ok 1\n");
  EXPECT_EQ(answer.headers["content-length"], "5");
  EXPECT_FALSE(answer.headers["date"].empty());
  EXPECT_EQ(answer.headers.count("connection"), 0U);
  const std::string big(300'000, 'b');
  ASSERT_TRUE(client.Send(Get("/ok?q=2") + Post("/echo", big) + Get("/nothing") + Get("/ok?q=3")));
  EXPECT_EQ(client.Read().body, "ok 2\n");
  EXPECT_EQ(client.Read().body, big);
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_EQ(client.Read().body, "ok 3\n");
  EXPECT_EQ(metrics_.connections_accepted.Get(), 1U);
}

TEST_F(HttpServerTest, AnswersHeadWithoutABodyAndOldClientsByClosing) {
  Start();
  RawClient client(server_->port());
  ASSERT_TRUE(client.Send("HEAD /ok HTTP/1.1\r\nHost: x\r\n\r\n"));
  RawAnswer answer = client.Read(true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["content-length"], "4");
  EXPECT_EQ(client.Ask("GET /ok HTTP/1.0\r\n\r\n").headers["connection"], "close");
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(HttpServerTest, NamesTheMethodsOfAPath) {
  Start();
  RawClient client(server_->port());
  RawAnswer answer = client.Ask("DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers["allow"], "POST");
}

TEST_F(HttpServerTest, RefusesBadRequestsAndCloses) {
  options_.header_bytes_max = 2000;
  Add(
      "POST", "/small", [](const HttpRequest& r) { return HttpResponse{.body = r.body}; }, 10);
  Start();
  struct Case {
    std::string request;
    int status;
  };
  const Case cases[] = {
      {"nonsense\r\n\r\n", 400},
      {"GET /ok HTTP/3.7\r\n\r\n", 400},
      {"GET /ok%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nGET /ok HTTP/1.1\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: a\r\n\r\n", 400},
      {"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n", 400},  // no Host
      {"GET /ok HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 2\r\n\r\nhi", 403},
      {"GET /ok HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400},
      {"GET /ok HTTP/1.1\r\nHost: x\r\nLong: " + std::string(3000, 'x') + "\r\n\r\n", 431},
      {"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413},
      {"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413},
      {"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n", 413},
      {"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 404},
      {"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: the worst\r\nContent-Length: 2\r\n\r\nhi", 417},
  };
  for (const Case& c : cases) {
    RawClient client(server_->port());
    const RawAnswer answer = client.Ask(c.request);
    EXPECT_EQ(answer.status, c.status) << c.request << "\n" << answer.error;
    client.CloseSending();
    EXPECT_EQ(client.ReadToEnd(), "") << c.request;
  }
}

TEST_F(HttpServerTest, ReadsChunkedBodiesAndSaysContinue) {
  Start();
  RawClient client(server_->port());
  EXPECT_EQ(client
                .Ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: "
                     "t\r\n\r\n")
                .body,
            "abcde");
  EXPECT_EQ(client.Ask("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").status, 100);
  EXPECT_EQ(client.Ask("hi").body, "hi");
}

TEST_F(HttpServerTest, AnswersOverloadWith429AndRecovers) {
  std::latch entered(1);
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  Add("GET", "/wait", [&](const HttpRequest&) {
    entered.count_down();
    gone.wait();
    return HttpResponse::Text(200, "waited");
  });
  Start(/*workers=*/1, /*queue=*/1);
  RawClient busy(server_->port());
  ASSERT_TRUE(busy.Send(Get("/wait")));
  entered.wait();
  // One of these three finds a place in the queue.
  RawClient others[3] = {RawClient(server_->port()), RawClient(server_->port()), RawClient(server_->port())};
  for (RawClient& other : others) ASSERT_TRUE(other.Send(Get("/ok")));
  while (metrics_.overloaded.Get() < 2) std::this_thread::yield();
  go.set_value();
  EXPECT_EQ(busy.Read().body, "waited\n");
  int served = 0;
  for (RawClient& other : others) {
    RawAnswer answer = other.Read();
    served += answer.status == 200 ? 1 : 0;
    EXPECT_TRUE(answer.status == 200 || answer.status == 429) << answer.status;
    EXPECT_EQ(answer.headers["retry-after"], answer.status == 429 ? "1" : "");
  }
  EXPECT_EQ(served, 1);
  for (RawClient& other : others) EXPECT_EQ(other.Ask(Get("/ok")).status, 200);  // refused or not, the connection goes on
}

TEST_F(HttpServerTest, WhatTakesLongAnswersWithinTheTimeForTheEnd) {
  std::latch entered(2);
  const auto until_cancelled = [&](const HttpRequest& r) {
    entered.count_down();
    while (!r.cancelled->load()) std::this_thread::yield();
    return Cancelled("the server ends");
  };
  Add("GET", "/long", [&](const HttpRequest& r) { return HttpResponse::Text(503, until_cancelled(r).message()); });
  Add("GET", "/stream", [&](const HttpRequest& r) {
    HttpResponse response{.stream = [&, r](BodyWriter&) { return until_cancelled(r); }};
    response.failure = [](const Status& status) { return HttpResponse::Text(503, status.message()); };
    return response;
  });
  Start();
  RawClient a(server_->port()), b(server_->port());
  ASSERT_TRUE(a.Send(Get("/long")));
  ASSERT_TRUE(b.Send(Get("/stream")));
  entered.wait();
  server_->Stop(std::chrono::seconds(8));  // of which the last quarter is for their answers
  for (RawClient* client : {&a, &b}) {
    RawAnswer answer = client->Read();
    EXPECT_EQ(answer.status, 503) << answer.error;
    EXPECT_EQ(answer.body, "the server ends\n");
    EXPECT_EQ(answer.headers["connection"], "close");
  }
}

TEST_F(HttpServerTest, BoundsTheMemoryOfBodies) {
  Start(2, 2, /*memory=*/100'000);
  for (const bool chunked : {false, true}) {
    const auto post = [&](std::size_t bytes) {
      RawClient client(server_->port());
      const std::string body(bytes, 'x');
      if (!chunked) return client.Ask(Post("/echo", body));
      char size[20];
      std::snprintf(size, sizeof(size), "%zx\r\n", bytes);
      return client.Ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + (size + body) + "\r\n0\r\n\r\n");
    };
    RawAnswer answer = post(200'000);
    EXPECT_EQ(answer.status, 413) << "to try again is of no use";
    EXPECT_THAT(answer.body, HasSubstr("--max-in-flight-bytes"));
    in_flight_->ForceReserve(60'000);
    answer = post(50'000);
    EXPECT_EQ(answer.status, 429);
    EXPECT_EQ(answer.headers["retry-after"], "1");
    in_flight_->Release(60'000);
    EXPECT_EQ(post(50'000).status, 200);
  }
}

std::size_t AllocatedBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST_F(HttpServerTest, AnIdleConnectionKeepsNoMemoryOfItsBodies) {
  constexpr std::size_t kBody = 4 << 20;
  Add(
      "POST", "/size", [](const HttpRequest& r) { return HttpResponse::Text(200, std::to_string(r.body.size())); }, kBody);
  Add("GET", "/large", [](const HttpRequest&) { return HttpResponse{.body = std::string(kBody, 'x')}; });
  Start();
  const std::string request = Post("/size", std::string(kBody, 'x'));
  RawClient posted[3] = {RawClient(server_->port()), RawClient(server_->port()), RawClient(server_->port())};
  RawClient got[3] = {RawClient(server_->port()), RawClient(server_->port()), RawClient(server_->port())};
  RawClient last(server_->port());
  EXPECT_EQ(last.Ask(Get("/ok")).status, 200);
  const std::size_t before = AllocatedBytes();
  for (RawClient& client : posted) EXPECT_EQ(client.Ask(request).body, std::to_string(kBody) + "\n");
  for (RawClient& client : got) {
    ASSERT_TRUE(client.Send("HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_EQ(client.Read(true).headers["content-length"], std::to_string(kBody));
  }
  while (metrics_.requests_in_flight.Get() != 0) std::this_thread::yield();
  EXPECT_EQ(last.Ask(Get("/ok")).status, 200);  // by the thread that forgot the others, so it is done with that
  EXPECT_LT(AllocatedBytes(), before + kBody);
}

TEST_F(HttpServerTest, TellsSlowClientsAndClosesThem) {
  options_.header_timeout = std::chrono::milliseconds(30);
  options_.body_timeout = std::chrono::milliseconds(30);
  Start();
  RawClient header(server_->port()), body(server_->port());
  ASSERT_TRUE(header.Send("GET /ok HT"));
  ASSERT_TRUE(body.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"));
  for (RawClient* client : {&header, &body}) {
    const RawAnswer answer = client->Read();
    EXPECT_EQ(answer.status, 408) << answer.error;
    client->CloseSending();
    EXPECT_EQ(client->ReadToEnd(), "");
  }
}

TEST_F(HttpServerTest, TellsWhoStoppedSendingWithinARequest) {
  Start();
  for (const char* cut : {"GET /ok HT", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
                          "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    RawClient client(server_->port());
    ASSERT_TRUE(client.Send(cut));
    client.CloseSending();
    EXPECT_EQ(client.Read().status, 400) << cut;
    EXPECT_EQ(client.ReadToEnd(), "");
  }
}

TEST_F(HttpServerTest, ClosesIdleConnections) {
  options_.idle_timeout = std::chrono::milliseconds(30);
  Start();
  RawClient fresh(server_->port());
  std::optional<RawClient> used;
  do {
    used.emplace(server_->port());
  } while (used->Ask(Get("/ok")).status != 200);  // on a slow machine it was idle before it asked
  EXPECT_EQ(used->ReadToEnd(), "");
  EXPECT_EQ(fresh.ReadToEnd(), "");
}

TEST_F(HttpServerTest, RefusesConnectionsBeyondTheLimit) {
  options_.connections_max = 1;
  Start();
  RawClient first(server_->port());
  EXPECT_EQ(first.Ask(Get("/ok")).status, 200);
  RawClient second(server_->port());
  EXPECT_EQ(second.Read().status, 503);
  EXPECT_EQ(metrics_.connections_refused.Get(), 1U);
  EXPECT_EQ(first.Ask(Get("/ok")).status, 200);
}

TEST_F(HttpServerTest, AHandlerThatThrowsIsAnInternalError) {
  Add("GET", "/throws", [](const HttpRequest&) -> HttpResponse { throw std::bad_alloc(); });
  Add("GET", "/shaped/throws", [](const HttpRequest&) -> HttpResponse { throw std::bad_alloc(); });
  router_.ShapeRefusals("/shaped/", [](const HttpRequest&, HttpResponse* refusal) { refusal->body = "shaped"; });
  Start();
  RawClient client(server_->port());
  EXPECT_EQ(client.Ask(Get("/throws")).status, 500);
  const RawAnswer shaped = client.Ask(Get("/shaped/throws"));
  EXPECT_EQ(shaped.status, 500);
  EXPECT_EQ(shaped.body, "shaped");
  EXPECT_EQ(client.Ask(Get("/ok")).status, 200);
}

// A store without room: more writers wait than there are threads of any kind, and who reads is answered.
TEST_F(HttpServerTest, WritersThatWaitLeaveTheWorkersToWhoReads) {
  std::atomic<int> entered{0};
  std::promise<void> room;
  const std::shared_future<void> has_room = room.get_future().share();
  const auto wait = [&](const HttpRequest&) {
    ++entered;
    has_room.wait();
    return HttpResponse{.status = 204};
  };
  router_.Add({.method = "POST", .pattern = "/write", .handler = wait, .thread = RouteThread::kWriter});
  router_.Add({.method = "POST", .pattern = "/either", .handler = wait, .thread = RouteThread::kEither});
  constexpr std::size_t kWriters = 8;
  Start(/*workers=*/1, /*queue=*/kWriters);
  std::vector<std::unique_ptr<RawClient>> writers;
  for (std::size_t i = 0; i < kWriters; ++i) {
    writers.push_back(std::make_unique<RawClient>(server_->port()));
    ASSERT_TRUE(writers.back()->Send("POST " + std::string(i % 2 == 0 ? "/write" : "/either") +
                                     " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"));
  }
  while (entered == 0) std::this_thread::yield();
  RawClient reader(server_->port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reader.Ask(Get("/ok")).status, 200);
  room.set_value();
  for (const auto& writer : writers) EXPECT_EQ(writer->Read().status, 204);
  EXPECT_EQ(entered, static_cast<int>(kWriters));
}

TEST_F(HttpServerTest, WhatIsOpenToAllKnowsWhoAsksNevertheless) {
  const testing_support::TempDirectory dir;
  std::ofstream(dir / "web.yml") << "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n"
                                    "bearer_tokens: {agent: 0123456789abcdef}\n";
  auto security = WebSecuritySource::Open(dir / "web.yml", nullptr);
  ASSERT_TRUE(security.ok()) << security.status().ToString();
  security_ = std::move(*security);
  router_.Add({.method = "GET",
               .pattern = "/open",
               .handler = [](const HttpRequest& r) { return HttpResponse::Text(200, r.anonymous ? "anonymous" : r.user); },
               .open_to_all = true,
               .thread = RouteThread::kReserved});
  std::atomic<bool> entered{false};
  std::promise<void> go;
  Add("GET", "/wait", [&](const HttpRequest&) {
    entered = true;
    go.get_future().wait();
    return HttpResponse::Text(200, "done");
  });
  Start(/*workers=*/1, /*queue=*/0);
  const auto as = [](const char* path, const std::string& authorization) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + authorization + "\r\n\r\n";
  };
  const std::string alice = "Basic YWxpY2U6c2VjcmV0", wrong = "Basic YWxpY2U6d3Jvbmc=";
  RawClient client(server_->port()), busy(server_->port());
  const struct {
    std::string request, answer;
  } rows[] = {{Get("/open"), "anonymous\n"},
              {as("/open", wrong), "anonymous\n"},
              {as("/open", "Bearer 0123456789abcdeg"), "anonymous\n"},
              {as("/open", "Bearer 0123456789abcdef"), "agent\n"},
              {as("/open", alice), "alice\n"},
              {as("/open", alice), "alice\n"}};
  for (const auto& row : rows) {
    // The worker that looked at a password takes another only once it is back.
    RawAnswer answer;
    do {
      answer = client.Ask(row.request);
      ASSERT_EQ(answer.status, 200) << row.request << answer.error;
    } while (answer.body != row.answer && row.request.find(alice) != std::string::npos);
    EXPECT_EQ(answer.body, row.answer) << row.request;
  }
  EXPECT_EQ(client.Ask(Get("/ok")).status, 401);
  while (!entered) {
    const std::uint64_t refused = metrics_.overloaded.Get();
    ASSERT_TRUE(busy.Send(as("/wait", "Bearer 0123456789abcdef")));
    while (!entered && metrics_.overloaded.Get() == refused) std::this_thread::yield();
    if (!entered) {
      EXPECT_EQ(busy.Read().status, 429);
    }
  }
  EXPECT_EQ(client.Ask(as("/open", alice)).body, "alice\n");      // seen before
  EXPECT_EQ(client.Ask(as("/open", wrong)).body, "anonymous\n");  // nobody is there to look
  EXPECT_EQ(client.Ask(as("/ok", wrong)).status, 429);
  go.set_value();
  EXPECT_EQ(busy.Read().body, "done\n");
}

TEST_F(HttpServerTest, StoppingFinishesRequestsAndClosesIdleConnections) {
  std::latch entered(1);
  std::promise<void> go;
  Add("GET", "/wait", [&](const HttpRequest&) {
    entered.count_down();
    go.get_future().wait();
    return HttpResponse::Text(200, "done");
  });
  Start();
  RawClient busy(server_->port()), idle(server_->port());
  EXPECT_EQ(idle.Ask(Get("/ok")).status, 200);
  ASSERT_TRUE(busy.Send(Get("/wait")));
  entered.wait();
  std::thread stopping([&] { server_->Stop(std::chrono::minutes(2)); });
  EXPECT_EQ(idle.ReadToEnd(), "");  // so it is stopping
  go.set_value();
  RawAnswer answer = busy.Read();
  EXPECT_EQ(answer.body, "done\n");
  EXPECT_EQ(answer.headers["connection"], "close");
  stopping.join();
}

TEST_F(HttpServerTest, StoppingWithoutGraceDropsHalfRequests) {
  Start();
  RawClient half(server_->port()), sure(server_->port());
  ASSERT_TRUE(half.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"));
  EXPECT_EQ(sure.Ask(Get("/ok")).status, 200);
  server_->Stop(std::chrono::milliseconds(0));
  EXPECT_EQ(half.ReadToEnd(), "");
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  Start();
  HttpServerOptions taken;
  taken.port = server_->port();
  const HttpServerParts parts{.workers = workers_.get(), .in_flight = in_flight_.get(), .metrics = &metrics_};
  const auto second = HttpServer::Start(taken, {}, parts);
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(second.status().message(), HasSubstr("127.0.0.1:" + std::to_string(taken.port)));
  taken.address = "localhost.example";
  EXPECT_EQ(HttpServer::Start(taken, {}, parts).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(HttpServerTest, CountsRequestsByHandlerAndCode) {
  Start();
  RawClient client(server_->port());
  EXPECT_EQ(client.Ask(Get("/ok")).status, 200);
  EXPECT_EQ(client.Ask(Get("/nothing")).status, 404);
  EXPECT_EQ(client.Ask(Post("/echo", "12345")).status, 200);
  server_->Stop(std::chrono::minutes(1));
  std::vector<prometheus::MetricFamily> families;
  metrics_.AddTo(&families);
  std::string seen;
  for (const auto& family : families) {
    if (family.name != "chronolith_http_requests_total" && family.name != "chronolith_http_request_bytes_total") continue;
    for (const auto& metric : family.metric) {
      if (metric.counter.value == 0) continue;
      for (const auto& label : metric.label) seen += label.value + " ";
      seen += std::to_string(static_cast<int>(metric.counter.value)) + "\n";
    }
  }
  EXPECT_EQ(seen, "none 404 1\n/echo 200 1\n/ok 200 1\n/echo 5\n");
}

}  // namespace
}  // namespace chronolith::server

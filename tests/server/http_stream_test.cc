// Answers that are streamed, with clients that take them slowly or not at all; and what is answered meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <sstream>
#include <thread>

#include "tests/server/http_server_fixture.h"
#include "tests/server/raw_client.h"

namespace chronolith::server {
namespace {

using testing::Get;
using ::testing::HasSubstr;
using testing::RawAnswer;
using testing::RawClient;

class HttpStreamTest : public HttpServerTest {
 protected:
  // Streams until it cannot any more; its status goes to `ended`.
  void AddEndless(std::promise<Status>* ended = nullptr) {
    Add("GET", "/endless", [ended](const HttpRequest&) {
      return HttpResponse{.stream = [ended](BodyWriter& out) {
        Status status;
        while (status.ok()) status = out.Write(std::string(100'000, 'x'));
        if (ended != nullptr) ended->set_value(status);
        return status;
      }};
    });
  }
  // Streams as many bytes as it is asked for.
  void AddSized() {
    Add("GET", "/stream", [](const HttpRequest& r) {
      const std::size_t bytes = std::stoul(std::string(*r.Query("bytes")));
      return HttpResponse{.stream = [bytes](BodyWriter& out) { return out.Write(std::string(bytes, 'x')); }};
    });
  }
  // A client that has read the head of an endless answer, and no more.
  std::unique_ptr<RawClient> NewStuckClient() {
    auto client = std::make_unique<RawClient>(server_->port(), 4096);
    EXPECT_TRUE(client->Send(Get("/endless")));
    EXPECT_EQ(client->Read(/*head=*/true).status, 200);
    return client;
  }
};

TEST_F(HttpStreamTest, StreamsInChunksOrUntilTheEnd) {
  std::string whole;
  for (int i = 0; i < 40'000; ++i) whole += std::to_string(i) + ",";
  Add("GET", "/stream", [&](const HttpRequest&) {
    return HttpResponse{.stream = [&](BodyWriter& out) {
      Status status = out.Write("");  // is no end
      for (std::size_t at = 0; at < whole.size() && status.ok(); at += 777) {
        status = out.Write(std::string_view(whole).substr(at, 777));
      }
      return status;
    }};
  });
  Add("GET", "/empty", [](const HttpRequest&) { return HttpResponse{.stream = [](BodyWriter&) { return Status::Ok(); }}; });
  Start();
  RawClient client(server_->port());
  RawAnswer answer = client.Ask(Get("/stream"));
  EXPECT_EQ(answer.headers["transfer-encoding"], "chunked");
  EXPECT_EQ(answer.body, whole) << answer.error;
  EXPECT_EQ(client.Ask(Get("/empty")).status, 200);
  ASSERT_TRUE(client.Send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.Read(true).status, 200);
  EXPECT_EQ(client.Ask("GET /stream HTTP/1.0\r\n\r\n").body, whole);
}

TEST_F(HttpStreamTest, AStreamThatFailsIsNeverTakenForAWholeOne) {
  Add("GET", "/early", [](const HttpRequest&) { return HttpResponse{.stream = [](BodyWriter&) { return DataLoss("shard 3"); }}; });
  Add("GET", "/late", [](const HttpRequest&) {
    return HttpResponse{.stream = [](BodyWriter& out) {
      for (int i = 0; i < 4; ++i) {
        if (Status status = out.Write(std::string(100'000, 'x')); !status.ok()) return status;
      }
      return DataLoss("shard 3");
    }};
  });
  Start();
  RawClient early(server_->port());
  const RawAnswer answer = early.Ask(Get("/early"));
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.body, HasSubstr("shard 3"));
  RawClient late(server_->port());
  EXPECT_THAT(late.Ask(Get("/late")).error, HasSubstr("cut off"));
}

TEST_F(HttpStreamTest, WaitsForASlowClientAndGivesUpOneThatStopped) {
  options_.write_timeout = std::chrono::milliseconds(100);
  std::promise<Status> ended;
  AddEndless(&ended);
  Start();
  const auto client = NewStuckClient();
  EXPECT_EQ(ended.get_future().get().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(HttpStreamTest, ClientsThatDoNotReadHoldHalfTheWorkersAtMost) {
  AddEndless();
  AddSized();
  Start(/*workers=*/5, /*queue=*/5);
  auto first = NewStuckClient(), second = NewStuckClient();
  EXPECT_EQ(metrics_.streams.Get(), 2U);
  RawClient third(server_->port());
  RawAnswer refused = third.Ask(Get("/stream?bytes=70000"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["retry-after"], "5");
  EXPECT_EQ(metrics_.streams_refused.Get(), 1U);
  EXPECT_EQ(third.Ask(Get("/ok")).status, 200);                           // the others are free
  EXPECT_EQ(third.Ask(Get("/stream?bytes=60000")).body.size(), 60'000U);  // the sending of that needs none
  ASSERT_TRUE(third.Send("HEAD /stream?bytes=70000 HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(third.Read(true).status, 200);  // sends no stream
  first.reset();
  while (refused.status == 503) refused = third.Ask(Get("/stream?bytes=70000"));
  EXPECT_EQ(refused.body.size(), 70'000U) << refused.error;
}

TEST_F(HttpStreamTest, OneAfterTheOtherNeedsOneWorker) {
  AddSized();
  Start(/*workers=*/2, /*queue=*/2);
  RawClient client(server_->port());
  for (int i = 0; i < 300; ++i) ASSERT_EQ(client.Ask(Get("/stream?bytes=150000")).body.size(), 150'000U) << i;
}

TEST_F(HttpStreamTest, WhatNeedsNoWorkerIsAnsweredWhileAllAreTaken) {
  std::latch entered(1);
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  Add("GET", "/wait", [&](const HttpRequest&) {
    entered.count_down();
    gone.wait();
    return HttpResponse::Text(200, "waited");
  });
  const auto answer = [](const HttpRequest&) { return HttpResponse::Text(200, "still here"); };
  router_.Add({.method = "GET", .pattern = "/reserved", .handler = answer, .thread = RouteThread::kReserved});
  router_.Add({.method = "GET", .pattern = "/connection", .handler = answer, .thread = RouteThread::kConnection});
  Start(/*workers=*/1, /*queue=*/1);
  RawClient busy(server_->port()), other(server_->port());
  ASSERT_TRUE(busy.Send(Get("/wait")));
  entered.wait();
  // One of these two takes the place in the queue.
  RawClient waiting[2] = {RawClient(server_->port()), RawClient(server_->port())};
  for (RawClient& client : waiting) ASSERT_TRUE(client.Send(Get("/ok")));
  while (metrics_.overloaded.Get() < 1) std::this_thread::yield();
  EXPECT_EQ(other.Ask(Get("/reserved")).body, "still here\n");
  EXPECT_EQ(other.Ask(Get("/connection")).body, "still here\n");
  go.set_value();
  EXPECT_EQ(busy.Read().body, "waited\n");
}

TEST_F(HttpStreamTest, AHandlerThatWaitsOnTheConnectionsThreadKeepsNobodyElseWaiting) {
  options_.inline_within = std::chrono::hours(24);
  std::promise<void> entered, go;
  const auto here = [](const HttpRequest& r) {
    std::ostringstream id;
    id << std::this_thread::get_id();
    return HttpResponse{.body = id.str() + r.body};
  };
  router_.Add({.method = "GET", .pattern = "/connection", .handler = here, .thread = RouteThread::kConnection});
  router_.Add({.method = "POST", .pattern = "/either", .handler = here, .thread = RouteThread::kEither});
  router_.Add({.method = "GET",
               .pattern = "/wait",
               .handler =
                   [&](const HttpRequest& r) {
                     entered.set_value();
                     go.get_future().wait();
                     return here(r);
                   },
               .thread = RouteThread::kEither});
  Start();
  RawClient busy(server_->port()), other(server_->port());
  const std::string connections = other.Ask(Get("/connection")).body;
  const std::string post = "POST /either HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n+++";
  EXPECT_NE(other.Ask(post).body, connections + "+++");  // the first comes after nothing
  EXPECT_EQ(other.Ask(post).body, connections + "+++");
  EXPECT_NE(other.Ask("POST /either HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + std::string(70'000, '+'))
                .body.substr(0, connections.size() + 1),
            connections + "+")
      << "long";
  ASSERT_TRUE(busy.Send(Get("/wait")));
  entered.get_future().wait();
  const std::string standby = other.Ask(Get("/connection")).body;
  EXPECT_NE(standby, connections);
  EXPECT_NE(other.Ask(post).body, standby + "+++") << "of a worker";
  go.set_value();
  EXPECT_EQ(busy.Read().body, connections);
}

}  // namespace
}  // namespace chronolith::server

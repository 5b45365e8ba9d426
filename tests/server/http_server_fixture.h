// An HttpServer over loopback, for tests.
#ifndef CHRONOLITH_TESTS_SERVER_HTTP_SERVER_FIXTURE_H_
#define CHRONOLITH_TESTS_SERVER_HTTP_SERVER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "server/http_server.h"

namespace chronolith::server {

class HttpServerTest : public ::testing::Test {
 protected:
  void Add(std::string method, std::string pattern, HttpHandler handler, std::uint64_t body_bytes_max = 1 << 20) {
    router_.Add({.method = std::move(method),
                 .pattern = std::move(pattern),
                 .handler = std::move(handler),
                 .body_bytes_max = body_bytes_max});
  }
  void Start(std::size_t workers = 2, std::size_t queue = 2, std::uint64_t memory = 64 << 20) {
    workers_ = std::make_unique<WorkerPool>(workers, queue);
    writers_ = std::make_unique<WorkerPool>(1, queue);
    reserved_ = std::make_unique<WorkerPool>(1, 1);
    in_flight_ = std::make_unique<MemoryBudget>(memory);
    Add("GET", "/ok",
        [](const HttpRequest& r) { return HttpResponse::Text(200, std::string("ok ") + std::string(r.Query("q").value_or(""))); });
    Add("POST", "/echo", [](const HttpRequest& r) { return HttpResponse{.body = r.body}; });
    auto server = HttpServer::Start(options_, std::move(router_),
                                    {.workers = workers_.get(),
                                     .writers = writers_.get(),
                                     .reserved = reserved_.get(),
                                     .in_flight = in_flight_.get(),
                                     .metrics = &metrics_,
                                     .security = security_.get()});
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
  }
  void TearDown() override {
    server_.reset();
    if (workers_ != nullptr) workers_->Stop();
    if (writers_ != nullptr) writers_->Stop();
    EXPECT_EQ(metrics_.connections.Get(), 0U);
    EXPECT_EQ(metrics_.requests_in_flight.Get(), 0U);
    EXPECT_EQ(metrics_.body_bytes_in_flight.Get(), 0U);
    EXPECT_EQ(metrics_.streams.Get(), 0U);
    if (in_flight_ != nullptr) {
      EXPECT_EQ(in_flight_->used_bytes(), 0U);
    }
  }

  HttpServerOptions options_;
  Router router_;
  HttpMetrics metrics_;
  std::unique_ptr<WebSecuritySource> security_;
  std::unique_ptr<WorkerPool> workers_, writers_, reserved_;
  std::unique_ptr<MemoryBudget> in_flight_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_TESTS_SERVER_HTTP_SERVER_FIXTURE_H_

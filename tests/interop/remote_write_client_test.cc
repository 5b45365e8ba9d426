// The rules of sending and sending again, against a server within the test and a clock that nobody waits for.
#include "interop/remote_write_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>

#include "tests/interop/remote_write_decoder.h"
#include "tests/support/http_server.h"
#include "tests/support/peer_process.h"

namespace chronolith::interop {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using testing::HttpReply;
using testing::HttpRequest;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;

// A server that answers `replies` one after the other, the last again and again, and a client whose pauses only turn a clock.
class RemoteWriteClientTest : public ::testing::Test {
 protected:
  RemoteWriteClientTest() : server_([this](const HttpRequest& request) { return Answer(request); }) {
    setenv("no_proxy", "*", 1);
    options_.url = server_.url() + "/api/v1/write";
  }

  Status Send(std::string_view message = "message") {
    auto client = RemoteWriteClient::Create(options_, Hooks(), &cancel_);
    if (!client.ok()) return client.status();
    return (*client)->Send(message, &answer_);
  }

  RemoteWriteHooks Hooks() {
    return {.now_ms = [this] { return now_; },
            .sleep =
                [this](std::int64_t ms, const std::atomic<bool>*) {
                  now_ += ms;
                  pauses_.push_back(ms);
                  if (cancel_in_pause_) cancel_ = true;
                },
            .random = [this] { return random_; },
            .on_retry = [this](const std::string& why, std::int64_t) { reasons_.push_back(why); }};
  }

  HttpReply Answer(const HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    return replies_[std::min(requests_.size(), replies_.size()) - 1];
  }
  std::vector<HttpRequest> Requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  RemoteWriteOptions options_;
  std::vector<HttpReply> replies_ = {{}};
  RemoteWriteAnswer answer_;
  std::atomic<bool> cancel_ = false;
  bool cancel_in_pause_ = false;
  double random_ = 0;
  std::int64_t now_ = 1'000'000;
  std::vector<std::int64_t> pauses_;
  std::vector<std::string> reasons_;

 private:
  std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  testing::HttpServer server_;  // last: its thread ends first
};

TEST_F(RemoteWriteClientTest, SendsWhatTheSpecificationOf1Wants) {
  options_.user_agent = "chronolith/1.2.3";
  options_.headers = {"X-Scope-OrgID: team-1"};
  const std::string message(3 << 20, 'm');
  ASSERT_TRUE(Send(message).ok());
  ASSERT_THAT(Requests(), SizeIs(1));
  HttpRequest r = Requests()[0];
  EXPECT_EQ(r.method, "POST");
  EXPECT_EQ(r.target, "/api/v1/write");
  EXPECT_EQ(r.headers["content-type"], "application/x-protobuf");
  EXPECT_EQ(r.headers["content-encoding"], "snappy");
  EXPECT_EQ(r.headers["x-prometheus-remote-write-version"], "0.1.0");
  EXPECT_EQ(r.headers["user-agent"], "chronolith/1.2.3");
  EXPECT_EQ(r.headers["x-scope-orgid"], "team-1");
  EXPECT_EQ(r.headers.count("authorization") + r.headers.count("expect"), 0U);
  EXPECT_EQ(testing::Unsnappy(r.body), message);
  EXPECT_EQ(answer_.http_status, 204);
  EXPECT_EQ(answer_.attempts, 1);
  EXPECT_EQ(answer_.bytes, r.body.size());
}

TEST_F(RemoteWriteClientTest, SendsTheHeadersOf2AndReadsWhatWasWritten) {
  options_.version = RemoteWriteVersion::k2;
  replies_ = {{.headers = {"X-Prometheus-Remote-Write-Samples-Written: 12", "x-prometheus-remote-write-histograms-written:3",
                           "X-Prometheus-Remote-Write-Exemplars-Written:  4 "}}};
  ASSERT_TRUE(Send().ok());
  HttpRequest r = Requests()[0];
  EXPECT_EQ(r.headers["content-type"], "application/x-protobuf;proto=io.prometheus.write.v2.Request");
  EXPECT_EQ(r.headers["x-prometheus-remote-write-version"], "2.0.0");
  ASSERT_TRUE(answer_.written.has_value());
  EXPECT_EQ(*answer_.written, (RemoteWriteCounts{12, 3, 4}));
}

TEST_F(RemoteWriteClientTest, AReceiverOf2ThatDoesNotSayWhatItWroteHasWrittenNothing) {
  options_.version = RemoteWriteVersion::k2;
  const Status s = Send();
  EXPECT_EQ(s.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(s.message(), HasSubstr("does not know remote write 2.0"));
}

TEST_F(RemoteWriteClientTest, AuthenticatesWithPasswordOrToken) {
  options_.bearer_token = "t0k";
  ASSERT_TRUE(Send().ok());
  options_.user = "user";
  options_.password = "pass";
  ASSERT_TRUE(Send().ok());
  EXPECT_EQ(Requests()[0].headers["authorization"], "Bearer t0k");
  EXPECT_EQ(Requests()[1].headers["authorization"], "Basic dXNlcjpwYXNz");
}

TEST_F(RemoteWriteClientTest, ServerErrorsAreTriedAgainWithPausesThatDouble) {
  replies_ = {{.status = 503, .body = "not ready\n"}, {.status = 500}, {.status = 502}, {.status = 204}};
  ASSERT_TRUE(Send("the same").ok());
  EXPECT_EQ(answer_.attempts, 4);
  EXPECT_TRUE(answer_.maybe_written_before);
  EXPECT_THAT(pauses_, ElementsAre(30, 60, 120));
  EXPECT_THAT(reasons_[0], HasSubstr("answers 503: not ready"));
  for (const HttpRequest& r : Requests()) EXPECT_EQ(testing::Unsnappy(r.body), "the same");
}

TEST_F(RemoteWriteClientTest, PausesAreBoundedAndARandomHalfIsLeftOut) {
  replies_ = {20, {.status = 503}};
  replies_.push_back({});
  random_ = 0.999;
  ASSERT_TRUE(Send().ok());
  ASSERT_THAT(pauses_, SizeIs(20));
  EXPECT_EQ(pauses_.front(), 30 - 14);
  EXPECT_THAT(pauses_, Each(AllOf(Ge(15), Le(5000))));
  EXPECT_EQ(pauses_.back(), 5000 - 2497);
}

TEST_F(RemoteWriteClientTest, RetryAfterIsWaitedFor) {
  replies_ = {{.status = 429, .headers = {"Retry-After: 7"}}, {.status = 503, .headers = {"Retry-After: 2"}}, {.status = 429}, {}};
  ASSERT_TRUE(Send().ok());
  EXPECT_THAT(pauses_, ElementsAre(7000, 2000, 120));
}

TEST_F(RemoteWriteClientTest, ARefusalBecauseOfTheRateWroteNothing) {
  replies_ = {{.status = 429}, {}};
  ASSERT_TRUE(Send().ok());
  EXPECT_FALSE(answer_.maybe_written_before);
}

TEST_F(RemoteWriteClientTest, ABrokenConnectionIsTriedAgain) {
  replies_ = {{.kind = HttpReply::Kind::kReset}, {.kind = HttpReply::Kind::kReset}, {}};
  ASSERT_TRUE(Send().ok());
  EXPECT_THAT(Requests(), SizeIs(Ge(3U)));
  EXPECT_TRUE(answer_.maybe_written_before);
}

TEST_F(RemoteWriteClientTest, ASilentReceiverIsLeftAndTriedAgain) {
  options_.request_timeout_ms = 150;
  replies_ = {{.kind = HttpReply::Kind::kSilence}, {}};
  ASSERT_TRUE(Send().ok());
  EXPECT_THAT(reasons_, Not(IsEmpty()));
  EXPECT_THAT(reasons_[0], HasSubstr("timed out"));
}

TEST_F(RemoteWriteClientTest, ANobodyIsTriedUntilTheTimeIsUp) {
  options_.url = "http://127.0.0.1:" + std::to_string(testing::FreePort()) + "/";
  const Status s = Send();
  EXPECT_EQ(s.code(), StatusCode::kUnavailable);
  EXPECT_THAT(s.message(), HasSubstr("given up after"));
  EXPECT_GT(answer_.attempts, 100);
  EXPECT_LE(now_, 1'000'000 + 600'000);
  EXPECT_GT(now_, 1'000'000 + 590'000);
}

TEST_F(RemoteWriteClientTest, APauseBeyondTheTimeIsNotBegun) {
  replies_ = {{.status = 429, .headers = {"Retry-After: 3600"}}};
  const Status s = Send();
  EXPECT_EQ(s.code(), StatusCode::kUnavailable);
  EXPECT_THAT(s.message(), HasSubstr("3600000 ms"));
  EXPECT_EQ(answer_.attempts, 1);
  EXPECT_THAT(pauses_, IsEmpty());
}

TEST_F(RemoteWriteClientTest, OtherRefusalsAreNeverTriedAgain) {
  const struct {
    int http_status;
    StatusCode code;
  } rows[] = {
      {400, StatusCode::kInvalidArgument},    {413, StatusCode::kInvalidArgument},    {401, StatusCode::kPermissionDenied},
      {403, StatusCode::kPermissionDenied},   {404, StatusCode::kNotFound},           {405, StatusCode::kFailedPrecondition},
      {415, StatusCode::kFailedPrecondition}, {302, StatusCode::kFailedPrecondition}, {409, StatusCode::kFailedPrecondition}};
  for (const auto& row : rows) {
    const std::size_t before = Requests().size();
    replies_ = {{.status = row.http_status, .body = "because\nof this"}};
    const Status s = Send();
    EXPECT_EQ(s.code(), row.code) << row.http_status;
    EXPECT_THAT(s.message(), HasSubstr("answers " + std::to_string(row.http_status) + ": because of this"));
    EXPECT_EQ(answer_.content_refused(), row.code == StatusCode::kInvalidArgument);
    EXPECT_EQ(Requests().size(), before + 1);
  }
  EXPECT_THAT(pauses_, IsEmpty());
}

TEST_F(RemoteWriteClientTest, CancelEndsAPause) {
  replies_ = {{.status = 503}};
  cancel_in_pause_ = true;
  EXPECT_EQ(Send().code(), StatusCode::kCancelled);
  EXPECT_EQ(answer_.attempts, 1);
}

TEST_F(RemoteWriteClientTest, CancelEndsARequestUnderWay) {
  replies_ = {{.kind = HttpReply::Kind::kSilence}};
  std::thread canceller([this] {
    while (Requests().empty()) std::this_thread::yield();
    cancel_ = true;
  });
  EXPECT_EQ(Send().code(), StatusCode::kCancelled);
  canceller.join();
}

TEST_F(RemoteWriteClientTest, OneConnectionServesManyRequests) {
  auto client = RemoteWriteClient::Create(options_, Hooks(), &cancel_);
  ASSERT_TRUE(client.ok());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE((*client)->Send(std::to_string(i), &answer_).ok());
  const auto requests = Requests();
  ASSERT_THAT(requests, SizeIs(50));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(testing::Unsnappy(requests[static_cast<std::size_t>(i)].body), std::to_string(i));
}

TEST_F(RemoteWriteClientTest, MessagesDoNotShowThePassword) {
  options_.url.insert(options_.url.find("://") + 3, "user:p%40ss@");
  replies_ = {{.status = 404}};
  const Status s = Send();
  EXPECT_THAT(s.message(), AllOf(HasSubstr("http://127.0.0.1"), Not(HasSubstr("ss@"))));
  ASSERT_THAT(Requests(), SizeIs(1)) << s.message();
  EXPECT_EQ(Requests()[0].headers["authorization"], "Basic dXNlcjpwQHNz");
}

TEST_F(RemoteWriteClientTest, OptionsThatCannotWorkAreRefused) {
  for (const char* const url : {"", "localhost:9090", "ftp://x/", "file:///etc/passwd"}) {
    options_.url = url;
    EXPECT_EQ(Send().code(), StatusCode::kInvalidArgument) << url;
  }
  options_.url = "http://127.0.0.1/";
  options_.headers = {"no header"};
  EXPECT_EQ(Send().code(), StatusCode::kInvalidArgument);
  options_.headers = {"X: y\r\nZ: z"};
  EXPECT_EQ(Send().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Requests(), IsEmpty());
}

}  // namespace
}  // namespace chronolith::interop

// chronolithd with clients that do not behave, as a user meets them: raw sockets on one side, the built program on the other.
#include <fcntl.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <memory>

#include "interop/otlp/metrics_service.grpc.pb.h"
#include "tests/server/raw_client.h"
#include "tests/server/server_process.h"
#include "tests/support/otlp_requests.h"
#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse;
using ::opentelemetry::proto::collector::metrics::v1::MetricsService;

constexpr std::int64_t kTime = 1'760'000'000'000;

class ChronolithdLifeTest : public CliTest {
 protected:
  std::vector<std::string> Args(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"--db", db_, "--listen", "127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  // More than the sockets' buffers of a connection take, once it is exported.
  void Fill() {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      for (int s = 0; s < 2000; ++s) {
        text += "load{host=\"" + std::to_string(s) + "\"} 0." + std::to_string(i * 7919 + s) + "1234567 " +
                std::to_string(1'700'000'000'000 + i * 15'000) + "\n";
      }
    }
    const ProcessResult import = Cli({"import", "--db", db_, "--input-format", "prometheus", "--shards", "4", "-"}, text);
    ASSERT_EQ(import.exit_code, kOk) << import.err;
  }
  // Of a server that is ready: has read the head of what Fill has stored, and no more.
  std::unique_ptr<RawClient> StuckClient(std::uint16_t port) {
    auto client = std::make_unique<RawClient>(port, 4096);
    EXPECT_TRUE(client->Send(kExport));
    EXPECT_EQ(client->Read(/*head=*/true).status, 200);
    return client;
  }
  const std::string kExport = Get("/api/v1/export?match[]=load");
};

TEST_F(ChronolithdLifeTest, ClientsThatDoNotReadTheirExportsStopNobody) {
  Fill();
  ServerProcess server(Args({"--workers", "4"}));
  ASSERT_GT(server.port(), 0) << server.err();
  ASSERT_TRUE(server.WaitUntilReady()) << server.err();
  const auto port = static_cast<std::uint16_t>(server.port());
  std::vector<std::unique_ptr<RawClient>> stuck;
  for (int i = 0; i < 2; ++i) stuck.push_back(StuckClient(port));
  RawClient other(port);
  RawAnswer refused = other.Ask(kExport);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers["retry-after"], "5");
  EXPECT_EQ(other.Ask(Get("/-/healthy")).status, 200);
  EXPECT_EQ(other.Ask(Get("/-/ready")).status, 200);
  EXPECT_EQ(other.Ask(Get("/api/v1/labels")).status, 200);
  const RawAnswer metrics = other.Ask(Get("/metrics"));
  for (const char* line : {"chronolith_http_streams 2\n", "chronolith_http_streams_refused_total 1\n",
                           "chronolith_http_requests_total{handler=\"/api/v1/export\",code=\"503\"} 1\n"}) {
    EXPECT_TRUE(metrics.body.find(line) != std::string::npos) << line;
  }
  stuck.pop_back();
  while (refused.status == 503) refused = other.Ask(kExport);
  EXPECT_EQ(refused.status, 200) << refused.error;
  EXPECT_EQ(Lines(refused.body).size(), 2000U);
  stuck.pop_back();
  const ProcessResult result = server.Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
}

class ChronolithdEndTest : public ChronolithdLifeTest {
 protected:
  void Start(std::vector<std::string> more) {
    server_ = std::make_unique<ServerProcess>(Args(std::move(more)));
    const int port = server_->PortBehind("OTLP over gRPC on 127.0.0.1:");
    ASSERT_GT(port, 0) << server_->err();
    ASSERT_TRUE(server_->WaitUntilReady()) << server_->err();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  }
  // Whether a reader sees the sample of Export.
  bool Holds(std::int64_t time_ms) {
    return HttpCall(server_->port(), "GET", "/api/v1/export?match[]=g").body.find(std::to_string(time_ms)) != std::string::npos;
  }
  grpc::Status Export(std::int64_t time_ms, const std::string& level) {
    ExportMetricsServiceRequest request;
    AddGauge(&request, "g", static_cast<std::uint64_t>(time_ms) * 1'000'000, 1);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    context.AddMetadata("x-chronolith-ack-level", level);
    ExportMetricsServiceResponse response;
    return MetricsService::NewStub(channel_)->Export(&context, request, &response);
  }

  std::unique_ptr<ServerProcess> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ChronolithdEndTest, ACallWhoseCommitCannotProceedHoldsNoRequestsUp) {
  const std::string pipe = Path("pipe");
  setenv("LD_PRELOAD", STUCK_DISK, 1);
  setenv("CHRONOLITH_TEST_STUCK_DISK", pipe.c_str(), 1);
  Start({"--shutdown-timeout", "1s"});
  unsetenv("LD_PRELOAD");
  ASSERT_TRUE(Export(kTime, "synced").ok());
  ASSERT_TRUE(Holds(kTime));  // a reader waits until all shards have been opened, which syncs the log as well
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  auto call = std::async(std::launch::async, [&] { return Export(kTime + 1000, "synced"); });
  const bool stuck = server_->WaitForLog("the disk is stuck");
  bool held = Holds(kTime + 1000);  // then it is the call that waits for the disk
  while (!held && call.wait_for(std::chrono::seconds(0)) != std::future_status::ready) held = Holds(kTime + 1000);
  server_->Signal(SIGTERM);
  const bool ended = server_->WaitForLog("requests have ended");  // with the disk as it is
  const grpc::Status status = call.get();
  const int disk = open(pipe.c_str(), O_RDWR | O_CLOEXEC);  // open until the end, for those who are about to wait
  unlink(pipe.c_str());
  EXPECT_TRUE(stuck && held && ended) << server_->err();
  EXPECT_FALSE(status.ok());
  const ProcessResult result = server_->Wait();
  close(disk);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(Query("g", {"--start", std::to_string(kTime)}).size(), 2U);  // nothing was promised, and nothing is lost
}

TEST_F(ChronolithdEndTest, AStreamThatIsLeftOpenEndsWithTheServer) {
  Start({"--shutdown-timeout", "1s"});
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto open = stub.PrepareCall(&context, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", &queue);
  void* tag = nullptr;
  bool ok = false;
  open->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  ASSERT_TRUE(Export(kTime, "logged").ok());  // over the same connection, so the stream is there
  const ProcessResult result = server_->Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
  grpc::Status status;
  open->Finish(&status, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
}

TEST_F(ChronolithdEndTest, AClientThatDoesNotReadEndsWithTheServer) {
  Fill();
  ServerProcess server(Args({"--shutdown-timeout", "1s"}));
  ASSERT_GT(server.port(), 0) << server.err();
  ASSERT_TRUE(server.WaitUntilReady()) << server.err();
  const auto port = static_cast<std::uint16_t>(server.port());
  const auto stuck = StuckClient(port);
  const ProcessResult result = server.Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
}

}  // namespace
}  // namespace chronolith::testing

// chronolithd and OTLP as a user has them: the program, generated stubs for gRPC, and plain HTTP.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "interop/otlp/metrics_service.grpc.pb.h"
#include "tests/server/server_process.h"
#include "tests/server/tls_files.h"
#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"

namespace chronolith::testing {
namespace {

namespace pb = ::opentelemetry::proto::metrics::v1;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse;
using ::opentelemetry::proto::collector::metrics::v1::MetricsService;
using ::testing::HasSubstr;

constexpr std::int64_t kStartMs = 1'760'000'000'000;

class ChronolithdOtlpTest : public CliTest {
 protected:
  void Start(std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"--db", db_, "--listen", "127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    server_ = std::make_unique<ServerProcess>(args);
    grpc_port_ = server_->PortBehind("OTLP over gRPC on 127.0.0.1:");
    ASSERT_GT(grpc_port_, 0) << server_->err();
    Connect(grpc::InsecureChannelCredentials());
  }
  void Connect(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    stub_ = MetricsService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(grpc_port_), credentials));
  }
  // One point of the counter, `i` seconds on.
  static ExportMetricsServiceRequest Point(int i) {
    ExportMetricsServiceRequest request;
    pb::Metric* metric = request.add_resource_metrics()->add_scope_metrics()->add_metrics();
    metric->set_name("steps");
    metric->mutable_sum()->set_is_monotonic(true);
    metric->mutable_sum()->set_aggregation_temporality(pb::AGGREGATION_TEMPORALITY_CUMULATIVE);
    pb::NumberDataPoint* point = metric->mutable_sum()->add_data_points();
    point->set_time_unix_nano(static_cast<std::uint64_t>(kStartMs + i * 1000LL) * 1'000'000);
    point->set_as_int(i);
    return request;
  }
  grpc::Status Export(const ExportMetricsServiceRequest& request, bool wait_for_ready = true,
                      const std::string& authorization = {}) {
    grpc::ClientContext context;
    context.set_wait_for_ready(wait_for_ready);
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    ExportMetricsServiceResponse response;
    return stub_->Export(&context, request, &response);
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<MetricsService::Stub> stub_;
  int grpc_port_ = 0;
};

TEST_F(ChronolithdOtlpTest, WhatWasAcknowledgedSurvivesKill9) {
  constexpr int kPoints = 300;
  Start();
  ASSERT_TRUE(server_->WaitUntilReady()) << server_->err();
  for (int i = 0; i < kPoints; ++i) {
    const grpc::Status status = Export(Point(i));
    ASSERT_TRUE(status.ok()) << i << ": " << status.error_message();
  }
  EXPECT_EQ(server_->Stop(SIGKILL).signal, SIGKILL);
  const std::vector<std::string> rows = Query("steps_total", {"--start", std::to_string(kStartMs), "--limit", "0"});
  EXPECT_EQ(rows.size(), static_cast<std::size_t>(kPoints));
}

TEST_F(ChronolithdOtlpTest, AllRoadsLeadToTheStoreAndAreCounted) {
  Start({"--ack-level", "synced", "--max-body-bytes", "1KiB"});
  ASSERT_TRUE(server_->WaitUntilReady()) << server_->err();
  const int http_port = server_->PortBehind("OTLP over HTTP on http://127.0.0.1:");
  ASSERT_TRUE(Export(Point(0)).ok());
  const std::string json = R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[
      {"timeUnixNano":"1760000000000000000","asDouble":0.5},{"asDouble":1}]}}]}]}]})";
  for (const int port : {http_port, server_->port()}) {
    const HttpAnswer answer = HttpCall(port, "POST", "/v1/metrics", json, {"Content-Type: application/json"});
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(nlohmann::json::parse(answer.body)["partialSuccess"]["rejectedDataPoints"], "1");
  }
  EXPECT_EQ(HttpCall(http_port, "GET", "/v1/metrics").status, 405);
  const HttpAnswer traces = HttpCall(http_port, "POST", "/v1/traces", "{}", {"Content-Type: application/json"});
  EXPECT_EQ(traces.status, 404);
  EXPECT_EQ(nlohmann::json::parse(traces.body)["code"], 12);
  EXPECT_EQ(HttpCall(http_port, "POST", "/v1/metrics", "x", {"Content-Type: application/x-protobuf"}).status, 400);
  const HttpAnswer large =
      HttpCall(server_->port(), "POST", "/v1/metrics", std::string(1025, ' '), {"Content-Type: application/json"});
  EXPECT_EQ(large.status, 413);
  EXPECT_EQ(nlohmann::json::parse(large.body)["code"], 8);
  const HttpAnswer metrics = HttpCall(server_->port(), "GET", "/metrics");
  EXPECT_THAT(metrics.body, HasSubstr("chronolith_otlp_points_total{result=\"written\"} 3\n"));
  EXPECT_THAT(metrics.body, HasSubstr("chronolith_otlp_points_total{result=\"rejected\"} 2\n"));
  const ProcessResult result = server_->Stop(SIGTERM);
  EXPECT_EQ(result.exit_code, kOk) << result.err;
  EXPECT_EQ(Query("{__name__=~\"g|steps_total\"}", {"--start", std::to_string(kStartMs)}).size(), 2U);
}

TEST_F(ChronolithdOtlpTest, GrpcHasTheTlsAndTheUsersOfTheWebConfiguration) {
  MakeCertificate(directory_, "server");
  const auto configure = [&](const std::string& token) {  // replaced as a whole, as who edits it should
    WriteFile("web.new",
              "tls_server_config: {cert_file: server.crt, key_file: server.key}\nbearer_tokens: {agent: " + token + "}\n");
    std::filesystem::rename(Path("web.new"), Path("web.yml"));
  };
  configure("0123456789abcdef");
  Start({"--web.config.file", Path("web.yml")});
  EXPECT_EQ(Export(Point(0), false).error_code(), grpc::StatusCode::UNAVAILABLE);  // in plain text
  Connect(grpc::SslCredentials({.pem_root_certs = ReadFile(Path("server.crt"))}));
  while (TlsGet(server_->port(), "/-/ready", Path("server.crt")).starts_with("HTTP/1.1 503")) {
  }
  EXPECT_EQ(Export(Point(0)).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Export(Point(0), true, "Bearer 0123456789abcdef").ok());
  configure("changed0123456789");
  ASSERT_TRUE(server_->WaitForLog("was loaded again")) << server_->err();
  EXPECT_EQ(Export(Point(1), true, "Bearer 0123456789abcdef").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Export(Point(1), true, "Bearer changed0123456789").ok());
  configure("short");
  server_->Signal(SIGHUP);
  ASSERT_TRUE(server_->WaitForLog("what was loaded before stays")) << server_->err();
  EXPECT_TRUE(Export(Point(2), true, "Bearer changed0123456789").ok());
}

TEST_F(ChronolithdOtlpTest, AnAddressThatCannotBeListenedOnIsNamed) {
  const ProcessResult wrong = RunProcess({CHRONOLITHD, "--db", db_, "--listen", "127.0.0.1:0", "--otlp-grpc-listen", "nowhere"});
  EXPECT_EQ(wrong.exit_code, kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("--otlp-grpc-listen takes ADDRESS:PORT"));
  Start();
  const std::string taken = "127.0.0.1:" + std::to_string(grpc_port_);
  const ProcessResult second =
      RunProcess({CHRONOLITHD, "--db", Path("other"), "--listen", "127.0.0.1:0", "--otlp-grpc-listen", taken});
  EXPECT_EQ(second.exit_code, kFailure);
  EXPECT_THAT(second.err, HasSubstr(taken));
}

}  // namespace
}  // namespace chronolith::testing

// An OtlpGrpcServer over loopback, and a client of it.
#ifndef CHRONOLITH_TESTS_SERVER_OTLP_GRPC_FIXTURE_H_
#define CHRONOLITH_TESTS_SERVER_OTLP_GRPC_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "interop/otlp/metrics_service.grpc.pb.h"
#include "interop/otlp/rpc_status.pb.h"
#include "server/otlp_grpc.h"
#include "tests/server/otlp_fixture.h"

namespace chronolith::server {

using ::opentelemetry::proto::collector::metrics::v1::MetricsService;

class OtlpGrpc : public OtlpFixture {
 protected:
  OtlpGrpcParts Parts() {
    return {.receiver = receiver_.get(),
            .in_flight = &in_flight_,
            .metrics = &metrics_,
            .security = security_.get(),
            .workers = &workers_};
  }
  void Start() {
    MakeReceiver();
    auto server = OtlpGrpcServer::Start(grpc_options_, Parts());
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    channel_ = NewChannel();
  }
  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxSendMessageSize(-1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials(), arguments);
  }
  grpc::Status Export(const ExportMetricsServiceRequest& request, ExportMetricsServiceResponse* response,
                      grpc_compression_algorithm compression = GRPC_COMPRESS_NONE, const std::string& level = {}) {
    if (server_ == nullptr) Start();
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_compression_algorithm(compression);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    if (!level.empty()) context.AddMetadata("x-chronolith-ack-level", level);
    return MetricsService::NewStub(channel_)->Export(&context, request, response);
  }

  // A call gives its memory back behind its answer.
  void AwaitNothingHeld() {
    while (in_flight_.used_bytes() != 0) std::this_thread::yield();
  }
  // -1: without RetryInfo.
  static std::int64_t RetrySeconds(const grpc::Status& status) {
    google::rpc::Status details;
    google::rpc::RetryInfo retry;
    const bool told = details.ParseFromString(status.error_details()) && details.details_size() == 1 &&
                      details.code() == status.error_code() && details.details(0).UnpackTo(&retry);
    return told ? retry.retry_delay().seconds() : -1;
  }

  OtlpGrpcOptions grpc_options_;
  GrpcMetrics metrics_;
  WorkerPool workers_{2, 8};
  std::unique_ptr<WebSecuritySource> security_;
  std::unique_ptr<OtlpGrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_TESTS_SERVER_OTLP_GRPC_FIXTURE_H_

// Calls that cannot end by themselves, because the log stands still, and how the server and the store get rid of them.
#include <thread>

#include "plugins/memory/memory_engine.h"
#include "tests/server/otlp_grpc_fixture.h"
#include "tests/support/gate.h"

namespace chronolith::server {
namespace {

class OtlpGrpcEnd : public OtlpGrpc {
 protected:
  OtlpGrpcEnd() {
    AdversarialOptions adversarial;
    adversarial.on_call = [this](EngineMethod method, const std::string&) {
      if (method == EngineMethod::kSyncLog) syncs_.Pass();
      return Status::Ok();
    };
    Options options;
    options.engine = "memory";
    options.engines = std::make_shared<EngineRegistry>();
    if (!options.engines->Register(MakeAdversarialMemoryEngineFactory(std::move(adversarial))).ok()) std::abort();
    store_ = Storage::Open(options, directory_ / "stuck").value();
    options_.level = AckLevel::kSynced;
  }
  ~OtlpGrpcEnd() override {  // the gate goes before the store
    server_.reset();
    syncs_.Open();
    (void)store_->Close();
    receiver_.reset();
    store_.reset();
  }
  double Counted(const std::string& result) {
    for (const auto& family : registry_.Collect()) {
      for (const auto& metric : family.metric) {
        if (family.name == "chronolith_otlp_points_total" && metric.label.front().value == result) return metric.counter.value;
      }
    }
    return -1;
  }

  Gate syncs_;
};

TEST_F(OtlpGrpcEnd, StopWaitsForNoLogThatStandsStill) {
  ExportMetricsServiceRequest request;
  AddGauge(&request, "g", 1);
  ExportMetricsServiceResponse response;
  ASSERT_TRUE(Export(request, &response).ok());
  syncs_.Close();
  grpc::Status status;
  std::thread client([&] { status = Export(request, &response); });
  syncs_.AwaitHeld(1);
  server_->Stop(std::chrono::milliseconds(0));
  client.join();
  EXPECT_FALSE(status.ok());
  server_.reset();
  // What the call has left in the store comes to its end there.
  EXPECT_EQ(Counted("written"), 1);
  syncs_.Open();
  EXPECT_TRUE(store_->Close().ok());
  EXPECT_EQ(Counted("written"), 2);
}

TEST_F(OtlpGrpcEnd, ACallThatItsClientGaveUpIsOver) {
  Start();
  syncs_.Close();
  ExportMetricsServiceRequest request;
  AddGauge(&request, "g", 1);
  grpc::ClientContext context;
  grpc::Status status;
  std::thread client([&] {
    ExportMetricsServiceResponse response;
    status = MetricsService::NewStub(channel_)->Export(&context, request, &response);
  });
  syncs_.AwaitHeld(1);
  context.TryCancel();
  client.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  server_->Stop(std::chrono::minutes(2));  // finds nothing to wait for
  EXPECT_EQ(Counted("written"), 0);
  syncs_.Open();
  EXPECT_TRUE(store_->Close().ok());
  EXPECT_EQ(Counted("written"), 1);
}

TEST_F(OtlpGrpcEnd, ACallWithoutADeadlineEndsWithItsConnection) {
  grpc_options_.age_max = grpc_options_.age_grace = std::chrono::milliseconds(50);
  Start();
  syncs_.Close();
  ExportMetricsServiceRequest request;
  AddGauge(&request, "g", 1);
  ExportMetricsServiceResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(MetricsService::NewStub(channel_)->Export(&context, request, &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  syncs_.Open();
}

}  // namespace
}  // namespace chronolith::server

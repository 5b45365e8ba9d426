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

TEST_F(OtlpGrpcEnd, WhatWaitsForTheLogIsCountedAndBounded) {
  Start();
  // 16 KiB a call that waits; more while its message is read and written.
  constexpr std::size_t kLeft = 512 << 10, kCalls = 96, kWaitMax = kLeft / (16 << 10);
  const std::uint64_t taken = in_flight_.limit_bytes() - kLeft;
  in_flight_.ForceReserve(taken);
  syncs_.Close();
  struct Call {
    grpc::ClientContext context;
    ExportMetricsServiceResponse response;
    std::unique_ptr<grpc::ClientAsyncResponseReader<ExportMetricsServiceResponse>> reader;
    grpc::Status status;
  };
  const ExportMetricsServiceRequest request = AllKinds();
  const auto stub = MetricsService::NewStub(channel_);
  grpc::CompletionQueue queue;
  std::vector<Call> calls(kCalls);
  const auto queued_records = [&] {
    std::uint64_t sum = 0;
    for (const auto& shard : store_->Stats().shards) sum += shard.last_lsn;
    return sum;
  };
  for (std::size_t i = 0; i < kCalls; ++i) {
    Call& call = calls[i];
    const std::uint64_t before = queued_records();
    call.context.set_wait_for_ready(true);
    call.reader = stub->AsyncExport(&call.context, request, &queue);
    call.reader->Finish(&call.response, &call.status, &call);
    // Two wait for the log before the others come: messages that are being read could hold all the rest.
    while (i < 2 && (queued_records() == before || in_flight_.used_bytes() != taken + (i + 1) * (16 << 10)))
      std::this_thread::yield();
  }
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    return static_cast<Call*>(tag)->status;
  };
  // None of them can end but by a refusal.
  for (std::size_t refused = 0; refused < kCalls - kWaitMax; ++refused) {
    const grpc::Status status = next();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_EQ(RetrySeconds(status), 1);
  }
  EXPECT_GE(in_flight_.used_bytes(), taken + (16 << 10));
  syncs_.Open();
  std::size_t written = 0;
  for (std::size_t i = 0; i < kWaitMax; ++i) written += next().ok() ? 1 : 0;
  EXPECT_GT(written, 1U);
  server_->Stop(std::chrono::minutes(1));
  server_.reset();
  EXPECT_TRUE(store_->Close().ok());
  EXPECT_EQ(in_flight_.used_bytes(), taken);
  in_flight_.Release(taken);
}

}  // namespace
}  // namespace chronolith::server

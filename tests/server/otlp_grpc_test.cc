#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <deque>
#include <thread>

#include "interop/otlp/rpc_status.pb.h"
#include "tests/server/otlp_grpc_fixture.h"

namespace chronolith::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(OtlpGrpc, StoresEachKindPlainAndCompressed) {
  for (const auto compression : {GRPC_COMPRESS_NONE, GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    ExportMetricsServiceResponse response;
    const grpc::Status status = Export(AllKinds(), &response, compression);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_FALSE(response.has_partial_success());
    ExpectAllKindsStored();
  }
  AwaitNothingHeld();
}

TEST_F(OtlpGrpc, TakesLevelsAndEmptyRequests) {
  ExportMetricsServiceResponse response;
  EXPECT_TRUE(Export({}, &response).ok());
  for (const char* level : {"queued", "logged", "synced"})
    EXPECT_TRUE(Export(AllKinds(), &response, GRPC_COMPRESS_NONE, level).ok());
  EXPECT_EQ(Export(AllKinds(), &response, GRPC_COMPRESS_NONE, "maybe").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(OtlpGrpc, TellsOfPartialSuccess) {
  ExportMetricsServiceRequest request = AllKinds();
  request.mutable_resource_metrics(0)->mutable_scope_metrics(0)->mutable_metrics(1)->mutable_sum()->set_aggregation_temporality(
      pb::AGGREGATION_TEMPORALITY_DELTA);
  ExportMetricsServiceResponse response;
  ASSERT_TRUE(Export(request, &response).ok());
  EXPECT_EQ(response.partial_success().rejected_data_points(), 1);
  EXPECT_THAT(response.partial_success().error_message(), HasSubstr("delta"));
  EXPECT_EQ(Stored().size(), kAllKindsSeries - 1);
}

TEST_F(OtlpGrpc, MalformedMessagesAreRefused) {
  Start();
  grpc::GenericStub stub(channel_);
  const auto call = [&](const std::string& bytes) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    grpc::ByteBuffer answer;
    grpc::Status status;
    auto rpc = stub.PrepareUnaryCall(&context, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                                     grpc::ByteBuffer(&slice, 1), &queue);
    rpc->StartCall();
    rpc->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    return status;
  };
  EXPECT_EQ(call("\x0a\x05nope").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(call("\x1f\x8b\x08 no gzip").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(call("").error_code(), grpc::StatusCode::OK);
  EXPECT_THAT(Stored(), IsEmpty());
}

// Has sent its headers.
class StalledCall {
 public:
  StalledCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method = "MetricsService/Export") : stub_(channel) {
    context_.set_wait_for_ready(true);
    rpc_ = stub_.PrepareCall(&context_, "/opentelemetry.proto.collector.metrics.v1." + method, &queue_);
    rpc_->StartCall(nullptr);
    Await();
  }
  void EndWithoutAMessage() {
    rpc_->WritesDone(nullptr);
    Await();
  }
  // As soon as the server has ended it.
  grpc::Status Status() {
    grpc::Status status;
    rpc_->Finish(&status, nullptr);
    Await();
    return status;
  }

 private:
  void Await() {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue_.Next(&tag, &ok) && ok);
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> rpc_;
};

TEST_F(OtlpGrpc, ACallWithoutAMessageIsNoEmptyRequest) {
  Start();
  StalledCall call(channel_);
  call.EndWithoutAMessage();
  const grpc::Status status = call.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("no whole message"));
}

TEST_F(OtlpGrpc, ACallWhoseMessageDoesNotComeIsEnded) {
  grpc_options_.message_timeout = std::chrono::milliseconds(50);
  Start();
  StalledCall call(channel_);
  const grpc::Status status = call.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("the message did not come"));
  AwaitNothingHeld();
}

TEST_F(OtlpGrpc, TheCallThatHasStalledLongestMakesRoomForAnother) {
  grpc_options_.memory_bytes = 4 << 20;
  constexpr std::size_t kCallsMax = 128, kCalls = 90;  // of one connection
  Start();
  std::deque<StalledCall> calls;
  for (const auto& channel : {NewChannel(), NewChannel()}) {
    for (std::size_t i = 0; i < kCalls; ++i) calls.emplace_back(channel);
  }
  while (metrics_.in_flight() > kCallsMax) std::this_thread::yield();
  const grpc::Status first = calls.front().Status();
  EXPECT_EQ(first.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(first.error_message(), HasSubstr("too many calls are open"));
  EXPECT_EQ(RetrySeconds(first), 1);
  ExportMetricsServiceResponse response;
  const grpc::Status status = Export(AllKinds(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  ExpectAllKindsStored();
}

TEST_F(OtlpGrpc, OtherMethodsAreNotThere) {
  Start();
  const grpc::Status status = StalledCall(channel_, "MetricsService/Import").Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("MetricsService/Import"));
}

TEST_F(OtlpGrpc, BombsAndLargeMessagesAreRefusedAndTheServerGoesOn) {
  options_.body_bytes_max = 1 << 20;
  options_.decoded_bytes_max = 1 << 20;
  ExportMetricsServiceRequest bomb;
  bomb.add_resource_metrics()->set_schema_url(std::string(32 << 20, 'x'));
  ExportMetricsServiceResponse response;
  const grpc::Status status = Export(bomb, &response, GRPC_COMPRESS_GZIP);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("decodes to more than 1048576 bytes"));
  EXPECT_EQ(Export(bomb, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Export(AllKinds(), &response).ok());
  AwaitNothingHeld();
}

TEST_F(OtlpGrpc, ALimitBeyondAnIntIsNoSmallerOne) {
  options_.body_bytes_max = (1ULL << 32) + 8;
  options_.decoded_bytes_max = 1ULL << 32;
  ExportMetricsServiceResponse response;
  const grpc::Status status = Export(AllKinds(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(OtlpGrpc, IdleAndOldConnectionsAreClosed) {
  for (auto* const timeout : {&grpc_options_.idle_timeout, &grpc_options_.age_max}) {
    OtlpGrpcOptions saved = grpc_options_;
    *timeout = std::chrono::milliseconds(50);
    Start();
    ExportMetricsServiceResponse response;
    const auto patience = std::chrono::system_clock::now() + std::chrono::minutes(2);
    const auto export_to_the_end = [&] {  // on a slow machine a connection may be idle, or old, before it is used
      while (!Export(AllKinds(), &response).ok()) ASSERT_LT(std::chrono::system_clock::now(), patience);
    };
    export_to_the_end();
    for (auto state = channel_->GetState(false); state == GRPC_CHANNEL_READY; state = channel_->GetState(false)) {
      ASSERT_TRUE(channel_->WaitForStateChange(state, patience));
    }
    export_to_the_end();  // over another one
    server_->Stop(std::chrono::milliseconds(0));
    grpc_options_ = saved;
  }
}

TEST_F(OtlpGrpc, OverloadAsksToTryLater) {
  in_flight_.ForceReserve(in_flight_.limit_bytes());
  ExportMetricsServiceResponse response;
  ExportMetricsServiceRequest request;
  for (int i = 0; i < 200; ++i) AddGauge(&request, "a_long_name_that_compresses_well", i);
  const grpc::Status status = Export(request, &response, GRPC_COMPRESS_GZIP);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(RetrySeconds(status), 1);
  in_flight_.Release(in_flight_.limit_bytes());
  EXPECT_TRUE(Export(request, &response, GRPC_COMPRESS_GZIP).ok());
}

TEST_F(OtlpGrpc, WhatNeverFitsIsNotTriedAgain) {
  options_.decoded_bytes_max = 128 << 20;
  ExportMetricsServiceRequest large;
  large.add_resource_metrics()->set_schema_url(std::string(80 << 20, 'x'));
  ExportMetricsServiceResponse response;
  const grpc::Status status = Export(large, &response, GRPC_COMPRESS_GZIP);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("--max-in-flight-bytes"));
  EXPECT_EQ(RetrySeconds(status), -1);
  EXPECT_TRUE(Export(AllKinds(), &response).ok());
}

TEST_F(OtlpGrpc, AFullRingAsksToTryLater) {
  OpenStore(SmallRing);
  const ExportMetricsServiceRequest request = ManyPoints();
  ExportMetricsServiceResponse response;
  ASSERT_TRUE(Export(request, &response).ok());
  SetFault(ResourceExhausted("the disk is full"));
  grpc::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) status = Export(request, &response, GRPC_COMPRESS_NONE, "queued");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("ring"));
  EXPECT_EQ(RetrySeconds(status), 1);
  SetFault(Status::Ok());
  do {
    status = Export(request, &response);
  } while (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(OtlpGrpc, AFailedLogIsUnavailable) {
  SetFault(IoError("the disk is gone"));
  ExportMetricsServiceResponse response;
  const grpc::Status status = Export(AllKinds(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("the disk is gone"));
}

TEST_F(OtlpGrpc, ReferencesThatHaveExpiredAreResolvedOnceMore) {
  OpenStore([](Options* options) { options->shards = 1; });
  ExportMetricsServiceResponse response;
  ASSERT_TRUE(Export(AllKinds(), &response).ok());
  testing_support::ExpireReferences(store_.get(), static_cast<Timestamp>(kOtlpTime / 1'000'000));
  ASSERT_TRUE(Export(AllKinds(), &response).ok());
  EXPECT_FALSE(response.has_partial_success());
  ExpectAllKindsStored();
}

TEST_F(OtlpGrpc, ManyClientsAtOnceAreAllAcknowledged) {
  Start();
  constexpr int kClients = 8, kRequests = 50;
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      const auto stub = MetricsService::NewStub(NewChannel());
      for (int i = 0; i < kRequests; ++i) {
        ExportMetricsServiceRequest request;
        AddGauge(&request, "g" + std::to_string(c) + "_" + std::to_string(i), i);
        grpc::ClientContext context;
        ExportMetricsServiceResponse response;
        if (!stub->Export(&context, request, &response).ok()) failed.fetch_add(1);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_EQ(Stored().size(), static_cast<std::size_t>(kClients * kRequests));
}

// Calls end some time behind their answers, when their client has begun others.
TEST_F(OtlpGrpc, AFastClientIsNotCutOff) {
  constexpr int kThreads = 32, kCalls = 300;
  Start();
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kCalls; ++i) {
        ExportMetricsServiceResponse response;
        if (!Export({}, &response).ok()) failed.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed.load(), 0);
  EXPECT_EQ(metrics_.connections_shut_down(), 0U);
}

TEST_F(OtlpGrpc, APortThatIsTakenIsAnError) {
  Start();
  OtlpGrpcOptions same;
  same.port = server_->port();
  const auto second = OtlpGrpcServer::Start(same, Parts());
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr(same.address));
}

TEST_F(OtlpGrpc, StopEndsTheServiceAndTheStoreStaysOpen) {
  ExportMetricsServiceResponse response;
  ASSERT_TRUE(Export(AllKinds(), &response).ok());
  server_->Stop(std::chrono::seconds(5));
  grpc::ClientContext context;
  EXPECT_EQ(MetricsService::NewStub(channel_)->Export(&context, AllKinds(), &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  ExpectAllKindsStored();
}

}  // namespace
}  // namespace chronolith::server

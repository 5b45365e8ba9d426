#include "server/otlp_grpc.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "interop/otlp/metrics_service.grpc.pb.h"
#include "interop/otlp/rpc_status.pb.h"
#include "server/inflate.h"
#include "server/remote_write_handler.h"

namespace chronolith::server {
namespace {

using interop::otlp::MetricsWritten;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse;
using ::opentelemetry::proto::collector::metrics::v1::MetricsService;

constexpr int kMetadataBytesMax = 16 << 10;
constexpr std::int64_t kRetrySeconds = 1;
// A full store makes writers wait for room; gRPC's threads are few, so not for long.
constexpr std::chrono::milliseconds kRoomWait{500};

grpc::Status ToRpc(const Status& status) {
  const RpcCode code = RpcCodeOf(status);
  if (code != RpcCode::kResourceExhausted) return {static_cast<grpc::StatusCode>(code), status.message()};
  // Without this, clients take it for a matter of the message and do not try again.
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(kRetrySeconds);
  google::rpc::Status details;
  details.set_code(static_cast<int>(code));
  details.set_message(status.message());
  details.add_details()->PackFrom(retry);
  return {static_cast<grpc::StatusCode>(code), status.message(), details.SerializeAsString()};
}

grpc::ByteBuffer ToBuffer(const MetricsWritten& written) {
  ExportMetricsServiceResponse response;
  if (written.rejected > 0 || !written.message.empty()) {
    response.mutable_partial_success()->set_rejected_data_points(static_cast<std::int64_t>(written.rejected));
    response.mutable_partial_success()->set_error_message(written.message);
  }
  const grpc::Slice slice(response.SerializeAsString());
  return {&slice, 1};
}

// gRPC's own decompression knows no bound, so it is switched off and done here. A request begins with the tag of its one field,
// which neither format begins with.
bool IsCompressed(std::string_view bytes) {
  if (bytes.size() < 2) return false;
  const auto first = static_cast<unsigned char>(bytes[0]), second = static_cast<unsigned char>(bytes[1]);
  const bool gzip = first == 0x1f && second == 0x8b;
  const bool zlib = (first & 0x0f) == 8 && (first >> 4) <= 7 && (first * 256 + second) % 31 == 0;
  return gzip || zlib;
}

Deadline RoomDeadline(const grpc::CallbackServerContext& context) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  const auto wait = std::min<std::chrono::nanoseconds>(kRoomWait, std::chrono::duration_cast<std::chrono::nanoseconds>(left));
  return std::chrono::steady_clock::now() + std::max(wait, std::chrono::nanoseconds(0));
}

// One call, from its message to its answer. Ends once: when the level is reached, or when it is cancelled (by the client, its
// deadline, or the end of the server), whichever comes first: a log that stands still must hold no call back. gRPC holds on to it
// until OnDone; the store may, longer.
class ExportCall final : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<ExportCall> {
 public:
  explicit ExportCall(grpc::ByteBuffer* response) : response_(response) {}

  void Begin() { self_ = shared_from_this(); }
  // From any thread.
  void Refuse(const Status& status) {
    if (!ended_.exchange(true)) Finish(ToRpc(status));
  }
  void Answer(const MetricsWritten& written) {
    if (ended_.load()) return;  // perhaps the server has, too
    if (!written.status.ok()) return Refuse(written.status);
    grpc::ByteBuffer answer = ToBuffer(written);
    if (ended_.exchange(true)) return;  // the response is gone
    response_->Swap(&answer);
    Finish(grpc::Status::OK);
  }

  void OnCancel() override {
    if (!ended_.exchange(true)) Finish({grpc::StatusCode::CANCELLED, "the call was cancelled"});
  }
  void OnDone() override { self_.reset(); }

 private:
  grpc::ByteBuffer* const response_;
  std::atomic<bool> ended_{false};
  std::shared_ptr<ExportCall> self_;  // gRPC's
};

// Raw: the bytes go to the writer as they are.
class Service final : public MetricsService::WithRawCallbackMethod_Export<MetricsService::Service> {
 public:
  Service(OtlpReceiver* receiver, MemoryBudget* in_flight) : receiver_(receiver), in_flight_(in_flight) {}

  grpc::ServerUnaryReactor* Export(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override {
    const auto call = std::make_shared<ExportCall>(response);
    call->Begin();
    if (Status status = Write(*context, *request, call); !status.ok()) call->Refuse(status);
    return call.get();
  }

 private:
  Status Write(const grpc::CallbackServerContext& context, const grpc::ByteBuffer& request,
               const std::shared_ptr<ExportCall>& call) {
    AckLevel level = receiver_->options().level;
    if (const auto word = context.client_metadata().find("x-chronolith-ack-level");
        word != context.client_metadata().end() && !ParseAckLevel({word->second.data(), word->second.size()}, &level)) {
      return InvalidArgument("x-chronolith-ack-level must be queued, logged or synced");
    }
    // Of a call that ended within its message, or whose length lies, gRPC makes one without a message.
    if (!request.Valid()) return InvalidArgument("the call has no whole message");
    grpc::Slice slice;
    if (request.Length() > 0 && !request.TrySingleSlice(&slice).ok() && !request.DumpToSingleSlice(&slice).ok()) {
      return InvalidArgument("the message cannot be read");
    }
    std::string_view bytes(reinterpret_cast<const char*>(slice.begin()), slice.size());
    MemoryShare share(in_flight_);
    std::string decoded;
    if (IsCompressed(bytes)) {
      Status status = Inflate(bytes, receiver_->options().decoded_bytes_max, &share, &decoded);
      if (status.code() == StatusCode::kFailedPrecondition) status = InvalidArgument(status.message());
      if (!status.ok()) return status;
      bytes = decoded;
    }
    receiver_->WriteThen(bytes, level, RoomDeadline(context), &share,
                         [call](const MetricsWritten& written) { call->Answer(written); });
    return Status::Ok();
  }

  OtlpReceiver* const receiver_;
  MemoryBudget* const in_flight_;
};

int Milliseconds(std::chrono::milliseconds duration) { return static_cast<int>(duration.count()); }

}  // namespace

class OtlpGrpcServer::Impl {
 public:
  Impl(OtlpReceiver* receiver, MemoryBudget* in_flight) : service_(receiver, in_flight) {}

  Status Start(const OtlpGrpcOptions& options, const OtlpOptions& limits) {
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("chronolith-otlp");
    quota.Resize(options.memory_bytes);
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(static_cast<int>(limits.body_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_max);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.idle_timeout));
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(options.handshake_timeout));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Milliseconds(options.ping_interval_min));
    builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0)
      return FailedPrecondition("cannot listen on " + options.address + " (is the port taken?)");
    return Status::Ok();
  }

  void Stop(std::chrono::milliseconds grace) {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + grace);
    server_->Wait();
    server_.reset();
  }

  int port() const { return port_; }

 private:
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

OtlpGrpcServer::OtlpGrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

OtlpGrpcServer::~OtlpGrpcServer() { Stop(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<OtlpGrpcServer>> OtlpGrpcServer::Start(const OtlpGrpcOptions& options, OtlpReceiver* receiver,
                                                              MemoryBudget* in_flight) {
  auto impl = std::make_unique<Impl>(receiver, in_flight);
  if (Status status = impl->Start(options, receiver->options()); !status.ok()) return status;
  return std::unique_ptr<OtlpGrpcServer>(new OtlpGrpcServer(std::move(impl)));
}

int OtlpGrpcServer::port() const { return impl_->port(); }

void OtlpGrpcServer::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace chronolith::server

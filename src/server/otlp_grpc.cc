#include "server/otlp_grpc.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <memory>
#include <utility>

#include "base/counters.h"
#include "interop/otlp/metrics_service.grpc.pb.h"
#include "interop/otlp/rpc_status.pb.h"
#include "server/inflate.h"
#include "server/otlp_grpc_credentials.h"
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
// What a call holds until it ends, about: its stream, its metadata, and what waits for the log.
constexpr std::uint64_t kCallBytes = 16 << 10;

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

Deadline RoomDeadline(std::chrono::system_clock::time_point deadline) {
  const auto left = deadline - std::chrono::system_clock::now();
  const auto wait = std::min<std::chrono::nanoseconds>(kRoomWait, std::chrono::duration_cast<std::chrono::nanoseconds>(left));
  return std::chrono::steady_clock::now() + std::max(wait, std::chrono::nanoseconds(0));
}

// One call, from its message to its answer. Ends once: when the level is reached, or when it is cancelled (by the client, its
// deadline, or the end of the server), whichever comes first: a log that stands still must hold no call back. gRPC holds on to it
// until OnDone; the store may, longer.
class ExportCall final : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<ExportCall> {
 public:
  ExportCall(grpc::ByteBuffer* response, GrpcMetrics* metrics, MemoryBudget* in_flight)
      : response_(response), metrics_(metrics), share_(in_flight) {
    if (metrics_ != nullptr) metrics_->Begin();
  }

  // As the last thing before it is given to gRPC.
  grpc::ServerUnaryReactor* ToGrpc() {
    self_ = shared_from_this();
    return this;
  }
  // Takes the message away from gRPC, which would keep it until the call ends, and counts both. kResourceExhausted,
  // kFailedPrecondition. This and what follows on one thread after the other.
  Status Take(grpc::ByteBuffer* message) {
    message_.Swap(message);
    return share_.Grow(kCallBytes + message_.Length()) ? Status::Ok() : share_.refusal();
  }
  const grpc::ByteBuffer& message() const { return message_; }
  void DropMessage() {
    message_.Clear();
    share_.ShrinkTo(kCallBytes);
  }
  std::uint64_t held_bytes() const { return share_.bytes(); }
  // From any thread.
  bool ended() const { return ended_.load(); }
  void Refuse(const Status& status) { End(ToRpc(status)); }
  void End(grpc::Status status) {
    if (ended_.exchange(true)) return;
    Count(status);
    Finish(std::move(status));
  }
  void Answer(const MetricsWritten& written) {
    if (ended()) return;  // perhaps the server has, too
    if (!written.status.ok()) return Refuse(written.status);
    grpc::ByteBuffer answer = ToBuffer(written);
    if (ended_.exchange(true)) return;  // the response is gone
    response_->Swap(&answer);
    Count(grpc::Status::OK);
    Finish(grpc::Status::OK);
  }

  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the call was cancelled"}); }
  void OnDone() override { self_.reset(); }

 private:
  void Count(const grpc::Status& status) {
    if (metrics_ != nullptr) metrics_->End(static_cast<int>(status.error_code()), NowNanos() - begun_nanos_);
  }

  grpc::ByteBuffer* const response_;
  GrpcMetrics* const metrics_;
  const std::uint64_t begun_nanos_ = NowNanos();
  std::atomic<bool> ended_{false};
  grpc::ByteBuffer message_;
  MemoryShare share_;
  std::shared_ptr<ExportCall> self_;  // gRPC's
};

std::string MetadataOf(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end() ? std::string() : std::string(found->second.data(), found->second.size());
}

// What is kept besides of a request while it waits for a worker: gRPC's own goes with a call that is cancelled.
struct Request {
  std::string level;
  std::chrono::system_clock::time_point deadline;
};

Status TryWrite(const OtlpGrpcParts& parts, const Request& request, const std::shared_ptr<ExportCall>& call) {
  AckLevel level = parts.receiver->options().level;
  if (!request.level.empty() && !ParseAckLevel(request.level, &level)) {
    return InvalidArgument("x-chronolith-ack-level must be queued, logged or synced");
  }
  grpc::Slice slice;
  const grpc::ByteBuffer& message = call->message();
  // Of a call that ended within its message, or whose length lies, gRPC makes one without a message.
  if (!message.Valid()) return InvalidArgument("the call has no whole message");
  if (message.Length() > 0 && !message.TrySingleSlice(&slice).ok() && !message.DumpToSingleSlice(&slice).ok()) {
    return InvalidArgument("the message cannot be read");
  }
  std::string_view bytes(reinterpret_cast<const char*>(slice.begin()), slice.size());
  MemoryShare share(parts.in_flight, call->held_bytes());
  std::string decoded;
  if (IsCompressed(bytes)) {
    if (Status s = Inflate(bytes, parts.receiver->options().decoded_bytes_max, &share, &decoded); !s.ok()) return s;
    bytes = decoded;
  }
  parts.receiver->WriteThen(bytes, level, RoomDeadline(request.deadline), &share,
                            [call](const MetricsWritten& written) { call->Answer(written); });
  return Status::Ok();
}

// Nothing of a request is looked at before it is known whose it is.
void WriteFor(const Authenticator::Answer& who, const OtlpGrpcParts& parts, const Request& request,
              const std::shared_ptr<ExportCall>& call) {
  using Kind = Authenticator::Answer::Kind;
  if (call->ended()) return;
  if (who.kind == Kind::kBusy) return call->Refuse(ResourceExhausted("other passwords are being checked"));
  if (who.kind != Kind::kUser) {
    return call->End(
        {grpc::StatusCode::UNAUTHENTICATED, "a user name and password, or a token, is needed in the metadata 'authorization'"});
  }
  if (const Status status = TryWrite(parts, request, call); !status.ok()) call->Refuse(status);
  call->DropMessage();  // what waits for the log needs it no more
}

// Raw: the bytes go to the writer as they are.
class Service final : public MetricsService::WithRawCallbackMethod_Export<MetricsService::Service> {
 public:
  // `opened`: what TLS the port was opened with.
  Service(const OtlpGrpcParts& parts, std::shared_ptr<const TlsMaterial> opened) : parts_(parts), opened_(std::move(opened)) {}

  bool KeepsConfiguration() const {
    return parts_.security == nullptr || KeepsGrpc(opened_.get(), parts_.security->Get()->tls_material.get());
  }

  grpc::ServerUnaryReactor* Export(grpc::CallbackServerContext* context, const grpc::ByteBuffer* message,
                                   grpc::ByteBuffer* response) override {
    const auto call = std::make_shared<ExportCall>(response, parts_.metrics, parts_.in_flight);
    if (parts_.metrics != nullptr) parts_.metrics->AddBytes(message->Length());
    if (Status s = call->Take(const_cast<grpc::ByteBuffer*>(message)); s.ok()) {  // const by its type only
      Admit(*context, {MetadataOf(*context, "x-chronolith-ack-level"), context->deadline()}, call);
    } else {
      call->Refuse(s);
      call->DropMessage();
    }
    return call->ToGrpc();
  }

 private:
  void Admit(const grpc::CallbackServerContext& context, Request request, const std::shared_ptr<ExportCall>& call) {
    using Kind = Authenticator::Answer::Kind;
    if (!KeepsConfiguration()) return call->Refuse(Unavailable("the configuration asks for another TLS: restart the server"));
    std::shared_ptr<const WebSecurity> security = parts_.security != nullptr ? parts_.security->Get() : nullptr;
    if (security == nullptr || security->users == nullptr) return WriteFor({Kind::kUser, ""}, parts_, request, call);
    std::string header = MetadataOf(context, "authorization");
    const Authenticator::Answer answer = security->users->Look(header);
    if (answer.kind != Kind::kAskBcrypt) return WriteFor(answer, parts_, request, call);
    // Not the service: a call that is cancelled meanwhile lets that go.
    auto work = [parts = parts_, security = std::move(security), header = std::move(header), request = std::move(request), call] {
      try {
        WriteFor(security->users->Check(header), parts, request, call);
      } catch (const std::exception& e) {  // out of memory
        call->Refuse(Unavailable(e.what()));
      }
    };
    if (!parts_.workers->TrySubmit(std::move(work))) call->Refuse(ResourceExhausted("all workers are busy"));
  }

  const OtlpGrpcParts parts_;
  const std::shared_ptr<const TlsMaterial> opened_;
};

// gRPC's numbers are int, and a negative one would mean no limit.
int Clamped(std::uint64_t n) { return static_cast<int>(std::min<std::uint64_t>(n, std::numeric_limits<int>::max())); }
int Milliseconds(std::chrono::milliseconds duration) { return Clamped(static_cast<std::uint64_t>(duration.count())); }

}  // namespace

class OtlpGrpcServer::Impl {
 public:
  Impl(const OtlpGrpcParts& parts, std::shared_ptr<const TlsMaterial> tls)
      : credentials_(tls != nullptr ? std::make_shared<GrpcTlsCredentials>(parts.security, tls->config.client_auth)
                                    : grpc::InsecureServerCredentials()),
        service_(parts, std::move(tls)) {}

  Status Start(const OtlpGrpcOptions& options, const OtlpOptions& limits) {
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("chronolith-otlp");
    quota.Resize(options.memory_bytes);
    builder.SetResourceQuota(quota);
    // One that is larger than the quota would never be whole.
    builder.SetMaxReceiveMessageSize(Clamped(std::min(limits.body_bytes_max, options.memory_bytes)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_max);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.idle_timeout));
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(options.handshake_timeout));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.age_max));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(options.age_grace));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Milliseconds(options.ping_interval_min));
    builder.AddListeningPort(options.address, credentials_, &port_);
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
  bool KeepsConfiguration() const { return service_.KeepsConfiguration(); }

 private:
  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

OtlpGrpcServer::OtlpGrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

OtlpGrpcServer::~OtlpGrpcServer() { Stop(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<OtlpGrpcServer>> OtlpGrpcServer::Start(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts) {
  std::shared_ptr<const TlsMaterial> tls = parts.security != nullptr ? parts.security->Get()->tls_material : nullptr;
  if (Status status = CheckForGrpc(tls.get()); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(parts, std::move(tls));
  if (Status status = impl->Start(options, parts.receiver->options()); !status.ok()) return status;
  return std::unique_ptr<OtlpGrpcServer>(new OtlpGrpcServer(std::move(impl)));
}

int OtlpGrpcServer::port() const { return impl_->port(); }
bool OtlpGrpcServer::KeepsConfiguration() const { return impl_->KeepsConfiguration(); }

void OtlpGrpcServer::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace chronolith::server

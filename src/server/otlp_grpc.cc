#include "server/otlp_grpc.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "interop/otlp/metrics_service.grpc.pb.h"
#include "server/grpc_listener.h"
#include "server/grpc_log.h"
#include "server/inflate.h"
#include "server/otlp_grpc_call.h"
#include "server/otlp_grpc_credentials.h"
#include "server/remote_write_handler.h"

namespace chronolith::server {
namespace {

using interop::otlp::MetricsWritten;
using ::opentelemetry::proto::collector::metrics::v1::MetricsService;

constexpr int kMetadataBytesMax = 16 << 10;  // gRPC looks at this much in each frame
// A full store makes writers wait for room; gRPC's threads are few, so not for long.
constexpr std::chrono::milliseconds kRoomWait{500};
// From one connection at a time: the calls that begin in them are all made before one can be refused, a thousand at most.
constexpr int kReadBytesMax = 16 << 10;
constexpr std::chrono::milliseconds kTickMin{1}, kTickMax{50};

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

// Counts calls from their headers to their end, on the threads that read the headers: gRPC asks for a context before it does
// anything else with a call. Thread safety: safe.
class CallCounter final : public grpc::ContextAllocator {
 public:
  // `too_many`: when there are `max`, and again with each kStep more; how often before.
  CallCounter(std::atomic<std::size_t>* open, std::size_t max, std::function<void(std::size_t)> too_many)
      : open_(open), max_(max), too_many_(std::move(too_many)) {}
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext() override {
    const std::size_t open = open_->fetch_add(1, std::memory_order_relaxed);
    if (open >= max_ && (open - max_) % kStep == 0) too_many_((open - max_) / kStep);
    return nullptr;  // gRPC makes it
  }
  void Release(grpc::CallbackServerContext* /*context*/) override { open_->fetch_sub(1, std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kStep = 512;
  std::atomic<std::size_t>* const open_;
  const std::size_t max_;
  const std::function<void(std::size_t)> too_many_;
};

std::string MetadataOf(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end() ? std::string() : std::string(found->second.data(), found->second.size());
}

std::size_t BytesOf(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : metadata) bytes += key.size() + value.size();
  return bytes;
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
  // It ended within its message, or the length lies.
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

// Generic: so a call is seen when its headers have come, which is what bounds those that stall, and the bytes of its message go to
// the writer as they are.
class Service final : public grpc::CallbackGenericService {
 public:
  // `opened`: what TLS the port was opened with.
  Service(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts, std::shared_ptr<const TlsMaterial> opened)
      : parts_(parts),
        opened_(std::move(opened)),
        method_(std::string("/") + MetricsService::service_full_name() + "/Export"),
        calls_max_(std::max<std::size_t>(options.memory_bytes / 2 / kGrpcCallBytes, 1)),
        // One whose calls end while others begin may be seen with some more than it has.
        connection_calls_max_(2 * static_cast<std::size_t>(options.streams_max)),
        receiving_(options.message_timeout) {}

  bool KeepsConfiguration() const {
    return parts_.security == nullptr || KeepsGrpc(opened_.get(), parts_.security->Get()->tls_material.get());
  }
  // Before the server is built.
  void Use(GrpcListener* listener) { listener_ = listener; }
  std::unique_ptr<grpc::ContextAllocator> NewCounter() {
    // Calls that come faster than they are entered with their connections.
    return std::make_unique<CallCounter>(&open_, 2 * calls_max_, [this](std::size_t times) { listener_->ShutDownLargest(times); });
  }
  void EndLate() { receiving_.EndLate(); }
  // Calls take all the memory that there is for them, those included that were answered and not taken.
  bool busy() const { return open_.load(std::memory_order_relaxed) > calls_max_; }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    const std::shared_ptr<GrpcConnection> connection = listener_->Find(context->peer());
    if (connection != nullptr) connection->Enter();
    const auto call = std::make_shared<ExportCall>(parts_.metrics, parts_.in_flight, connection, &answered_);
    call->HoldForGrpc();
    const bool too_many = connection != nullptr && connection->unanswered() > connection_calls_max_;
    if (too_many || BytesOf(context->client_metadata()) > 2 * kMetadataBytesMax) {
      if (connection != nullptr) listener_->ShutDown(connection.get());
      call->Refuse(ResourceExhausted("too many calls are open on this connection, or their metadata is too large"));
    } else if (full() && !receiving_.EndOneFor(call->calls_beside())) {
      call->Refuse(ResourceExhausted("too many calls are open"));
    } else if (context->method() != method_) {
      constexpr std::size_t kShown = 100;
      call->End({grpc::StatusCode::UNIMPLEMENTED, "there is no " + context->method().substr(0, kShown) + " here"});
    } else {
      call->Receive([this, context, number = receiving_.Add(call)](const std::shared_ptr<ExportCall>& received) {
        receiving_.Remove(number);
        Take(*context, received);
      });
    }
    return call.get();
  }

 private:
  bool full() const { return open_.load(std::memory_order_relaxed) > calls_max_ + answered_.load(std::memory_order_relaxed); }

  void Take(const grpc::CallbackServerContext& context, const std::shared_ptr<ExportCall>& call) {
    if (call->ended()) return;
    if (Status s = call->Count(); s.ok()) {
      Admit(context, {MetadataOf(context, "x-chronolith-ack-level"), context.deadline()}, call);
    } else {
      call->Refuse(s);
      call->DropMessage();
    }
  }

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
  const std::string method_;
  const std::size_t calls_max_, connection_calls_max_;
  std::atomic<std::size_t> open_{0}, answered_{0};  // calls; of them
  ReceivingCalls receiving_;
  GrpcListener* listener_ = nullptr;
};

// gRPC's numbers are int, and a negative one would mean no limit.
int Clamped(std::uint64_t n) { return static_cast<int>(std::min<std::uint64_t>(n, std::numeric_limits<int>::max())); }
int Milliseconds(std::chrono::milliseconds duration) { return Clamped(static_cast<std::uint64_t>(duration.count())); }

}  // namespace

class OtlpGrpcServer::Impl {
 public:
  Impl(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts, std::shared_ptr<const TlsMaterial> tls)
      : credentials_(tls != nullptr ? std::make_shared<GrpcTlsCredentials>(parts.security, tls->config.client_auth)
                                    : grpc::InsecureServerCredentials()),
        service_(options, parts, std::move(tls)) {}

  Status Start(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts) {
    auto listener =
        GrpcListener::Listen({.address = options.address,
                              .port = options.port,
                              .connections_max = options.connections_max,
                              .send_timeout = options.keepalive_timeout,
                              .unsettled_bytes_max = options.memory_bytes,
                              .unsettled_timeout = options.message_timeout,
                              .tick = std::clamp<std::chrono::milliseconds>(options.message_timeout / 4, kTickMin, kTickMax)},
                             parts.metrics, parts.logger);
    if (!listener.ok()) return listener.status();
    listener_ = std::move(*listener);
    if (parts.logger != nullptr) SendGrpcLogTo(parts.logger);
    service_.Use(listener_.get());
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("chronolith-otlp");
    quota.Resize(options.memory_bytes);
    builder.SetResourceQuota(quota);
    // One that is larger than the quota would never be whole.
    builder.SetMaxReceiveMessageSize(Clamped(std::min(parts.receiver->options().body_bytes_max, options.memory_bytes)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_max);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadBytesMax);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.idle_timeout));
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(options.handshake_timeout));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.age_max));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(options.age_grace));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Milliseconds(options.ping_interval_min));
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials_);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetContextAllocator(service_.NewCounter());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return FailedPrecondition("gRPC cannot serve " + listener_->address());
    listener_->Serve({.busy = [this] { return service_.busy(); },
                      .take =
                          [this](int fd) {
                            grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
                            connection.fd = fd;
                            acceptor_->HandleNewConnection(&connection);
                          },
                      .tick = [this] { service_.EndLate(); }});
    return Status::Ok();
  }

  void Stop(std::chrono::milliseconds grace) {
    if (server_ == nullptr) return;
    // gRPC would go on to wait for clients that do not take what it sends them.
    constexpr std::chrono::milliseconds kToTell{200};
    listener_->StopAccepting(grace + kToTell);
    server_->Shutdown(std::chrono::system_clock::now() + grace);
    server_->Wait();
    listener_->Stop();
    server_.reset();
  }

  const GrpcListener& listener() const { return *listener_; }
  bool KeepsConfiguration() const { return service_.KeepsConfiguration(); }

 private:
  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<GrpcListener> listener_;
  Service service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
};

OtlpGrpcServer::OtlpGrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

OtlpGrpcServer::~OtlpGrpcServer() { Stop(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<OtlpGrpcServer>> OtlpGrpcServer::Start(const OtlpGrpcOptions& options, const OtlpGrpcParts& parts) {
  std::shared_ptr<const TlsMaterial> tls = parts.security != nullptr ? parts.security->Get()->tls_material : nullptr;
  if (Status status = CheckForGrpc(tls.get()); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(options, parts, std::move(tls));
  if (Status status = impl->Start(options, parts); !status.ok()) return status;
  return std::unique_ptr<OtlpGrpcServer>(new OtlpGrpcServer(std::move(impl)));
}

std::uint16_t OtlpGrpcServer::port() const { return impl_->listener().port(); }
std::string OtlpGrpcServer::address() const { return impl_->listener().address(); }
bool OtlpGrpcServer::KeepsConfiguration() const { return impl_->KeepsConfiguration(); }

void OtlpGrpcServer::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace chronolith::server

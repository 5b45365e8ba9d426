// One call of MetricsService/Export over gRPC, and those whose message is awaited. Part of otlp_grpc.cc.
#ifndef CHRONOLITH_SERVER_OTLP_GRPC_CALL_H_
#define CHRONOLITH_SERVER_OTLP_GRPC_CALL_H_

#include <grpcpp/generic/async_generic_service.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "base/memory_share.h"
#include "base/mutex.h"
#include "chronolith/status.h"
#include "interop/otlp/metrics_writer.h"
#include "server/grpc_connection.h"
#include "server/grpc_metrics.h"

namespace chronolith::server {

// What a call holds until it ends, about: its stream, its metadata, and what waits for the log.
inline constexpr std::uint64_t kGrpcCallBytes = 16 << 10;

// From a call's headers to its answer. Ends once: when the level is reached, or when it is cancelled (by the client, its deadline,
// or the end of the server), whichever comes first: a log that stands still must hold no call back. gRPC holds on to it until
// OnDone; the store may, longer. Thread safety: Receive, Count and DropMessage on one thread after the other, the rest from any.
class ExportCall final : public grpc::ServerGenericBidiReactor, public std::enable_shared_from_this<ExportCall> {
 public:
  // On gRPC's thread.
  using OnMessage = std::function<void(const std::shared_ptr<ExportCall>&)>;

  // `connection` has counted it; null: it is not known any more. `answered` counts calls that were and that are not gone.
  ExportCall(GrpcMetrics* metrics, MemoryBudget* in_flight, std::shared_ptr<GrpcConnection> connection,
             std::atomic<std::size_t>* answered);

  // First of all: until it has ended.
  void HoldForGrpc() { self_ = shared_from_this(); }
  // Reads the message, and calls that once: also where there is none, then the message is not valid.
  void Receive(OnMessage on_message);
  // The message, against the memory for all. kResourceExhausted, kFailedPrecondition.
  Status Count();
  const grpc::ByteBuffer& message() const { return message_; }
  void DropMessage();
  std::uint64_t held_bytes() const { return share_.bytes(); }

  bool ended() const { return ended_.load(); }
  // Of its connection, this one included.
  std::size_t calls_beside() const { return connection_ == nullptr ? 1 : connection_->calls(); }
  void Refuse(const Status& status);
  void End(grpc::Status status);
  void Answer(const interop::otlp::MetricsWritten& written);

  void OnReadDone(bool ok) override;
  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the call was cancelled"}); }
  void OnDone() override;

 private:
  void OnEnd(const grpc::Status& status);

  GrpcMetrics* const metrics_;
  const std::uint64_t begun_nanos_;
  std::atomic<bool> ended_{false};
  grpc::ByteBuffer message_, response_;
  OnMessage on_message_;
  MemoryShare share_;
  const std::shared_ptr<GrpcConnection> connection_;
  std::atomic<std::size_t>* const answered_;
  std::shared_ptr<ExportCall> self_;  // gRPC's
};

// Calls whose message has not come, in the order in which they began. Thread safety: safe.
class ReceivingCalls {
 public:
  explicit ReceivingCalls(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  std::uint64_t Add(const std::shared_ptr<ExportCall>& call);
  // By what Add said; nothing where it has been ended here.
  void Remove(std::uint64_t number);
  // Ends those that have had the time that there is for a message.
  void EndLate();
  // Ends one in favour of another, whose connection has so many: of those that have waited longest the one whose connection has
  // most. False: none waits, or none whose connection has as many.
  bool EndOneFor(std::size_t calls);

 private:
  struct Waiting {
    Deadline deadline;
    std::weak_ptr<ExportCall> call;
  };
  const std::chrono::milliseconds timeout_;
  Mutex mu_;
  std::uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::uint64_t, Waiting> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_OTLP_GRPC_CALL_H_

#include "server/otlp_grpc_call.h"

#include <grpcpp/grpcpp.h>

#include <vector>

#include "base/counters.h"
#include "interop/otlp/metrics_service.pb.h"
#include "interop/otlp/rpc_status.pb.h"
#include "server/otlp_receiver.h"

namespace chronolith::server {

using interop::otlp::MetricsWritten;

namespace {

constexpr std::int64_t kRetrySeconds = 1;

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
  ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse response;
  if (written.rejected > 0 || !written.message.empty()) {
    response.mutable_partial_success()->set_rejected_data_points(static_cast<std::int64_t>(written.rejected));
    response.mutable_partial_success()->set_error_message(written.message);
  }
  const grpc::Slice slice(response.SerializeAsString());
  return {&slice, 1};
}

}  // namespace

// ---- ExportCall ----

ExportCall::ExportCall(GrpcMetrics* metrics, MemoryBudget* in_flight, std::shared_ptr<GrpcConnection> connection,
                       std::atomic<std::size_t>* answered)
    : metrics_(metrics), begun_nanos_(NowNanos()), share_(in_flight), connection_(std::move(connection)), answered_(answered) {
  if (metrics_ != nullptr) metrics_->Begin();
}

void ExportCall::Receive(OnMessage on_message) {
  on_message_ = std::move(on_message);
  StartRead(&message_);
}

void ExportCall::OnReadDone(bool /*ok*/) {
  if (connection_ != nullptr) connection_->OnMessage();
  const OnMessage on_message = std::exchange(on_message_, nullptr);
  on_message(shared_from_this());
}

Status ExportCall::Count() {
  const std::uint64_t bytes = message_.Valid() ? message_.Length() : 0;
  if (metrics_ != nullptr) metrics_->AddBytes(bytes);
  return share_.Grow(kGrpcCallBytes + bytes) ? Status::Ok() : share_.refusal();
}

void ExportCall::DropMessage() {
  message_.Clear();
  share_.ShrinkTo(kGrpcCallBytes);
}

void ExportCall::Refuse(const Status& status) { End(ToRpc(status)); }

void ExportCall::End(grpc::Status status) {
  if (ended_.exchange(true)) return;
  OnEnd(status);
  Finish(std::move(status));
}

void ExportCall::Answer(const MetricsWritten& written) {
  if (ended()) return;  // perhaps the server has, too
  if (!written.status.ok()) return Refuse(written.status);
  grpc::ByteBuffer answer = ToBuffer(written);
  if (ended_.exchange(true)) return;
  response_.Swap(&answer);
  OnEnd(grpc::Status::OK);
  StartWriteAndFinish(&response_, {}, grpc::Status::OK);
}

void ExportCall::OnDone() {
  answered_->fetch_sub(1, std::memory_order_relaxed);
  if (connection_ != nullptr) connection_->Leave();
  self_.reset();
}

void ExportCall::OnEnd(const grpc::Status& status) {
  answered_->fetch_add(1, std::memory_order_relaxed);
  if (connection_ != nullptr) connection_->OnAnswer();
  if (metrics_ != nullptr) metrics_->End(static_cast<int>(status.error_code()), NowNanos() - begun_nanos_);
}

// ---- ReceivingCalls ----

std::uint64_t ReceivingCalls::Add(const std::shared_ptr<ExportCall>& call) {
  MutexLock lock(&mu_);
  calls_.emplace_hint(calls_.end(), ++last_, Waiting{std::chrono::steady_clock::now() + timeout_, call});
  return last_;
}

void ReceivingCalls::Remove(std::uint64_t number) {
  MutexLock lock(&mu_);
  calls_.erase(number);
}

void ReceivingCalls::EndLate() {
  std::vector<std::weak_ptr<ExportCall>> late;
  {
    MutexLock lock(&mu_);
    const Deadline now = std::chrono::steady_clock::now();
    while (!calls_.empty() && calls_.begin()->second.deadline <= now) {
      late.push_back(std::move(calls_.begin()->second.call));
      calls_.erase(calls_.begin());
    }
  }
  for (const auto& weak : late) {
    const auto call = weak.lock();
    if (call == nullptr) continue;
    call->End({grpc::StatusCode::DEADLINE_EXCEEDED, "the message did not come within the time that there is for it"});
  }
}

bool ReceivingCalls::EndOneFor(std::size_t calls) {
  constexpr int kLookedAt = 64;
  std::shared_ptr<ExportCall> found;
  {
    MutexLock lock(&mu_);
    auto place = calls_.end();
    int looked = 0;
    for (auto it = calls_.begin(); it != calls_.end() && looked < kLookedAt; ++looked) {
      auto call = it->second.call.lock();
      if (call == nullptr || call->ended()) {
        it = calls_.erase(it);
        continue;
      }
      if (found == nullptr || call->calls_beside() > found->calls_beside()) {
        found = std::move(call);
        place = it;
      }
      ++it;
    }
    if (found == nullptr || found->calls_beside() < calls) return false;
    calls_.erase(place);
  }
  found->Refuse(ResourceExhausted("too many calls are open, and the message of this one was awaited for longest"));
  return true;
}

}  // namespace chronolith::server

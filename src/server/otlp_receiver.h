// OtlpReceiver: what OTLP's two transports share: the way from a decoded request to the store, and what is counted of it.
#ifndef CHRONOLITH_SERVER_OTLP_RECEIVER_H_
#define CHRONOLITH_SERVER_OTLP_RECEIVER_H_

#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/memory_share.h"
#include "chronolith/storage.h"
#include "interop/otlp/metrics_writer.h"

namespace chronolith::server {

struct OtlpOptions {
  AckLevel level = AckLevel::kLogged;
  std::uint64_t body_bytes_max = 16ULL << 20;  // as sent
  std::uint64_t decoded_bytes_max = 32ULL << 20;
  interop::otlp::MetricsWriterOptions writer;
};

// The codes of google.rpc that OTLP's answers use.
enum class RpcCode : int {
  kOk = 0,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kUnauthenticated = 16,
};

// kResourceExhausted and kUnavailable: the sender may try again, with all of the request.
RpcCode RpcCodeOf(const Status& status);

// Thread safety: safe. Must outlive the listeners, and the storage's Close, which calls what still waits; not the storage itself.
class OtlpReceiver {
 public:
  OtlpReceiver(Storage* storage, const OtlpOptions& options, prometheus::Registry* registry);

  const OtlpOptions& options() const { return options_; }

  // Waits until the points have reached `level`. `share` grows by what is made of the request.
  interop::otlp::MetricsWritten Write(std::string_view request, AckLevel level, Deadline deadline, MemoryShare* share);
  // Calls `done` when they have, perhaps before it returns, else on a thread of the store. Waits only for room. The share may go
  // when it returns.
  void WriteThen(std::string_view request, AckLevel level, Deadline deadline, MemoryShare* share,
                 std::function<void(interop::otlp::MetricsWritten)> done);
  // Behind Storage::Reopen, which may have lost metadata that was written.
  void ForgetTold() { writer_.ForgetTold(); }

 private:
  void Count(const interop::otlp::MetricsWritten& written);

  Storage* const storage_;
  const OtlpOptions options_;
  interop::otlp::MetricsWriter writer_;
  prometheus::Counter &written_, &rejected_, &failed_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_OTLP_RECEIVER_H_

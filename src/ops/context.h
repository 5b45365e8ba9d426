// What every operation is given beside its own options.
#ifndef CHRONOLITH_OPS_CONTEXT_H_
#define CHRONOLITH_OPS_CONTEXT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "chronolith/env.h"
#include "chronolith/result.h"

namespace chronolith::ops {

// Told how far an operation is. Thread safety: implementations are safe; an operation calls from any of its threads.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // A new part of the work begins. `total` 0: not known. `unit`: "samples", "bytes", ...; a literal.
  virtual void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) = 0;
  // So many units more are done.
  virtual void Add(std::uint64_t units) = 0;
};

struct OpsContext {
  const std::atomic<bool>* cancelled = nullptr;  // polled; may be null
  ProgressSink* progress = nullptr;              // may be null
  std::uint64_t memory_limit_bytes = 256ULL << 20;
  std::shared_ptr<Logger> logger;  // may be null

  bool Cancelled() const { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
  Status CheckCancelled() const { return Cancelled() ? chronolith::Cancelled("interrupted") : Status::Ok(); }
  void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) const {
    if (progress != nullptr) progress->Begin(phase, total, unit);
  }
  void Add(std::uint64_t units) const {
    if (progress != nullptr) progress->Add(units);
  }
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CONTEXT_H_

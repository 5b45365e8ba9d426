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

// What a store may hold that a program opens which is to stay within `limit` bytes: less 64 MiB, for the program (22 MiB of code),
// its batches (20 MiB where it reads a block of a million series) and what of an engine has no bound, and a sixteenth, for what an
// allocator keeps. At least the 64 MiB that Options asks for.
constexpr std::uint64_t StoreMemoryBytes(std::uint64_t limit) {
  constexpr std::uint64_t kProgram = 64ULL << 20, kLeast = 64ULL << 20;
  const std::uint64_t kept = kProgram + limit / 16;
  return limit > kept + kLeast ? limit - kept : kLeast;
}

// Options::backpressure_wait_ms of the stores that operations write to: one that checkpoints, or whose archive is on a slow disk, is
// waited for; an operation has nothing better to do. Ten minutes: on a busy machine a checkpoint took 34 s.
inline constexpr std::int64_t kPatienceMs = 600'000;

// Time, and waiting for it: tests have one of their own. Thread safety: implementations are safe.
class OpsClock {
 public:
  virtual ~OpsClock() = default;
  virtual std::uint64_t NowNanos() = 0;
  virtual void Sleep(std::uint64_t nanos) = 0;
};
OpsClock* SystemOpsClock();

struct OpsContext {
  const std::atomic<bool>* cancelled = nullptr;  // polled; may be null
  ProgressSink* progress = nullptr;              // may be null
  std::uint64_t memory_limit_bytes = 256ULL << 20;
  std::shared_ptr<Logger> logger;  // may be null
  OpsClock* clock = SystemOpsClock();

  bool Cancelled() const { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
  Status CheckCancelled() const { return Cancelled() ? chronolith::Cancelled("interrupted") : Status::Ok(); }
  // kCancelled, looked at ten times a second.
  Status WaitUntil(std::uint64_t nanos) const;
  void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) const {
    if (progress != nullptr) progress->Begin(phase, total, unit);
  }
  void Add(std::uint64_t units) const {
    if (progress != nullptr) progress->Add(units);
  }
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CONTEXT_H_

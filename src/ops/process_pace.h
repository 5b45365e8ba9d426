// Keeps what this process reads and writes below so many bytes a second: for work that reads and writes through stores, whose
// engines do most of it on threads of their own.
#ifndef CHRONOLITH_OPS_PROCESS_PACE_H_
#define CHRONOLITH_OPS_PROCESS_PACE_H_

#include <cstdint>

#include "chronolith/result.h"
#include "ops/context.h"

namespace chronolith::ops {

// Counts what the operating system counts of the process: bytes given to and taken from files, those in its cache too. Thread
// safety: one thread.
class ProcessPace {
 public:
  // 0: no bound. The context is asked for time and cancellation, and must outlive this. kIoError: the operating system does not
  // tell (only looked at where there is a bound).
  static Result<ProcessPace> Start(const OpsContext& context, std::uint64_t bytes_per_second);
  // Whether Wait would wait.
  bool Owes() const;
  // Until what was read and written since the start has been paid for. kCancelled.
  Status Wait() const;

 private:
  ProcessPace(const OpsContext& context, std::uint64_t bytes_per_second, std::uint64_t bytes)
      : context_(&context), bytes_per_second_(bytes_per_second), bytes_(bytes), start_ns_(context.clock->NowNanos()) {}
  std::uint64_t GoOnNs() const;

  const OpsContext* context_;
  std::uint64_t bytes_per_second_;
  std::uint64_t bytes_;  // of the process, before
  std::uint64_t start_ns_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROCESS_PACE_H_

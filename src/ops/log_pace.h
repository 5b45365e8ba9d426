// Keeps the sinks of one replay together: none sends what was written to the log more than kAheadMs after what another has not sent
// yet. For targets that look at the newest sample they have of any series and refuse what is much older.
#ifndef CHRONOLITH_OPS_LOG_PACE_H_
#define CHRONOLITH_OPS_LOG_PACE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>

#include "base/mutex.h"
#include "chronolith/status.h"

namespace chronolith::ops {

// A sink's position is the write time (ms) of the oldest that it has not sent. Whoever has to wait sends first: then the one that
// is furthest behind never waits, and all get on. Each sink needs a thread of its own. Thread safety: safe.
class LogPace {
 public:
  static constexpr std::int64_t kAheadMs = 30'000;

  // A new sink, at the beginning of the log: the others wait for it until it moves or leaves.
  std::size_t Enter();
  void Leave(std::size_t sink);

  // Nothing older than `at` is unsent.
  void Move(std::size_t sink, std::int64_t at);
  // Whether the sink may collect what was written at `at`.
  bool MayGo(std::size_t sink, std::int64_t at) const;
  // Having sent all: waits until it may. kCancelled: `cancel` (may be null) became true.
  Status Await(std::size_t sink, std::int64_t at, const std::atomic<bool>* cancel);

 private:
  bool MayGoLocked(std::size_t sink, std::int64_t at) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  CondVar moved_;
  std::map<std::size_t, std::int64_t> positions_ ABSL_GUARDED_BY(mu_);
  std::size_t next_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_PACE_H_

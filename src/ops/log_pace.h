// Keeps the sinks of one replay together in time: none sends a sample more than kAheadMs newer than the oldest that another has
// read and not sent yet. For targets that refuse what is much older than the newest sample they have of any series.
#ifndef CHRONOLITH_OPS_LOG_PACE_H_
#define CHRONOLITH_OPS_LOG_PACE_H_

#include <atomic>
#include <cstddef>
#include <map>

#include "base/mutex.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith::ops {

// A sink's position is the oldest timestamp that it has not sent. Whoever has to wait sends first: so the one that is furthest
// behind never waits, and all get on. Each sink needs a thread of its own. Thread safety: safe.
class LogPace {
 public:
  static constexpr Timestamp kAheadMs = 30 * 60 * 1000;

  // How many sinks there will be: before the last has entered none goes ahead.
  void Expect(std::size_t sinks);
  // A new sink: the others wait for it until it moves or leaves.
  std::size_t Enter();
  void Leave(std::size_t sink);

  // Nothing older than `oldest` is unsent.
  void Move(std::size_t sink, Timestamp oldest);
  // The newest timestamp that the sink may collect now.
  Timestamp Horizon(std::size_t sink) const;
  // Having sent all, `next` being the next timestamp: waits until it may be collected. kCancelled: `cancel` (may be null) became
  // true.
  Status Await(std::size_t sink, Timestamp next, const std::atomic<bool>* cancel);

 private:
  Timestamp HorizonLocked(std::size_t sink) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  CondVar moved_;
  std::map<std::size_t, Timestamp> positions_ ABSL_GUARDED_BY(mu_);
  std::size_t entered_ ABSL_GUARDED_BY(mu_) = 0;
  std::size_t expected_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_PACE_H_

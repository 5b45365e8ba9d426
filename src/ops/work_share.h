// Progress of work whose extent is told by others.
#ifndef CHRONOLITH_OPS_WORK_SHARE_H_
#define CHRONOLITH_OPS_WORK_SHARE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>

#include "chronolith/options.h"
#include "ops/context.h"

namespace chronolith::ops {

// A share of the phase at hand, `units` by an estimate: what is done beyond is not counted, and what lacks when it ends is, so that
// shares add up to the phase's total. Thread safety: one thread.
class WorkShare {
 public:
  WorkShare(const OpsContext& context, std::uint64_t units) : context_(context), left_(units) {}
  ~WorkShare() { context_.Add(left_); }
  WorkShare(const WorkShare&) = delete;
  WorkShare& operator=(const WorkShare&) = delete;
  void Add(std::uint64_t units) {
    units = std::min(units, left_);
    left_ -= units;
    context_.Add(units);
  }

 private:
  const OpsContext& context_;
  std::uint64_t left_;
};

// For Options::on_replay: begins the phase, in records, again with each shard whose extent becomes known. `context` must outlive
// it. Thread safety: safe.
std::function<void(const ReplayProgress&)> TellReplay(const OpsContext& context, std::string phase);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_WORK_SHARE_H_

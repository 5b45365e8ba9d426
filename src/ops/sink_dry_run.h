// What a replay would send: counted, and sent nowhere.
#ifndef CHRONOLITH_OPS_SINK_DRY_RUN_H_
#define CHRONOLITH_OPS_SINK_DRY_RUN_H_

#include <cstdint>
#include <map>
#include <memory>

#include "ops/record_sink.h"

namespace chronolith::ops {

// Of one shard.
struct Foreseen {
  std::uint64_t series = 0;  // that items are of
  std::uint64_t samples = 0;
  std::uint64_t histograms = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t metadata = 0;
  std::uint64_t deletes = 0;
  Timestamp first = kMaxTimestamp;  // of samples, histograms and exemplars; above `last`: there are none
  Timestamp last = kMinTimestamp;
  std::uint64_t items() const { return samples + histograms + exemplars + metadata + deletes; }
};

// Takes what `target` would be given, which is never opened: what it would skip or refuse is not known. `foreseen` has a shard's
// figures when its sink is gone, and must outlive both.
std::unique_ptr<RecordTarget> NewDryRunTarget(std::unique_ptr<RecordTarget> target, std::map<ShardId, Foreseen>* foreseen);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SINK_DRY_RUN_H_

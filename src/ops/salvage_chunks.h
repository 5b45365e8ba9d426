// Reading chunk rows around blocks that cannot be read. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_CHUNKS_H_
#define CHRONOLITH_OPS_SALVAGE_CHUNKS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "block/tombstones.h"
#include "chronolith/kv_engine.h"
#include "format/chunk_rows.h"
#include "format/series_id.h"

namespace chronolith::ops {

// The smallest x in (low, high] of which `good` holds, where it holds of `high`: by steps that double, then by halving.
template <typename Good>
std::uint64_t FirstGood(std::uint64_t low, std::uint64_t high, const Good& good) {
  std::uint64_t step = 1;
  while (high - low > step && !good(low + step)) {
    low += step;
    step *= 2;
  }
  high = std::min(high, low + step);
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (good(middle) ? high : low) = middle;
  }
  return high;
}

// Rows that cannot be read: from a series of a window on, up to that which is read next.
struct ChunkGap {
  struct Place {
    Timestamp window = 0;
    std::uint64_t ordinal = 0;
  };
  std::optional<Place> begin;  // none: from the first on
  std::optional<Place> end;    // exclusive; none: to the end
  Status why;
};

// Calls `row` for each chunk row that can be read, in order of keys, and `gap` where there are some that cannot. A cursor does not
// tell where it might go on: the next series that it can be set to is sought by halving. Sound rows between two bad blocks that lie
// close together may be taken for part of the gap. The first status that is not ok ends it, as does `cancelled`.
Status ScanAroundDamage(KvEngine* engine, FamilyId family, std::int64_t window_ms, const std::atomic<bool>* cancelled,
                        const std::function<Status(std::string_view key, std::string_view value)>& row,
                        const std::function<Status(const ChunkGap&)>& gap);

// The chunks of one series in one window, as a reader merges them: at equal times the one that supersedes wins, what is hidden is
// left out. What does not decode is told to `bad`; the samples before are taken. Sorts *chunks; returns how many samples and
// exemplars were added to *series.
std::size_t MergeChunks(std::vector<Chunk>* chunks, const TombstoneView& hidden,
                        const std::function<void(const ChunkMeta&, const Status&)>& bad, TimeSeries* series);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_CHUNKS_H_

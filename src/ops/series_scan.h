// Reads the series of a store piece by piece, so that memory does not grow with their number.
#ifndef CHRONOLITH_OPS_SERIES_SCAN_H_
#define CHRONOLITH_OPS_SERIES_SCAN_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/work_bounds.h"
#include "chronolith/storage.h"

namespace chronolith::ops {

// Labels of 65,536 series take about 40 MiB, and a Select reads its chunks in batches of about 64 MiB.
inline constexpr std::size_t kSeriesAtOnce = 1 << 16;
// Fewer where an operation's bound on memory is below 256 MiB.
constexpr std::size_t SeriesAtOnce(std::uint64_t memory_limit_bytes) {
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(memory_limit_bytes >> 12, 256, kSeriesAtOnce));
}

// Ids of the series that match any of `selectors` (none: all), ascending; options.limit is not looked at. 8 bytes a series, which
// the share of `bounds` stands for.
Result<Lookup<SeriesRef>> MatchingIds(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                      const LookupOptions& options, const WorkBounds& bounds = {});
Result<std::vector<SeriesRef>> MatchingIds(Storage* storage, const std::vector<std::vector<Matcher>>& selectors);

// Calls `visit` for each piece of at most `at_once` of the ids with a set of its series, in order of their labels, which it reads
// to its end; the first status that is not ok ends the scan and is returned.
Status ScanPieces(Storage* storage, const std::vector<SeriesRef>& ids, TimeRange range, std::size_t at_once,
                  const std::atomic<bool>* cancelled, const std::function<Status(SeriesSet*)>& visit);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SERIES_SCAN_H_

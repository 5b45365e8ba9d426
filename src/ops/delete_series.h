// Deletes what selectors and a time range name, or says what that would be.
#ifndef CHRONOLITH_OPS_DELETE_SERIES_H_
#define CHRONOLITH_OPS_DELETE_SERIES_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "chronolith/storage.h"
#include "ops/context.h"

namespace chronolith::ops {

struct DeleteReport {
  std::uint64_t series = 0;   // that match, with data in the range or without
  std::uint64_t samples = 0;  // of them in the range, floats and histograms
};

// Reads all of what matches. Memory: see ops/series_scan.h. kCancelled.
Result<DeleteReport> CountMatching(Storage* storage, const std::vector<std::vector<Matcher>>& selectors, TimeRange range,
                                   const OpsContext& context);
// Synced when it returns. After an error some selectors, or shards, may have deleted theirs and others not: it may be repeated.
Status DeleteMatching(Storage* storage, const std::vector<std::vector<Matcher>>& selectors, TimeRange range);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_DELETE_SERIES_H_

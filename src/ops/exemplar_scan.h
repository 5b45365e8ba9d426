// The exemplars of the series that a selector names.
#ifndef CHRONOLITH_OPS_EXEMPLAR_SCAN_H_
#define CHRONOLITH_OPS_EXEMPLAR_SCAN_H_

#include <atomic>
#include <functional>
#include <span>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::ops {

// Calls `visit` for each of the series (as MatchingIds gives them) that has exemplars in the range, with all of those; some
// thousand series after the other, each in the order of their labels. Ends with its first error, with kDeadlineExceeded,
// kCancelled, kDataLoss or kIoError. Memory: the labels of those some thousand, and the exemplars of one series.
Status ScanExemplars(Storage* storage, std::span<const SeriesRef> ids, TimeRange range, Deadline deadline,
                     const std::atomic<bool>* cancelled,
                     const std::function<Status(const Labels&, const std::vector<Exemplar>&)>& visit);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_EXEMPLAR_SCAN_H_

// Lists the series of a store with their labels, and the names and values of those, so that memory does not grow with their number.
#ifndef CHRONOLITH_OPS_SERIES_LIST_H_
#define CHRONOLITH_OPS_SERIES_LIST_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/storage.h"
#include "ops/series_scan.h"

namespace chronolith::ops {

struct SeriesListOptions {
  std::vector<std::vector<Matcher>> selectors;  // series that match any; none: all
  LookupOptions lookup;
  bool metadata = false;                // visit gets it, too
  std::size_t at_once = kSeriesAtOnce;  // fewer where bounds.share has no room for them
  WorkBounds bounds;
};

// What of a list was left out.
struct SeriesListResult {
  bool truncated = false;  // by lookup.limit
  bool partial = false;    // by lookup.skip_damaged
};

// Calls `visit`, whose first error ends it, with each series once: in order of their labels where at most options.at_once match,
// else in order within pieces of so many; a limit then leaves out other series than the last ones. Memory: the labels of a piece,
// and 8 bytes a series.
Result<SeriesListResult> ListSeries(Storage* storage, const SeriesListOptions& options,
                                    const std::function<Status(const Labels&, const Metadata&)>& visit);

// Calls `visit` with each name of a label, or with each value of the label `name`, in order and once; of the series that match any
// of `selectors` (none: all). Memory: 16 MiB, and 2 bytes a series where not all are meant.
using VisitString = std::function<void(std::string_view)>;
Result<SeriesListResult> ListLabelNames(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                        const LookupOptions& options, const VisitString& visit);
Result<SeriesListResult> ListLabelValues(Storage* storage, const std::string& name,
                                         const std::vector<std::vector<Matcher>>& selectors, const LookupOptions& options,
                                         const VisitString& visit);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SERIES_LIST_H_

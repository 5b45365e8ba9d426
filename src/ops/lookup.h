// Names and values of labels, and series, for a caller that counts what it holds and may cancel it: the server.
#ifndef CHRONOLITH_OPS_LOOKUP_H_
#define CHRONOLITH_OPS_LOOKUP_H_

#include <memory>
#include <string>
#include <vector>

#include "base/work_bounds.h"
#include "chronolith/storage.h"

namespace chronolith::ops {

// Of the series that match any of `selectors` (none: all), as Storage's functions of these names. The share of `bounds` stands for
// the result when they return, so it must outlive that; what it refuses is the status, and kCancelled.
Result<Lookup<std::string>> LabelNames(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                       const LookupOptions& options, const WorkBounds& bounds);
Result<Lookup<std::string>> LabelValues(Storage* storage, const std::string& name,
                                        const std::vector<std::vector<Matcher>>& selectors, const LookupOptions& options,
                                        const WorkBounds& bounds);

// As Storage::Select. The set takes what it needs of the budget of bounds.share: the labels of all series while they are sorted,
// and then those of the batch of chunks at hand, which is smaller where there is little memory left.
Result<std::unique_ptr<SeriesSet>> Select(Storage* storage, const std::vector<Matcher>& matchers, TimeRange range,
                                          const SelectOptions& options, const WorkBounds& bounds);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOOKUP_H_

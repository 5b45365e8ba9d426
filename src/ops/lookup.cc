#include "ops/lookup.h"

#include "storage/storage_impl.h"

namespace chronolith::ops {

Result<Lookup<std::string>> LabelNames(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                       const LookupOptions& options, const WorkBounds& bounds) {
  return StorageImpl::Of(storage)->LabelStrings(nullptr, selectors, options, bounds);
}

Result<Lookup<std::string>> LabelValues(Storage* storage, const std::string& name,
                                        const std::vector<std::vector<Matcher>>& selectors, const LookupOptions& options,
                                        const WorkBounds& bounds) {
  return StorageImpl::Of(storage)->LabelStrings(&name, selectors, options, bounds);
}

Result<std::unique_ptr<SeriesSet>> Select(Storage* storage, const std::vector<Matcher>& matchers, TimeRange range,
                                          const SelectOptions& options, const WorkBounds& bounds) {
  return StorageImpl::Of(storage)->Select(matchers, range, options, bounds);
}

}  // namespace chronolith::ops

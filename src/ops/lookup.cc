#include "ops/lookup.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

// What several selectors found, as one. Find: Result<Lookup<std::string>>(matchers).
template <typename Find>
Result<Lookup<std::string>> Unite(const std::vector<std::vector<Matcher>>& selectors, std::uint64_t limit, const Find& find) {
  if (selectors.empty()) return find({});
  Lookup<std::string> all;
  bool first = true;
  for (const std::vector<Matcher>& selector : selectors) {
    Result<Lookup<std::string>> found = find(selector);
    if (!found.ok()) return found.status();
    all.truncated |= found->truncated;
    all.partial |= found->partial;
    if (std::exchange(first, false)) {
      all.values = std::move(found->values);
      continue;
    }
    std::vector<std::string> both;
    both.reserve(all.values.size() + found->values.size());
    std::set_union(std::make_move_iterator(all.values.begin()), std::make_move_iterator(all.values.end()),
                   std::make_move_iterator(found->values.begin()), std::make_move_iterator(found->values.end()),
                   std::back_inserter(both));
    all.values = std::move(both);
  }
  if (limit > 0 && all.values.size() > limit) {
    all.values.resize(limit);
    all.truncated = true;
  }
  return all;
}

}  // namespace

Result<Lookup<std::string>> LabelNames(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                       const LookupOptions& options, const WorkBounds& bounds) {
  StorageImpl* const store = StorageImpl::Of(storage);
  return Unite(selectors, options.limit,
               [&](const std::vector<Matcher>& matchers) { return store->LabelNames(matchers, options, bounds); });
}

Result<Lookup<std::string>> LabelValues(Storage* storage, const std::string& name,
                                        const std::vector<std::vector<Matcher>>& selectors, const LookupOptions& options,
                                        const WorkBounds& bounds) {
  StorageImpl* const store = StorageImpl::Of(storage);
  return Unite(selectors, options.limit,
               [&](const std::vector<Matcher>& matchers) { return store->LabelValues(name, matchers, options, bounds); });
}

Result<std::unique_ptr<SeriesSet>> Select(Storage* storage, const std::vector<Matcher>& matchers, TimeRange range,
                                          const SelectOptions& options, const WorkBounds& bounds) {
  return StorageImpl::Of(storage)->Select(matchers, range, options, bounds);
}

}  // namespace chronolith::ops

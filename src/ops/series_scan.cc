#include "ops/series_scan.h"

#include <algorithm>
#include <span>

#include "storage/storage_impl.h"

namespace chronolith::ops {

Result<Lookup<SeriesRef>> MatchingIds(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                      const LookupOptions& options, const WorkBounds& bounds) {
  StorageImpl* const store = StorageImpl::Of(storage);
  if (selectors.empty()) return store->MatchingIds({}, options, bounds);
  Lookup<SeriesRef> all;
  std::vector<SeriesRef>& ids = all.values;
  for (const auto& matchers : selectors) {
    auto found = store->MatchingIds(matchers, options, bounds);
    if (!found.ok()) return found.status();
    all.partial |= found->partial;
    if (ids.empty()) {
      ids = std::move(found->values);
      continue;
    }
    if (Status s = bounds.Take(found->values.size() * sizeof(SeriesRef)); !s.ok()) return s;
    const auto middle = static_cast<std::ptrdiff_t>(ids.size());
    ids.insert(ids.end(), found->values.begin(), found->values.end());
    const auto by_id = [](SeriesRef a, SeriesRef b) { return a.id < b.id; };
    std::inplace_merge(ids.begin(), ids.begin() + middle, ids.end(), by_id);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  }
  return all;
}

Result<std::vector<SeriesRef>> MatchingIds(Storage* storage, const std::vector<std::vector<Matcher>>& selectors) {
  Result<Lookup<SeriesRef>> found = MatchingIds(storage, selectors, {});
  if (!found.ok()) return found.status();
  return std::move(found->values);
}

Status ScanPieces(Storage* storage, const std::vector<SeriesRef>& ids, TimeRange range, std::size_t at_once,
                  const std::atomic<bool>* cancelled, const std::function<Status(SeriesSet*)>& visit) {
  for (std::size_t begin = 0; begin < ids.size(); begin += at_once) {
    SelectOptions options;
    options.cancelled = cancelled;
    options.among = std::span(ids).subspan(begin, std::min(at_once, ids.size() - begin));
    auto set = storage->Select({}, range, options);
    if (!set.ok()) return set.status();
    if (Status s = visit(set->get()); !s.ok()) return s;
    if (Status s = (*set)->status(); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace chronolith::ops

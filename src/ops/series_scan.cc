#include "ops/series_scan.h"

#include <algorithm>
#include <span>

namespace chronolith::ops {

Result<std::vector<SeriesRef>> MatchingIds(Storage* storage, const std::vector<std::vector<Matcher>>& selectors) {
  if (selectors.empty()) return storage->SeriesIds({});
  std::vector<SeriesRef> all;
  for (const auto& matchers : selectors) {
    auto ids = storage->SeriesIds(matchers);
    if (!ids.ok()) return ids.status();
    const auto middle = static_cast<std::ptrdiff_t>(all.size());
    all.insert(all.end(), ids->begin(), ids->end());
    const auto by_id = [](SeriesRef a, SeriesRef b) { return a.id < b.id; };
    std::inplace_merge(all.begin(), all.begin() + middle, all.end(), by_id);
    all.erase(std::unique(all.begin(), all.end()), all.end());
  }
  return all;
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

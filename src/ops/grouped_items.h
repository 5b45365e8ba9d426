// GroupedItems: items of several series, collected as they come, then side by side.
#ifndef CHRONOLITH_OPS_GROUPED_ITEMS_H_
#define CHRONOLITH_OPS_GROUPED_ITEMS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace chronolith::ops {

// Series are numbered from 0. Its memory is kept for the next round. Thread safety: one thread.
template <typename Item>
class GroupedItems {
 public:
  void Add(std::uint32_t series, Item item) {
    of_.push_back(series);
    items_.push_back(std::move(item));
  }

  // Ends a round, of the series below `series`: all that was added is in Of until the next one, and nothing is collected.
  void Group(std::size_t series) {
    ends_.assign(items_.empty() ? 0 : series + 1, 0);
    for (const std::uint32_t s : of_) ++ends_[s + 1];
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    grouped_.resize(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) grouped_[ends_[of_[i]]++] = std::move(items_[i]);
    of_.clear();
    items_.clear();
  }
  // In the order in which they came.
  std::span<Item> Of(std::uint32_t series) {
    if (ends_.empty()) return {};
    const std::uint32_t begin = series == 0 ? 0 : ends_[series - 1];
    return std::span(grouped_).subspan(begin, ends_[series] - begin);
  }

 private:
  std::vector<std::uint32_t> of_;  // which series the item is of
  std::vector<Item> items_;
  std::vector<Item> grouped_;
  std::vector<std::uint32_t> ends_;  // of the series in grouped_
};

// Sorts by time; of several items of one time the last stays. Returns how many went.
template <typename Item>
std::uint64_t OrderByTime(std::span<Item>* items) {
  const auto not_ascending = [](const Item& a, const Item& b) { return a.timestamp >= b.timestamp; };
  if (std::adjacent_find(items->begin(), items->end(), not_ascending) == items->end()) return 0;
  std::stable_sort(items->begin(), items->end(), [](const Item& a, const Item& b) { return a.timestamp < b.timestamp; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < items->size(); ++i) {
    if (i + 1 < items->size() && (*items)[i].timestamp == (*items)[i + 1].timestamp) continue;
    if (kept != i) (*items)[kept] = std::move((*items)[i]);
    ++kept;
  }
  const std::uint64_t gone = items->size() - kept;
  *items = items->first(kept);
  return gone;
}

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_GROUPED_ITEMS_H_

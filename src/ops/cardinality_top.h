// The largest of what was counted, and the order of what has equally many.
#ifndef CHRONOLITH_OPS_CARDINALITY_TOP_H_
#define CHRONOLITH_OPS_CARDINALITY_TOP_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/cardinality.h"

namespace chronolith::ops {

// Keeps the k largest.
template <typename T, typename Before>
class Top {
 public:
  Top(std::size_t k, Before before) : k_(k), kept_(before) {}
  void Offer(T item) {
    if (k_ == 0) return;
    kept_.insert(std::move(item));
    if (kept_.size() > k_) kept_.erase(std::prev(kept_.end()));
  }
  // Whether an item with so many may be among them.
  bool Wants(std::uint64_t series) const { return kept_.size() < k_ || (k_ > 0 && series >= std::prev(kept_.end())->series); }
  std::vector<T> Take() const { return {kept_.begin(), kept_.end()}; }

 private:
  const std::size_t k_;
  std::set<T, Before> kept_;
};

inline bool MoreSeries(const PairCount& a, const PairCount& b) {
  return std::tie(b.series, a.name, a.value) < std::tie(a.series, b.name, b.value);
}
inline bool NameHasMoreSeries(const NameCount& a, const NameCount& b) {
  return std::tie(b.series, a.name) < std::tie(a.series, b.name);
}
inline bool NameHasMoreValues(const NameCount& a, const NameCount& b) {
  return std::tie(b.values, a.name) < std::tie(a.values, b.name);
}

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CARDINALITY_TOP_H_

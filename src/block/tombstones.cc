#include "block/tombstones.h"

#include <algorithm>

namespace chronolith {
namespace {

bool EarlierLsn(const std::shared_ptr<const Tombstone>& a, Lsn lsn) { return a->lsn < lsn; }

// The inclusive end of a chunk as an exclusive one. A sample at the last millisecond of the type does not exist (writes refuse it).
Timestamp EndOf(const ChunkMeta& chunk) { return chunk.max_time == kMaxTimestamp ? kMaxTimestamp : chunk.max_time + 1; }

}  // namespace

void TombstoneView::HiddenIn(const ChunkMeta& chunk, TimeRange range, std::vector<TimeRange>* hidden) const {
  hidden->clear();
  const Timestamp end = EndOf(chunk);
  const Timestamp start = std::max(floor_, range.start);
  if (chunk.min_time < start) hidden->push_back({chunk.min_time, std::min(end, start)});
  if (range.end < end) hidden->push_back({std::max(chunk.min_time, range.end), end});
  for (auto it = list_->rbegin(); it != list_->rend() && (*it)->lsn > chunk.creation_lsn; ++it) {
    const Tombstone& tombstone = **it;
    if (!tombstone.range.Overlaps(chunk.min_time, chunk.max_time) || !tombstone.ordinals.Contains(chunk.ordinal)) continue;
    hidden->push_back({std::max(chunk.min_time, tombstone.range.start), std::min(end, tombstone.range.end)});
  }
  if (hidden->size() < 2) return;
  std::sort(hidden->begin(), hidden->end(), [](const TimeRange& a, const TimeRange& b) { return a.start < b.start; });
  std::size_t last = 0;
  for (std::size_t i = 1; i < hidden->size(); ++i) {
    if ((*hidden)[i].start <= (*hidden)[last].end) {
      (*hidden)[last].end = std::max((*hidden)[last].end, (*hidden)[i].end);
    } else {
      (*hidden)[++last] = (*hidden)[i];
    }
  }
  hidden->resize(last + 1);
}

void TombstoneView::UnionWith(const TombstoneView& other) {
  floor_ = std::max(floor_, other.floor_);
  if (list_ == other.list_) return;
  auto list = std::make_shared<List>();
  std::set_union(list_->begin(), list_->end(), other.list_->begin(), other.list_->end(), std::back_inserter(*list),
                 [](const auto& a, const auto& b) { return a->lsn < b->lsn; });
  list_ = std::move(list);
}

TombstoneView TombstoneView::UpTo(Lsn lsn) const {
  const auto end = std::lower_bound(list_->begin(), list_->end(), lsn + 1, EarlierLsn);
  if (end == list_->end()) return *this;
  return {std::make_shared<List>(list_->begin(), end), floor_};
}

void Tombstones::Add(Tombstone tombstone) {
  auto added = std::make_shared<const Tombstone>(std::move(tombstone));
  MutexLock lock(&mu_);
  auto list = std::make_shared<List>(*list_);
  const auto at = std::lower_bound(list->begin(), list->end(), added->lsn, EarlierLsn);
  if (at != list->end() && (*at)->lsn == added->lsn) return;
  list->insert(at, std::move(added));
  list_ = std::move(list);
  added_.fetch_add(1, std::memory_order_release);
}

void Tombstones::Drop(Lsn lsn) {
  MutexLock lock(&mu_);
  auto list = std::make_shared<List>(*list_);
  std::erase_if(*list, [lsn](const auto& t) { return t->lsn == lsn; });
  list_ = std::move(list);
}

std::shared_ptr<const Tombstones::List> Tombstones::Get() const {
  ReaderMutexLock lock(&mu_);
  return list_;
}

TombstoneView Tombstones::View() const { return {Get(), floor()}; }

void Tombstones::RaiseFloor(Timestamp floor) {
  Timestamp now = floor_.load(std::memory_order_relaxed);
  while (now < floor && !floor_.compare_exchange_weak(now, floor, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

Timestamp Tombstones::floor() const { return floor_.load(std::memory_order_acquire); }

std::vector<TimeRange> Tombstones::HiddenIn(const ChunkMeta& chunk) const {
  std::vector<TimeRange> hidden;
  View().HiddenIn(chunk, TimeRange{}, &hidden);
  return hidden;
}

}  // namespace chronolith

// Tombstones: what Delete has hidden in one shard, and the retention floor. In memory whole (deletes are few); their rows live in
// the family chunk.<k>.
#ifndef CHRONOLITH_BLOCK_TOMBSTONES_H_
#define CHRONOLITH_BLOCK_TOMBSTONES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "format/chunk_rows.h"

namespace chronolith {

// The tombstones and the floor of one moment. Thread safety: as a value type.
class TombstoneView {
 public:
  using List = std::vector<std::shared_ptr<const Tombstone>>;  // ascending by lsn

  TombstoneView() = default;
  TombstoneView(std::shared_ptr<const List> list, Timestamp floor) : list_(std::move(list)), floor_(floor) {}

  const List& list() const { return *list_; }
  Timestamp floor() const { return floor_; }

  // The parts of `chunk`'s time span that are hidden: by tombstones, by the floor, and by lying outside of `range`. Cut to that
  // span; ascending, disjoint, not adjacent. Replaces *hidden; empty: all visible. Nearly free where there are no tombstones.
  void HiddenIn(const ChunkMeta& chunk, TimeRange range, std::vector<TimeRange>* hidden) const;

  // Adds the tombstones that only `other` has; the higher floor.
  void UnionWith(const TombstoneView& other);
  void RaiseFloor(Timestamp floor) { floor_ = std::max(floor_, floor); }
  // Leaves out the tombstones with a later lsn.
  TombstoneView UpTo(Lsn lsn) const;

 private:
  std::shared_ptr<const List> list_ = std::make_shared<List>();
  Timestamp floor_ = kMinTimestamp;
};

// Thread safety: safe; an immutable list is swapped on change, readers pay one shared lock.
class Tombstones {
 public:
  using List = TombstoneView::List;

  // Idempotent: a tombstone whose lsn is already there is left alone.
  void Add(Tombstone tombstone);
  void Drop(Lsn lsn);  // after compaction has applied it
  std::shared_ptr<const List> Get() const;
  TombstoneView View() const;
  // How many were added so far.
  std::uint64_t added() const { return added_.load(std::memory_order_acquire); }

  // Samples before it have expired. Only ever raised.
  void RaiseFloor(Timestamp floor);
  Timestamp floor() const;

  std::vector<TimeRange> HiddenIn(const ChunkMeta& chunk) const;

 private:
  mutable Mutex mu_;
  std::shared_ptr<const List> list_ ABSL_GUARDED_BY(mu_) = std::make_shared<List>();
  std::atomic<std::uint64_t> added_{0};
  std::atomic<Timestamp> floor_{kMinTimestamp};
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_TOMBSTONES_H_

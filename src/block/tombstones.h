// Tombstones: what Delete has hidden in one shard, and the retention floor. In memory whole (deletes are few); their rows live in
// the family chunk.<k>.
#ifndef CHRONOLITH_BLOCK_TOMBSTONES_H_
#define CHRONOLITH_BLOCK_TOMBSTONES_H_

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "format/chunk_row.h"
#include "format/series_id.h"

namespace chronolith {

// Hides samples in `range` of `ordinals` in chunks with creation_lsn < lsn. (A delete cuts the open chunks, so no chunk is partly
// older.)
struct Tombstone {
  Lsn lsn = 0;
  TimeRange range;
  OrdinalSet ordinals;
};

// Thread safety: safe; an immutable list is swapped on change, readers pay one shared lock.
class Tombstones {
 public:
  using List = std::vector<std::shared_ptr<const Tombstone>>;  // ascending by lsn

  // Idempotent: a tombstone whose lsn is already there is left alone.
  void Add(Tombstone tombstone);
  void Drop(Lsn lsn);  // after compaction has applied it
  std::shared_ptr<const List> Get() const;

  // Samples before it have expired. Only ever raised.
  void RaiseFloor(Timestamp floor);
  Timestamp floor() const;

  // The parts of `chunk`'s time span that are hidden, floor included; ascending, disjoint; empty: all visible.
  std::vector<TimeRange> HiddenIn(const ChunkMeta& chunk) const;

 private:
  mutable Mutex mu_;
  std::shared_ptr<const List> list_ ABSL_GUARDED_BY(mu_) = std::make_shared<List>();
  std::atomic<Timestamp> floor_{kMinTimestamp};
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_TOMBSTONES_H_

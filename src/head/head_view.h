// HeadView: what a query asks of a head.
#ifndef CHRONOLITH_HEAD_HEAD_VIEW_H_
#define CHRONOLITH_HEAD_HEAD_VIEW_H_

#include <span>
#include <vector>

#include "base/ordinal_set.h"
#include "format/chunk_row.h"
#include "format/series_id.h"

namespace chronolith {

// Thread safety: all may be called concurrently, also beside writers.
class HeadView {
 public:
  virtual ~HeadView() = default;
  // The newest chunk begun in this head, or an older one: a chunk that is newer was begun after the call.
  virtual ChunkAge NewestChunk() const = 0;
  // Copies the in-memory chunks of each ordinal (ascending) that overlap `range`, of types type_from..type_to: (*chunks)[i] belongs
  // to ordinals[i]. A chunk that is also stored is the newer version of it.
  virtual void Collect(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
                       std::vector<std::vector<Chunk>>* chunks) const = 0;
  // Adds the ordinals that have an in-memory sample overlapping `range`.
  virtual void OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_HEAD_VIEW_H_

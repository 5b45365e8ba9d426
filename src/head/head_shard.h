// HeadShard: see the class comment below. (Interface that readers use; the writers' part grows with the write path.)
#ifndef CHRONOLITH_HEAD_HEAD_SHARD_H_
#define CHRONOLITH_HEAD_HEAD_SHARD_H_

#include <span>
#include <vector>

#include "base/ordinal_set.h"
#include "format/chunk_row.h"
#include "format/series_id.h"

namespace chronolith {

class HeadShard {
 public:
  // Copies the in-memory chunks of each ordinal (ascending) that overlap `range`, of types type_from..type_to: (*chunks)[i] belongs to
  // ordinals[i]. A chunk that is also stored is the newer version of it.
  void Collect(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
               std::vector<std::vector<Chunk>>* chunks) const;
  // Adds the ordinals that have an in-memory sample overlapping `range`.
  void OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const;
};

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_HEAD_SHARD_H_

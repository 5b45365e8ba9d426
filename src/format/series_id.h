// SeriesId: which series, in a whole store. Shard number and the series' ordinal within the shard, packed in 64 bits.
#ifndef CHRONOLITH_FORMAT_SERIES_ID_H_
#define CHRONOLITH_FORMAT_SERIES_ID_H_

#include <cstdint>

#include "chronolith/storage.h"

namespace chronolith {

// Dense from 0 within a shard; never reused.
using Ordinal = std::uint32_t;
// A globally unique shard number.
using ShardId = std::uint32_t;

// SeriesRef::id is (shard + 1) << 32 | ordinal, so that 0 is no series.
inline SeriesRef MakeSeriesRef(ShardId shard, Ordinal ordinal) {
  return {(static_cast<std::uint64_t>(shard + 1) << 32) | ordinal};
}
inline ShardId ShardOf(SeriesRef ref) { return static_cast<ShardId>(ref.id >> 32) - 1; }
inline Ordinal OrdinalOf(SeriesRef ref) { return static_cast<Ordinal>(ref.id); }

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_SERIES_ID_H_

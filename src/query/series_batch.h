// SeriesBatch: the chunks of a run of series, read from head and store of their shards.
#ifndef CHRONOLITH_QUERY_SERIES_BATCH_H_
#define CHRONOLITH_QUERY_SERIES_BATCH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/prefetch.h"
#include "block/chunk_set.h"
#include "block/series_parts.h"
#include "block/tombstones.h"
#include "query/damage_policy.h"
#include "query/poll.h"
#include "query/select.h"

namespace chronolith {

// Which series: the shard's index in QueryContext::shards, and the ordinal.
struct SeriesAt {
  std::uint32_t shard = 0;
  Ordinal ordinal = 0;
};

// Reusable: a second Load replaces the contents and keeps the memory. Thread safety: one thread at a time.
class SeriesBatch {
 public:
  SeriesBatch(const QueryContext* context, ChunkType type_from, ChunkType type_to)
      : context_(context), type_from_(type_from), type_to_(type_to), shards_(context->shards.size()) {}

  // For a scan: it does not displace what others have in the block cache.
  void LeaveCache() { fill_cache_ = false; }

  // Reads the chunks of all `series` (distinct, in any order) that overlap `range`. Series of a shard that is left out have none.
  Status Load(std::span<const SeriesAt> series, TimeRange range, Poll* poll, DamagePolicy* damage);

  // The visible chunks of the i-th series of Load, sorted by time. Views into this batch.
  void PartsOf(std::size_t i, SeriesParts* parts) const;

  // Fetches the i-th series' chunks into the processor's cache, and finds those of the next; i may be too many.
  CHRONOLITH_PREFETCHES void Prefetch(std::size_t i) const {
    if (i + 1 < series_.size()) shards_[series_[i + 1].shard].stored.Prefetch(place_[i + 1]);
    if (i >= series_.size()) return;
    for (const ChunkSlice& chunk : shards_[series_[i].shard].stored.Of(place_[i])) chronolith::Prefetch(chunk.data);
  }

  // Of all chunks, bookkeeping included.
  std::size_t bytes() const { return bytes_; }

 private:
  struct Shard {
    std::vector<std::uint32_t> series;  // which of Load's, by ascending ordinal
    std::vector<Ordinal> ordinals;
    TombstoneView tombstones;
    std::vector<std::vector<Chunk>> head;
    ChunkSet stored;
  };

  Status LoadShard(const ShardReader& reader, Poll* poll, Shard* shard);

  const QueryContext* const context_;
  const ChunkType type_from_;
  const ChunkType type_to_;
  bool fill_cache_ = true;
  TimeRange range_;
  std::vector<Shard> shards_;
  std::vector<SeriesAt> series_;
  std::vector<std::uint32_t> place_;  // of the i-th series in its shard
  std::size_t bytes_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_SERIES_BATCH_H_

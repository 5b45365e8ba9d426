// ChunkStore: the stored chunks of one shard, the family chunk.<k>.
//
// Place in the data's path: a checkpoint writes the head's chunks here; a query reads them back and merges them with the head's;
// compaction merges small and overlapping chunks of a window and applies tombstones; retention drops whole windows.
//
// Thread safety: all methods may be called concurrently; Write and Compact of one shard are each called by one thread at a time.
#ifndef CHRONOLITH_BLOCK_CHUNK_STORE_H_
#define CHRONOLITH_BLOCK_CHUNK_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/ordinal_set.h"
#include "block/tombstones.h"
#include "chronolith/kv_engine.h"
#include "chronolith/storage.h"
#include "format/chunk_row.h"
#include "format/series_id.h"

namespace chronolith {

// What a family chunk.<k> says of itself: written in the last batch of each checkpoint.
struct ChunkState {
  Lsn applied_lsn = 0;  // lower bound: every sample, delete and floor record up to it is in the rows
  Timestamp floor = kMinTimestamp;
  std::uint64_t epoch = 0;  // of the shard, when written
};

struct ChunkStoreOptions {
  std::uint32_t shard = 0;
  FamilyId family = 0;
  Epoch epoch = 0;
  std::int64_t window_ms = 0;
  std::uint32_t max_samples_per_chunk = 240;
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;
};

class ChunkStore {
 public:
  ChunkStore(KvEngine* engine, const ChunkStoreOptions& options);
  ~ChunkStore();

  // Reads the state row and the tombstones. kDataLoss, kFailedPrecondition (newer format).
  Result<ChunkState> Load();

  // Writes chunks (an open one overwrites its earlier row) and all tombstones not yet stored, in idempotent batches within the
  // engine's limits. Does not flush. Chunks may come in any order; they are sorted by key. Several calls make up one checkpoint;
  // Finish writes the state row.
  Status Write(std::vector<Chunk> chunks);
  Status Finish(const ChunkState& state);

  // The stored chunks of each ordinal (ascending) that overlap `range`: (*chunks)[i] belongs to ordinals[i], in key order. Nothing is
  // filtered by tombstones or merged. Cost: one seek a (window, run of adjacent ordinals).
  Status Read(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
              std::vector<std::vector<Chunk>>* chunks) const;

  // Ordinals that have a sample chunk overlapping `range` (by windows and chunk spans).
  Status OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const;

  // Merges chunks of each window, applies tombstones and the floor. `open_in_head` tells which chunks may still grow: they are left
  // alone. Tombstones with lsn <= `trimmed_to` that were fully applied are dropped.
  Status Compact(const CompactOptions& options, Lsn trimmed_to, const std::function<bool(const ChunkMeta&)>& open_in_head,
                 CompactResult* result);
  // Drops whole windows below the floor.
  Status Expire();

  Tombstones& tombstones() { return tombstones_; }
  const Tombstones& tombstones() const { return tombstones_; }

  // The bytes on disk and start of each window that has chunks, ascending; for retention by size.
  struct WindowSize {
    Timestamp window;
    std::uint64_t bytes;
  };
  Result<std::vector<WindowSize>> Windows() const;

 private:
  KvEngine* const engine_;
  const ChunkStoreOptions options_;
  Tombstones tombstones_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_STORE_H_

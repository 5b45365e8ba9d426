// ChunkStore: the stored chunks of one shard, the family chunk.<k>.
//
// Place in the data's path: a checkpoint writes the head's chunks here; a query reads them back and merges them with the head's;
// compaction merges small and overlapping chunks of a window and applies tombstones; retention drops whole windows.
//
// Thread safety: all methods may be called concurrently; Write and Compact of one shard are each called by one thread at a time.
#ifndef CHRONOLITH_BLOCK_CHUNK_STORE_H_
#define CHRONOLITH_BLOCK_CHUNK_STORE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/counters.h"
#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "block/chunk_row_writer.h"
#include "block/chunk_set.h"
#include "block/expiry_filter.h"
#include "block/tombstones.h"
#include "chronolith/kv_engine.h"
#include "chronolith/storage.h"
#include "format/chunk_row.h"
#include "format/chunk_rows.h"
#include "format/series_id.h"

namespace chronolith {

struct ChunkStoreOptions {
  std::uint32_t shard = 0;
  FamilyId family = 0;
  Epoch epoch = 0;
  std::int64_t window_ms = 0;
  std::uint32_t max_samples_per_chunk = 240;
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;
  std::shared_ptr<ExpiryFilter> expiry;  // the drop filter of the family; null: none
};

struct ChunkReadOptions {
  TimeRange range;
  ChunkType type_from = ChunkType::kXor;
  ChunkType type_to = ChunkType::kHistogram;  // inclusive
  bool fill_cache = true;                     // false for scans that should not displace hot blocks
  std::function<Status()> poll;               // asked every thousand rows or so; an error ends the read
};

// One compaction of a shard.
struct ChunkCompactOptions {
  bool dry_run = false;
  // With dry_run: as if the floor were this high, and a checkpoint had just been made.
  Timestamp floor = kMinTimestamp;
  bool all_applied = false;
  OrdinalSet* with_data = nullptr;  // gets the ordinals that OrdinalsWithData would find at the end; null: they are not wanted
};

// How Write stores chunks: as they are, or float chunks packed (packed_chunk.h) where that is smaller. Packing costs some
// 25 ns a sample (bench/chunk_bench), so it is for chunks that will not soon be written again.
enum class Packing : std::uint8_t { kNone, kFloats };

class ChunkStore {
 public:
  ChunkStore(KvEngine* engine, const ChunkStoreOptions& options);
  ~ChunkStore();

  // Reads the state row and the tombstones. kDataLoss, kFailedPrecondition (newer format).
  Result<ChunkState> Load();

  // ---- Checkpoint ----
  // Writes chunks (an open one overwrites its earlier row), in idempotent batches within the engine's limits. Does not flush.
  // Chunks may come in any order; they are sorted by key. Several calls make up one checkpoint. kInvalidArgument where a payload
  // does not fit a row.
  Status Write(std::vector<ChunkSlice> chunks, Packing packing = Packing::kFloats);
  // Writes the tombstones up to state.applied_lsn that are not stored yet, then the state row. (A later tombstone may not be synced
  // in the log; stored already, it could hide what is written after a power loss under the same LSN.)
  Status Finish(const ChunkState& state);

  // ---- Queries ----
  // The stored chunks of each ordinal (ascending, distinct) that overlap the range. Nothing is filtered by tombstones or merged.
  // Sees everything whose Write returned before. Cost: about 0.1 us a chunk where the ordinals are dense, else a seek a (window,
  // run of near ordinals).
  Status Read(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, ChunkSet* chunks) const;
  // Which of them have a stored chunk of these types in a window that the range touches. By keys: a chunk may turn out to lie
  // beside the range, to be hidden, or to be damaged. Costs as Read, but copies and checks nothing.
  Status HaveRows(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, std::vector<bool>* have) const;

  // Differs from an earlier call's where meanwhile a delete came or a compaction replaced chunks: what was read between the two may
  // be of several moments.
  std::uint64_t changes() const { return tombstones_.added() + replacements_.load(std::memory_order_acquire); }

  // Bytes on disk of all windows that overlap `range`, estimated; what is not flushed may be left out. For planning: 0 on any
  // error.
  std::uint64_t EstimateBytes(TimeRange range) const;

  // Adds the ordinals that have a sample chunk overlapping `range` (by windows and chunk spans). `stop` is asked each few hundred
  // rows: kCancelled.
  Status OrdinalsWithData(TimeRange range, OrdinalSet* ordinals, const std::function<bool()>& stop = nullptr) const;

  // ---- Upkeep ----
  // Merges chunks of each window, applies tombstones and the floor (chunk_compactor.h says how). `in_head` tells which chunks the
  // head still holds and may write again: they are left alone. It is called under this store's row lock, so it must not call this
  // store. Tombstones with lsn <= `trimmed_to` that were fully applied are dropped. Adds to *figures. `between` is called after
  // each window and every few megabytes: a checkpoint may be made there, and nowhere else meanwhile; its error ends the compaction.
  // The engine gives the space back when it compacts.
  Status Compact(const ChunkCompactOptions& options, Lsn trimmed_to, const std::function<bool(const ChunkMeta&)>& in_head,
                 CompactFigures* figures, const std::function<Status()>& between = nullptr);
  // Adds the rows of windows that lie wholly below `floor` to *figures, as deleted, where Expire or the engine has not dropped them
  // yet. `between` as above.
  Status CountExpired(Timestamp floor, CompactFigures* figures, const std::function<Status()>& between) const;
  // The same for one window, for the background: drops no tombstones. `stop` is asked every few megabytes. False: stopped before
  // the end; else the window counts as tidy, also after an error.
  Result<bool> CompactWindow(Timestamp window, const std::function<bool(const ChunkMeta&)>& in_head,
                             const std::function<bool()>& stop);
  // Windows that end at or before `before` and that have, since they were compacted or since Load, taken chunks that compaction
  // would merge (overlays, and all that is stored first after Load: it cuts the chunks of before short): an eighth of their bytes
  // or more.
  std::vector<Timestamp> UntidyWindows(Timestamp before) const;
  // Drops whole windows below the floor of tombstones(), which is durable in the log.
  Status Expire();

  Tombstones& tombstones() { return tombstones_; }
  const Tombstones& tombstones() const { return tombstones_; }
  const ChunkStoreOptions& options() const { return options_; }

  // The bytes on disk and start of each window that has chunks, ascending; for retention by size.
  struct WindowSize {
    Timestamp window;
    std::uint64_t bytes;
  };
  Result<std::vector<WindowSize>> Windows() const;

  // chunk_rows_written, chunk_payload_bytes, chunk_samples: of Write, since open.
  void FillStats(ShardStats* stats) const;

 private:
  friend class ChunkCompactor;

  Status Named(Status status) const { return status.ok() ? status : status.WithContext(name_); }
  Status LoadTombstones(const ChunkState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(rows_mu_);
  Status WriteTombstones(Lsn up_to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(rows_mu_);
  template <typename Visit>
  Status Walk(std::span<const Ordinal> ordinals, const ChunkReadOptions& options, const Visit& visit) const;
  Result<std::unique_ptr<KvIterator>> NewIterator(std::string lower, std::string upper, bool fill_cache) const;

  KvEngine* const engine_;
  const ChunkStoreOptions options_;
  const std::string name_;  // of the family, for messages
  Tombstones tombstones_;

  // Held while rows are written, and by compaction from reading rows to replacing them.
  mutable Mutex rows_mu_;
  ChunkState state_ ABSL_GUARDED_BY(rows_mu_);
  std::set<Lsn> stored_tombstones_ ABSL_GUARDED_BY(rows_mu_);
  std::map<Timestamp, std::uint64_t> untidy_ ABSL_GUARDED_BY(rows_mu_);  // window -> bytes that compaction would merge
  bool continued_ ABSL_GUARDED_BY(rows_mu_) = false;                     // Load found chunks, and nothing was stored since

  std::atomic<std::uint64_t> replacements_{0};  // of chunks by compaction, begun

  SharedCounter rows_written_;
  SharedCounter payload_bytes_;
  SharedCounter samples_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_STORE_H_

// HeadShard: the newest samples of one shard, in memory: per series the open chunk, and the closed ones that no checkpoint holds
// yet.
//
// Place in the data's path: a write appends here under the shard's append lock, together with its log record; a checkpoint copies
// chunks to the store and frees them here; a query copies what it needs. The head is rebuilt by replaying the log.
//
// Per series one 64-byte entry (one cache line), in pages addressed by the ordinal: an append in time order touches that line and,
// once in 64 bits, the chunk's buffer. What is rare lives beside, in ColdSeries: overlays (samples that came late), histograms,
// exemplars.
//
// Chunks that replay builds carry the epoch of this head, not that of the record: so they take precedence over what an earlier
// head had stored of the same records (ChunkMeta::Supersedes).
//
// Thread safety: mu() is the shard's append lock. Methods marked "append lock" need it held exclusively; the others take it shared.
#ifndef CHRONOLITH_HEAD_HEAD_SHARD_H_
#define CHRONOLITH_HEAD_HEAD_SHARD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "chronolith/options.h"
#include "chronolith/stats.h"
#include "chunk/xor_chunk.h"
#include "format/chunk_row.h"
#include "format/series_id.h"
#include "format/wal_record.h"
#include "head/buffer_pool.h"
#include "head/cold_series.h"
#include "head/head_view.h"

namespace chronolith {

struct HeadOptions {
  std::uint64_t epoch = 0;
  std::int64_t window_ms = 0;
  std::uint32_t max_samples_per_chunk = 240;
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;
};

// Chunks for a checkpoint to store, either closed or open ones. Closed ones lie in the head, unchanged until the checkpoint is
// finished or aborted; open ones are copies.
struct CheckpointSlice {
  CheckpointSlice() = default;
  CheckpointSlice(CheckpointSlice&&) = default;  // the copies stay where they are
  CheckpointSlice& operator=(CheckpointSlice&&) = default;

  std::vector<ChunkSlice> chunks;
  std::deque<std::string> copies;
  std::uint64_t bytes = 0;
  bool open = false;

  void AddCopy(const ChunkMeta& meta, std::string data) {
    open = true;
    copies.push_back(std::move(data));
    Add(meta, copies.back());
  }
  void Add(const ChunkMeta& meta, std::string_view data) {
    chunks.push_back({meta, data});
    bytes += sizeof(ChunkSlice) + data.size();
  }
};

// What a head holds: chunks of all types, and the time span of samples; kMaxTimestamp and kMinTimestamp where there are none.
struct HeadExtent {
  std::uint64_t chunks = 0;
  Timestamp min_time = kMaxTimestamp;
  Timestamp max_time = kMinTimestamp;
};

class HeadShard : public HeadView {
 public:
  explicit HeadShard(const HeadOptions& options) : options_(options) {}
  HeadShard(const HeadShard&) = delete;
  HeadShard& operator=(const HeadShard&) = delete;

  MeasuredMutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }

  // ---- Writing: append lock. None of these fails ----
  void Append(std::span<const SampleEntry> samples, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendHistogram(Ordinal ordinal, const HistogramSample& sample, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendExemplar(Ordinal ordinal, const Exemplar& exemplar, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Closes the open chunks of the series that overlap `range`, or may grow into it, so that a delete hides whole chunks: later
  // samples begin new ones.
  void Cut(const OrdinalSet& ordinals, TimeRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes room for ordinals from the last call's `end` on to this one's, so that Append does not allocate pages.
  void EnsureOrdinals(std::uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // For who appends to few of the series, and only reads later: room for one of them, and its page.
  void EnsureOrdinal(Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (Find(ordinal) == nullptr) AddPage(ordinal >> kPageBits);
  }

  // Under DuplicatePolicy::kReject: whether the head holds a float sample at `t`, and its value.
  bool FindSample(Ordinal ordinal, Timestamp t, double* value) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // The newest timestamp of the series in this head; kMinTimestamp: none.
  Timestamp NewestOf(Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  bool HasData(Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  // ---- Checkpoint: one at a time ----
  // Marks what the checkpoint is to hold: all chunks closed and all series changed so far, which have ordinals below `end`: later
  // series are not in the index that it stores, so none of their chunks is copied. Append lock.
  void BeginCheckpoint(std::uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives the open chunks of changed series, then the closed ones, a slice a call (about `budget_bytes`); false when done. A slice
  // may hold samples newer than BeginCheckpoint: the caller syncs the log past everything queued before it stores them.
  bool TakeSlice(std::uint64_t budget_bytes, CheckpointSlice* slice);
  // The checkpoint is durable: frees the closed chunks it holds. / It failed: everything will be copied again.
  void FinishCheckpoint();
  void AbortCheckpoint();
  // Frees the chunk buffers of series without a sample since `before` that are wholly in finished checkpoints; returns those
  // series, each once until it is written to again.
  std::vector<Ordinal> ReleaseIdle(Timestamp before);
  // Frees the entries of series that are gone: pages that lie below `end` and hold none of `live`, nor any data. Nothing may be
  // appended to such series any more.
  void Forget(std::uint64_t end, std::span<const Ordinal> live);

  // ---- Reading ----
  ChunkAge NewestChunk() const override { return {options_.epoch, newest_creation_.load(std::memory_order_acquire)}; }
  // Copies the in-memory chunks of each ordinal (ascending) that overlap `range`, of types type_from..type_to: (*chunks)[i] belongs
  // to ordinals[i]. A chunk that is also stored is the newer version of it.
  void Collect(std::span<const Ordinal> ordinals, TimeRange range, ChunkType type_from, ChunkType type_to,
               std::vector<std::vector<Chunk>>* chunks) const override;
  // Adds the ordinals that have an in-memory sample overlapping `range`.
  void OrdinalsWithData(TimeRange range, OrdinalSet* ordinals) const override;
  // Whether the chunk is still open here, or closed and not yet in a finished checkpoint: compaction leaves its row alone.
  bool MayGrow(const ChunkMeta& chunk) const;

  // O(series); a page of them under one hold of the lock.
  HeadExtent Extent() const;
  // Newest timestamp of all; kMinTimestamp: empty.
  Timestamp newest() const { return newest_.load(std::memory_order_relaxed); }
  // Bytes that a checkpoint would write, roughly; and all bytes held.
  std::uint64_t memory_bytes() const { return memory_bytes_.load(std::memory_order_relaxed); }
  void FillStats(ShardStats* stats) const;

 private:
  struct alignas(64) Entry {
    XorAppender open;                      // count == 0: no open chunk; open.t stays the newest timestamp all the same
    Timestamp window_end = kMinTimestamp;  // of the open chunk, exclusive; kMinTimestamp forces the slow path
    std::uint8_t* buffer = nullptr;        // OpenHeader, then the chunk's bytes
    std::uint32_t closed = 0;              // newest closed chunk of the series, see closed_
    std::uint8_t size_class = 0;
    std::uint8_t dirty : 1 = 0;     // changed since the last checkpoint took it
    std::uint8_t cold : 1 = 0;      // has a ColdSeries
    std::uint8_t seen : 1 = 0;      // open.t is meaningful
    std::uint8_t released : 1 = 0;  // by ReleaseIdle, and not dirty since
    std::uint16_t capacity = 0;     // bytes of the buffer behind its header
  };
  static_assert(sizeof(Entry) == 64, "one cache line a series");
  // Stands before the bytes of the open chunk; keeps telling of the last one when that is closed.
  struct OpenHeader {
    Lsn creation;
    Timestamp min_time;
    std::uint32_t sequence;
    std::uint32_t unused;
  };
  // Identity of a chunk that the record `lsn` begins.
  struct Creation {
    Lsn lsn;
    std::uint32_t sequence;
  };
  struct Closed {
    Chunk chunk;
    std::uint32_t previous;  // of the same series
  };

  static constexpr std::uint32_t kPageBits = 8;
  static constexpr std::uint32_t kPageEntries = 1 << kPageBits;

  Entry& At(Ordinal ordinal) ABSL_SHARED_LOCKS_REQUIRED(mu_) { return pages_[ordinal >> kPageBits][ordinal & (kPageEntries - 1)]; }
  const Entry* Find(Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    const std::size_t page = ordinal >> kPageBits;
    return page < pages_.size() && pages_[page] ? &pages_[page][ordinal & (kPageEntries - 1)] : nullptr;
  }
  static OpenHeader* HeaderOf(const Entry& e) { return reinterpret_cast<OpenHeader*>(e.buffer); }
  static std::uint8_t* BytesOf(const Entry& e) { return e.buffer + sizeof(OpenHeader); }

  void AddPage(std::size_t page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendSlow(Entry* e, const SampleEntry& sample, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Grow(Entry* e) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseOpen(Entry* e, Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PushClosed(Entry* e, Chunk chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MarkDirty(Entry* e, Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendOverlay(Entry* e, const SampleEntry& sample, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseHistograms(Entry* e, ColdSeries* cold) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SealLate(Entry* e, ColdSeries* cold) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseExemplars(Entry* e, ColdSeries* cold) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ColdSeries& ColdOf(Entry* e, Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const ColdSeries* FindCold(const Entry& e, Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  Creation NextCreation(const Entry& e, ColdSeries* cold, Lsn lsn);
  ChunkMeta BeginCold(Entry* e, ColdSeries* cold, Ordinal ordinal, ChunkType type, bool overlay, Timestamp t, Lsn lsn)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteNewest(Entry* e, Timestamp t) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Timestamp WindowOf(Timestamp t) const;
  Timestamp WindowEnd(Timestamp window) const;
  ChunkMeta OpenMeta(const Entry& e, Ordinal ordinal) const;
  // Calls stop(meta) for each chunk of the series, the newest closed one after the open one, until it returns true.
  template <typename Stop>
  bool AnyChunk(const Entry& e, Ordinal ordinal, const Stop& stop) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  template <typename Visit>
  void EachEntry(const Visit& visit) const ABSL_LOCKS_EXCLUDED(mu_);
  void CollectOne(const Entry& e, Ordinal ordinal, TimeRange range, ChunkType from, ChunkType to, std::vector<Chunk>* chunks) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  const Closed* ClosedAt(std::uint32_t index, Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  void CountMemory() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountCold(ColdSeries* cold) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EraseCold(Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const HeadOptions options_;
  mutable MeasuredMutex mu_;
  std::vector<std::unique_ptr<Entry[]>> pages_ ABSL_GUARDED_BY(mu_);  // null: its series are gone, or have no data
  std::size_t page_count_ ABSL_GUARDED_BY(mu_) = 0;                   // of those that are not
  BufferPool pool_ ABSL_GUARDED_BY(mu_);
  std::map<Ordinal, std::unique_ptr<ColdSeries>> cold_ ABSL_GUARDED_BY(mu_);
  // Closed chunks, oldest first; index i of a chunk is closed_base_ + position. 0 is none. The front is freed by FinishCheckpoint.
  std::deque<Closed> closed_ ABSL_GUARDED_BY(mu_);
  std::uint32_t closed_base_ ABSL_GUARDED_BY(mu_) = 1;
  std::uint64_t closed_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t cold_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Ordinal> dirty_ ABSL_GUARDED_BY(mu_);

  // The running checkpoint.
  std::vector<Ordinal> taken_ ABSL_GUARDED_BY(mu_);
  std::size_t taken_at_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t taken_end_ ABSL_GUARDED_BY(mu_) = 0;   // it holds series below
  std::size_t closed_taken_ ABSL_GUARDED_BY(mu_) = 0;  // closed chunks, from the front, that it holds, but those of later series
  std::size_t closed_at_ ABSL_GUARDED_BY(mu_) = 0;

  std::atomic<Timestamp> newest_{kMinTimestamp};
  std::atomic<Lsn> newest_creation_{0};  // of the newest chunk
  std::atomic<std::uint64_t> memory_bytes_{0};
  OwnedCounter appended_, out_of_order_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_HEAD_SHARD_H_

// The inside of IndexShard, shared by its source files: index_shard.cc (resolving and changes), index_select.cc (matchers),
// index_lookup.cc (labels, names, values), index_checkpoint.cc and index_adopt.cc.
#ifndef CHRONOLITH_INDEX_INDEX_IMPL_H_
#define CHRONOLITH_INDEX_INDEX_IMPL_H_

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "index/index_delta.h"
#include "index/index_shard.h"
#include "index/row_reader.h"
#include "index/series_table.h"
#include "index/symbols.h"

namespace chronolith {

// Where a series can be, and what tells it:
//   new        in `series_`, in a delta's postings;           not in the rows for certain
//   resident   in `series_`, in no delta;                     in the rows
//   stored     not in `series_`, in `stored_only_`;           in the rows
//   removing   in `series_` but not findable by labels, in a delta's `removed`; in the rows still live, or not at all
//   removed    nowhere in memory;                             in the rows only its labels, marked, until purged
// Queries union the stored postings with both deltas' and subtract both deltas' `removed`. Ordinals are never reused, so a removed
// one may be subtracted from anything. A look-up reads rows without a lock and may come back with those of a series that was
// removed meanwhile: it makes resident only what is in `stored_only_`, which a removed series has left for good (Evict puts back
// what is in `series_` and not removing). So a removed series never becomes resident again, but by Remove itself, for the
// checkpoint.
//
// Order of locks: checkpoint_mu_, mu_, the cache's. No engine call under mu_.
class IndexShard::Impl {
 public:
  Impl(KvEngine* engine, const IndexShardOptions& options);

  Result<IndexState> Load();

  std::optional<Ordinal> FindResident(const SeriesKey& key) const;
  Status FindStored(std::span<const SeriesKey> keys, std::vector<std::optional<Ordinal>>* ordinals);
  bool HasRoom(Ordinal first, std::size_t n, std::size_t bytes) const;
  bool Insert(Ordinal ordinal, const SeriesKey& key, Lsn lsn);
  Status MakeResident(std::span<const Ordinal> ordinals);
  Status Remove(Ordinal ordinal, Lsn lsn);
  Status PurgeRemoved(const OrdinalSet& gone, Lsn trimmed_to, OrdinalSet* left);
  void SetMetadata(Ordinal ordinal, const Metadata& metadata, Lsn lsn);
  void Evict(std::span<const Ordinal> ordinals);

  Result<OrdinalSet> Select(std::span<const CompiledMatcher> matchers) const;
  Status LabelsOf(std::span<const Ordinal> ordinals, std::vector<Labels>* labels, bool removed_too) const;
  Status MetadataOf(std::span<const Ordinal> ordinals, std::vector<std::optional<Metadata>>* metadata) const;
  Status LabelNames(const OrdinalSet* within, StringPage* names) const;
  Status LabelValues(std::string_view name, const OrdinalSet* within, StringPage* values) const;

  void Cut();
  Status Checkpoint(const IndexState& state);
  Result<AdoptedSeries> AdoptStored(const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn);
  std::optional<Lsn> OldestUnwritten() const;

  std::uint64_t evictions() const { return evictions_.load(std::memory_order_acquire); }
  std::uint64_t resident_series() const;
  std::uint64_t memory_bytes() const;
  void FillStats(ShardStats* stats) const;

 private:
  // ---- index_shard.cc ----
  // Whether a look-up may make a series with so many bytes of labels resident: what it leaves is for Insert.
  bool HasRoomForFound(std::size_t bytes) const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return symbols_.HasRoom(bytes + kInsertBytesMax, options_.label_bytes_max) && series_.HasRoom(bytes + kInsertBytesMax);
  }
  // False where `encoded` is malformed, or there is no room.
  bool AddSeries(Ordinal ordinal, const SeriesKey& key, bool findable) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsRemoved(Ordinal ordinal) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  void MarkRemoved(Ordinal ordinal, Lsn lsn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  enum class Marked { kSkip, kTake };  // rows that are marked removed
  Status MakeResident(std::span<const Ordinal> ordinals, Marked marked);
  // Makes the memory of forgotten series and their labels free, once there is enough of it.
  void MaybeRebuild() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status FindStoredSome(std::span<const SeriesKey> keys, std::span<std::optional<Ordinal>> ordinals);
  // Series come back after a restart in about the order in which they were created: where the ordinals just found (ascending) run
  // on like that, makes the next ones resident by one scan, which costs a fraction of looking them up.
  Status ReadAhead(std::vector<Ordinal> found);

  // ---- index_select.cc ----
  struct Term;      // the postings of one matcher
  struct Snapshot;  // what of a query comes from memory
  // Calls f(pair) for each pair with postings in a delta that `term` takes.
  template <typename F>
  void ForEachDeltaPair(const Term& term, const F& f) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  void TakeSnapshot(std::vector<Term>* terms, Snapshot* snapshot) const;
  Status ReadStoredPoints(std::vector<Term>* terms, const Snapshot& snapshot) const;
  Status ReadStoredRange(Term* term) const;
  Status FilterByLabels(const CompiledMatcher& matcher, OrdinalSet* set) const;
  Result<OrdinalSet> Combine(std::vector<Term>* terms, const Snapshot& snapshot) const;

  // ---- index_lookup.cc ----
  bool AnyInDelta(PairId pair, const OrdinalSet* within, const OrdinalSet& removed) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  template <typename Offer>
  Status OfferLabels(const OrdinalSet& few, const Offer& offer) const;
  OrdinalSet PendingRemovals() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  // ---- index_checkpoint.cc ----
  class CheckpointWriter;
  void Freeze() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishCheckpoint(const IndexDelta& written);

  // ---- index_adopt.cc ----
  class Adoption;

  KvEngine* const engine_;
  const IndexShardOptions options_;
  const RowReader rows_;
  mutable CacheClient cache_;

  mutable MeasuredMutex mu_;
  Symbols symbols_ ABSL_GUARDED_BY(mu_);
  SeriesTable series_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<IndexDelta> active_ ABSL_GUARDED_BY(mu_);   // never null
  std::shared_ptr<IndexDelta> writing_ ABSL_GUARDED_BY(mu_);  // null: no checkpoint under way, none failed
  OrdinalSet stored_only_ ABSL_GUARDED_BY(mu_);               // live in the rows, not resident
  std::uint64_t next_ordinal_ ABSL_GUARDED_BY(mu_) = 0;       // above every ordinal seen
  std::uint64_t ahead_ ABSL_GUARDED_BY(mu_) = 0;              // end of the last read-ahead
  std::uint64_t ahead_window_ ABSL_GUARDED_BY(mu_) = 0;
  PodVector<PairId> scratch_ ABSL_GUARDED_BY(mu_);
  bool cut_ ABSL_GUARDED_BY(mu_) = false;  // Cut was called for the next Checkpoint

  Mutex checkpoint_mu_;
  std::uint64_t stored_next_ordinal_ ABSL_GUARDED_BY(checkpoint_mu_) = 0;

  mutable DurationCell read_latency_;
  DurationCell write_latency_;
  std::atomic<std::uint64_t> evictions_{0};
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_INDEX_IMPL_H_

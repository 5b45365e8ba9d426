// IndexShard: the index of one shard, in memory and in the family index.<k>.
//
// Place in the data's path: a write resolves labels to an ordinal here before it touches the log; a query resolves matchers to
// ordinals, and ordinals to labels. What is in memory: the *resident* series (labels interned as pair ids, a hash table), the
// postings added since the last checkpoint (the delta), and the shard of the postings cache. Everything else is read from the
// engine.
//
// Lifecycle of a series: Insert (in memory; its series record is in the log) -> Checkpoint (rows durable) -> optionally Evict
// (memory freed; found again through the rows) -> Remove (its data expired; its ordinal is never used again).
//
// Thread safety: all methods may be called concurrently; one reader/writer mutex ("index") guards the in-memory part and is never
// held across an engine call. Insert, Remove and Checkpoint of one shard are each called by one thread at a time.
#ifndef CHRONOLITH_INDEX_INDEX_SHARD_H_
#define CHRONOLITH_INDEX_INDEX_SHARD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ordinal_set.h"
#include "base/work_bounds.h"
#include "chronolith/kv_engine.h"
#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/stats.h"
#include "chronolith/storage.h"
#include "format/series_id.h"
#include "index/compiled_matcher.h"
#include "index/postings_cache.h"
#include "index/string_page.h"

namespace chronolith {

// What a family index.<k> says of itself: written in the last batch of each checkpoint.
struct IndexState {
  Lsn applied_lsn = 0;             // lower bound: every series, removal and metadata record up to it is in the rows
  std::uint64_t next_ordinal = 0;  // never lowered; 2^32 is exhaustion
  std::uint64_t series = 0;        // live series in the rows
};

// Series of which the log that was replayed has records.
struct ReplayedSeries {
  OrdinalSet created;
  OrdinalSet removed;
};

// What AdoptStored has found.
struct AdoptedSeries {
  std::uint64_t next_ordinal = 0;  // above every ordinal that has a labels row
  std::uint64_t inserted = 0;
  OrdinalSet removed;
};

struct IndexShardOptions {
  std::uint32_t shard = 0;
  FamilyId family = 0;
  Epoch epoch = 0;                             // for the batches of Checkpoint; 0 for a read-only store
  PostingsCache* cache = nullptr;              // shared by all shards; outlives them
  std::uint64_t label_bytes_max = 0xffffffff;  // of distinct pairs of resident series: what 32-bit offsets reach
};

// A label set to resolve: Labels::encoded() and its StableHash.
struct SeriesKey {
  std::uint64_t hash = 0;
  std::string_view encoded;
};

class IndexShard {
 public:
  IndexShard(KvEngine* engine, const IndexShardOptions& options);
  ~IndexShard();

  // Reads the state row. Loads no series. kDataLoss where the row is damaged, kFailedPrecondition where its format is newer.
  Result<IndexState> Load();

  // ---- Resolving labels ----
  // The resident series with exactly these labels (compared, not only hashed). No engine call: about 0.3 us for nine labels.
  std::optional<Ordinal> FindResident(const SeriesKey& key) const;
  // Looks in the rows (one MultiGet for all) for series that are not resident, verifies their labels, and makes the found ones
  // resident. ordinals is resized; none: there is no such series. Costs nothing while every stored series is resident.
  // kResourceExhausted: there are such series, and no room to make them resident.
  Status FindStored(std::span<const SeriesKey> keys, std::vector<std::optional<Ordinal>>* ordinals);

  // ---- Changes: the caller has them in the log, with `lsn`, or is replaying ----
  // Whether Insert will find room for new series with ordinals first..first + n - 1 and `bytes` <= kInsertBytesMax of encoded
  // labels in all: ask before they are in the log. What Find* makes resident meanwhile leaves that room; other Inserts do not.
  static constexpr std::size_t kInsertBytesMax = 256 << 10;
  bool HasRoom(Ordinal first, std::size_t n, std::size_t bytes) const;
  // Adds a series that Find* did not find. Idempotent: an ordinal that is already here with the same labels is left alone, so
  // replay may repeat what the rows already hold. Returns false where the ordinal is resident with *other* labels (a damaged log),
  // or there is no room.
  bool Insert(Ordinal ordinal, const SeriesKey& key, Lsn lsn);
  // Takes the labels of the series into memory; Remove then cannot fail, if nothing is evicted in between. FindResident does not
  // find them: Evict those that are not removed after all.
  Status MakeResident(std::span<const Ordinal> ordinals);
  // Takes the series out of postings and lookups; its labels row stays, marked removed, so that a stale reference can be resolved:
  // until PurgeRemoved.
  Status Remove(Ordinal ordinal, Lsn lsn);
  // Deletes the rows with labels (but those longer than 32 KiB) and metadata of those of `gone` whose removal is stored and has
  // left the log, which is trimmed to `trimmed_to`; *left receives those that are not yet so far. Reads the labels rows from the
  // first to the last of `gone`. Does not flush. After an error some may be deleted: repeat it.
  Status PurgeRemoved(const OrdinalSet& gone, Lsn trimmed_to, OrdinalSet* left);
  void SetMetadata(Ordinal ordinal, const Metadata& metadata, Lsn lsn);
  // Forgets resident series whose rows are durable; they are found through the rows afterwards. Others are skipped.
  void Evict(std::span<const Ordinal> ordinals);
  // Counts evictions. A series that was created since FindStored did not find it is resident, unless this has changed.
  std::uint64_t evictions() const;

  // ---- Queries ----
  // Ordinals of the series that all matchers match; empty matchers: all. Smallest postings first.
  Result<OrdinalSet> Select(std::span<const CompiledMatcher> matchers) const;
  // Labels of each ordinal, in order; from memory, else one MultiGet, or a scan of many near ones that ascend. A series that is
  // gone has empty labels. `removed_too` also finds the labels of removed series.
  Status LabelsOf(std::span<const Ordinal> ordinals, std::vector<Labels>* labels, bool removed_too = false) const;
  // As LabelsOf; nullopt where a series has none.
  Status MetadataOf(std::span<const Ordinal> ordinals, std::vector<std::optional<Metadata>>* metadata) const;
  Result<std::optional<Metadata>> MetadataOf(Ordinal ordinal) const;
  // Offers the page the names / values of one name, over all series (`within` null) or over those in `within`; while it goes on, of
  // which its status tells.
  Status LabelNames(const OrdinalSet* within, StringPage* names) const;
  Status LabelValues(std::string_view name, const OrdinalSet* within, StringPage* values) const;

  // ---- Checkpoint ----
  // Sets apart the changes taken so far: the next Checkpoint writes them and none that come later. Call it under the lock that also
  // takes the cut LSN, then sync the log, then Checkpoint. Optional: without it Checkpoint writes what there is when it is called.
  void Cut();
  // Writes every change with lsn <= `cut` (and perhaps later ones that are in the log) as rows, in idempotent batches within the
  // engine's limits, `state` in the last one; does not flush the family. Writers and readers go on meanwhile. After an error the
  // changes stay in memory and the next call writes them again.
  // The caller has synced the log up to every change that Insert, Remove and SetMetadata have taken: up to the last Cut where there
  // was one since the last Checkpoint, else up to this call.
  Status Checkpoint(const IndexState& state);
  // For a log that may have lost records, when it has been replayed: makes rows agree of which a Checkpoint that was cut short has
  // written a part, with the next one. What labels rows say beyond `whole`, the state when it was opened, and the log does not
  // (`replayed`) is taken for replayed with `lsn`. Of two series with the same labels the older is gone. Reads all labels rows, but
  // of those that the state row vouches for none behind a damaged one. Memory: of some 16,000 series. kResourceExhausted: as
  // Insert. kDataLoss: a row beyond is damaged.
  Result<AdoptedSeries> AdoptStored(const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn);
  // LSN of the oldest change that no finished Checkpoint holds; nullopt: none.
  std::optional<Lsn> OldestUnwritten() const;

  // ---- Stats ----
  std::uint64_t resident_series() const;
  std::uint64_t memory_bytes() const;
  void FillStats(ShardStats* stats) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_INDEX_SHARD_H_

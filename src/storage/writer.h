// Writer: the write path. Collects samples by shard, resolves label sets to series, and commits: log record and head change together
// under each shard's append lock, then the wait for the level asked for.
//
// What is done before a shard's lock is taken: validation, I/O look-ups, encoding of the record with its checksum, waiting for memory
// and ring space. Under it: LSN, one copy into the ring, the head's appends. Nothing there fails or blocks.
//
// Thread safety: one thread at a time; many writers may work at once.
#ifndef CHRONOLITH_STORAGE_WRITER_H_
#define CHRONOLITH_STORAGE_WRITER_H_

#include <array>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "chronolith/storage.h"
#include "base/hash.h"
#include "storage/core.h"
#include "storage/items.h"

namespace chronolith {

class Writer {
 public:
  // ---- Resolving ----
  // The series of each label set, created where there is none. refs is resized; refused ones are SeriesRef{0} and listed in
  // `refused` by their index in `labels`.
  void Resolve(Core* core, std::span<const Labels> labels, Deadline deadline, std::vector<SeriesRef>* refs,
               std::vector<Refusal>* refused) {
    ResolveEach(core, labels.size(), [&](std::size_t i) -> const Labels& { return labels[i]; }, deadline, refs, refused);
  }
  // The same for the labels of `series`; resolved(i) tells the reference.
  void ResolveSeries(Core* core, std::span<const TimeSeries> series, Deadline deadline, std::vector<Refusal>* refused) {
    ResolveEach(core, series.size(), [&](std::size_t i) -> const Labels& { return series[i].labels; }, deadline, &resolved_, refused);
  }
  SeriesRef resolved(std::size_t i) const { return resolved_[i]; }

  // ---- Collecting ----
  // `index` comes back in Refusal::series.
  void AddSample(SeriesRef ref, Timestamp t, double value, std::uint32_t index) {
    const std::uint32_t shard = ShardOf(ref);
    if (shard >= kShardsMax) [[unlikely]] {
      unknown_.push_back({index, Refusal::What::kSample});
      return;
    }
    touched_ |= 1U << shard;
    buckets_[shard].samples.push_back({OrdinalOf(ref), index, t, value});
  }
  void AddItem(SeriesRef ref, Item item, std::uint32_t index);
  // Keeps some memory for the next batch: kBucketBytesKept for each shard.
  void Clear();
  // Of what was collected, and kept of earlier batches.
  std::size_t held_bytes() const;
  static constexpr std::size_t kBucketBytesKept = 256 << 10;

  // ---- Committing ----
  // Writes what was collected, waits for the level, and clears. `admitted`: what Core::Admit said; not ok refuses everything.
  WriteResult Commit(Core* core, const WriteOptions& options, const Status& admitted);

 private:
  static constexpr std::uint32_t kShardsMax = 31;

  struct PendingItem {
    Ordinal ordinal;
    std::uint32_t index;
    Item item;
  };
  struct Bucket {
    std::vector<SampleEntry> samples;
    std::vector<PendingItem> items;
    bool empty() const { return samples.empty() && items.empty(); }
    std::size_t held_bytes() const { return samples.capacity() * sizeof(SampleEntry) + items.capacity() * sizeof(PendingItem); }
  };
  struct Replaced {
    Ordinal from;  // a removed series
    Ordinal to;    // the one that has its labels now
  };
  struct Unknown {
    std::uint32_t index;
    Refusal::What what;
  };

  // Finds resident series itself; what is left goes to ResolveMissing.
  template <typename LabelsAt>
  void ResolveEach(Core* core, std::size_t n, const LabelsAt& labels_at, Deadline deadline, std::vector<SeriesRef>* refs,
                   std::vector<Refusal>* refused) {
    refs->assign(n, SeriesRef{});
    missing_.clear();
    for (std::size_t i = 0; i < n; ++i) {
      const std::string_view encoded = labels_at(i).encoded();
      const SeriesKey key{StableHash(encoded), encoded};
      const Shard& shard = core->ShardFor(key.hash);
      std::optional<Ordinal> ordinal;
      if (shard.serving.load(std::memory_order_acquire)) [[likely]]
        ordinal = shard.index->FindResident(key);
      if (ordinal) {
        (*refs)[i] = MakeSeriesRef(shard.id, *ordinal);
      } else {
        missing_.push_back({i, shard.id, key});
      }
    }
    if (!missing_.empty()) ResolveMissing(core, deadline, refs, refused);
  }
  void ResolveMissing(Core* core, Deadline deadline, std::vector<SeriesRef>* refs, std::vector<Refusal>* refused);
  // Creates series under the shard's series lock; one entry a key, none where that one was refused with the status returned.
  // `evictions`: IndexShard::evictions before the look that did not find them.
  Status Create(Core* core, Shard* shard, std::span<const SeriesKey> keys, std::uint64_t evictions, Deadline deadline,
                std::vector<std::optional<Ordinal>>* ordinals);
  void CommitBucket(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result);
  // Takes out what cannot be written, with its reason.
  void Validate(Shard* shard, Bucket* bucket, WriteResult* result);
  // Series removed since their reference was taken are resolved anew. Returns the count of removals it has seen.
  std::uint64_t ReplaceRemoved(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result);
  // Who told the metadata of a series through its reference does not tell it again: the series that replaces it gets it, where it
  // has none of its own. What fails here is tried again by the next write through the old reference.
  void CarryMetadata(Core* core, Shard* shard, std::vector<Replaced> replaced, Deadline deadline);
  Status CommitSamples(Core* core, Shard* shard, std::span<const SampleEntry> samples, std::uint64_t removals, Deadline deadline);
  // One record with as many of `items` (not empty) as fit it; *taken says how many. Under DuplicatePolicy::kReject give one item: a
  // histogram that is there already is taken without a record, or refused, under the lock that keeps other writers of it out.
  Status CommitItems(Core* core, Shard* shard, std::span<const PendingItem> items, std::uint64_t removals, Deadline deadline,
                     std::size_t* taken);
  // record_ holds `items` in so many records; the shard's series_mu is held.
  Status LogItems(Core* core, Shard* shard, std::span<const PendingItem> items, std::size_t records, std::uint64_t removals,
                  Deadline deadline);
  // kAlreadyExists where the series has another visible value at `t`; *repeated: it has this one, bit for bit.
  static Status CheckDuplicate(const Shard& shard, Ordinal ordinal, Timestamp t, const std::variant<double, Histogram>& value,
                               bool* repeated);
  // DuplicatePolicy::kReject: looks before each sample that may repeat a timestamp.
  void CommitRejecting(Core* core, Shard* shard, Bucket* bucket, Deadline deadline, WriteResult* result);
  static void RefuseSamples(std::span<const SampleEntry> samples, const Status& reason, Shard* shard, WriteResult* result);

  std::array<Bucket, kShardsMax> buckets_;
  std::uint32_t touched_ = 0;  // one bit a bucket that is not empty
  std::vector<Unknown> unknown_;
  std::string record_;
  struct Missing {
    std::size_t at;
    ShardId shard;
    SeriesKey key;
  };
  std::vector<Missing> missing_;
  std::vector<SeriesRef> resolved_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_WRITER_H_

// RemoteWriter: puts the series of a remote write message into the store.
//
//   decode a batch -> hash the bytes of each label set -> SeriesCache -> the rest through Labels and Appender::Refs, together
//   -> append -> commit, which waits for the level that was asked for
//
// A series that brings nothing to store (no samples, or all too far ahead) is made nowhere; of one that is there its metadata is
// kept. Metadata of families, which 1.0 has, follows in commits of its own: a family may have any number of series. Where it has
// none yet, its metadata waits in memory for the first.
#ifndef CHRONOLITH_SERVER_REMOTE_WRITER_H_
#define CHRONOLITH_SERVER_REMOTE_WRITER_H_

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/memory_share.h"
#include "chronolith/storage.h"
#include "interop/remote_write_decode.h"
#include "server/series_cache.h"
#include "server/told_families.h"
#include "server/write_outcome.h"

namespace chronolith::server {

// Which names of metrics and labels are taken, in Prometheus' words: any UTF-8, or those of Prometheus before 3.0, which cannot
// read others back.
enum class NameValidation : unsigned char { kUtf8, kLegacy };

// What the writers of a process share. All must outlive them.
struct RemoteWriterShared {
  RemoteWriterShared(Storage* storage_in, std::uint64_t cache_bytes)
      : storage(storage_in), cache1(cache_bytes / 2), cache2(cache_bytes / 2), families(storage_in) {}
  Storage* const storage;
  // What the caches know of metadata counts no more.
  void ForgetTold() {
    told_since.fetch_add(1);
    families.Forget();
  }

  SeriesCache cache1, cache2;  // by version: keys of one are not keys of the other
  ToldFamilies families;
  std::atomic<std::uint64_t> told_since{0};  // what was told under another number was forgotten
  std::uint64_t expanded_bytes_max = interop::RemoteWriteDecoder::kExpandedBytesMax;
  NameValidation names = NameValidation::kUtf8;
  std::int64_t future_ms_max = 0;  // samples further ahead of now are refused
  std::shared_ptr<Clock> clock;
};

// Has an Appender and buffers of its own; they grow to what the largest batch needs, and batches are bounded. Thread safety: one
// thread at a time.
class RemoteWriter {
 public:
  explicit RemoteWriter(RemoteWriterShared* shared);

  // kInvalidArgument: the message is malformed; kResourceExhausted: `share`, which holds the message, cannot grow by what a batch
  // of it takes (kFailedPrecondition: never). Batches in front of that were written. What was refused of a whole one is in
  // *outcome.
  Status Write(interop::RemoteWriteVersion version, std::string_view message, AckLevel level, MemoryShare* share,
               WriteOutcome* outcome);

  // Of the last message: series that the cache knew, and others.
  std::uint64_t cache_hits() const { return hits_; }
  std::uint64_t cache_misses() const { return misses_; }
  // What it keeps for the next message, about: the appender holds as much again.
  std::size_t held_bytes() const;

 private:
  using Batch = interop::RemoteWriteBatch;
  // One call of Append*, by its place in the batch.
  struct Call {
    std::uint32_t series = 0;
    std::uint32_t index = 0;  // of the sample or item
    bool is_item = false;
  };

  Status WriteBatch(AckLevel level, MemoryShare* share, WriteOutcome* outcome);
  // Of writing batch_, at most, about.
  std::uint64_t BatchBytes() const;
  // What is in missing_. `expired`: not all of those series' items are at stake, but these calls.
  void Resolve(std::span<const Call> expired, WriteOutcome* outcome);
  bool BringsData(std::size_t series) const;
  bool WantsMetadata(std::size_t series, const std::string& encoded, std::uint64_t items, WriteOutcome* outcome);
  void AppendSeries(std::size_t series, WriteOutcome* outcome);
  void AppendItem(std::size_t series, std::size_t index, WriteOutcome* outcome);
  // Finds mixed_.
  void FindMixed();
  // Of a series in mixed_. False: the batch has a value of the other kind for that time; the store would keep one of the two.
  bool TakeTime(SeriesRef ref, Timestamp time, bool histogram);
  void AppendMetadata(const Call& call, WriteOutcome* outcome);
  void WriteFamilies(AckLevel level, WriteOutcome* outcome);
  // False where it is of no use to go on.
  bool TellFamily(const std::string& family, const Metadata& metadata, AckLevel level, WriteOutcome* outcome);
  // False where it is of no use to go on.
  bool CommitFamilies(AckLevel level, WriteOutcome* outcome);
  // False where something was refused because its reference has expired: it was resolved again, and *calls_ holds what to append.
  bool Commit(AckLevel level, bool again, WriteOutcome* outcome);
  void Refuse(std::uint64_t items, const Status& reason, std::size_t series, WriteOutcome* outcome);
  void RefuseFuture(const Sample& sample, std::size_t series, WriteOutcome* outcome);
  std::string NameOf(std::size_t series);
  std::size_t SamplesBegin(std::size_t series) const { return series == 0 ? 0 : batch_.series[series - 1].samples_end; }
  std::size_t ItemsBegin(std::size_t series) const { return series == 0 ? 0 : batch_.series[series - 1].items_end; }

  // Metadata of families in one commit, with its texts.
  static constexpr std::uint64_t kFamilyItems = 4096;
  static constexpr std::uint64_t kFamilyBytes = 4 << 20;

  RemoteWriterShared* const shared_;
  const std::unique_ptr<Appender> appender_;
  interop::RemoteWriteVersion version_ = interop::RemoteWriteVersion::k1;
  SeriesCache* cache_ = nullptr;
  interop::RemoteWriteDecoder* decoder_ = nullptr;  // of the message at hand
  Timestamp latest_ = kMaxTimestamp;
  std::uint32_t minutes_ = 0;

  std::uint64_t own_bytes_ = 0;  // of the share, before the first batch

  Batch batch_;
  std::vector<SeriesCache::Key> keys_;
  std::vector<SeriesCache::Value> found_;
  std::vector<Call> calls_;
  std::vector<std::uint32_t> missing_;  // series
  std::vector<std::uint32_t> retold_;   // series whose metadata is new
  // Of series that have floats and histograms in the batch: the times taken, and whether by a histogram.
  absl::flat_hash_set<std::uint64_t> mixed_;
  absl::flat_hash_map<std::pair<std::uint64_t, Timestamp>, bool> taken_;
  ToldFamilies::Awaited awaited_;   // families whose first series came
  std::uint64_t family_items_ = 0;  // collected in the appender
  std::uint64_t family_bytes_ = 0;  // likewise
  std::uint64_t hits_ = 0, misses_ = 0;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_REMOTE_WRITER_H_

// Some series of a store in the order of their labels, those without samples too, with all that is known of them.
#ifndef CHRONOLITH_OPS_SERIES_PIECE_H_
#define CHRONOLITH_OPS_SERIES_PIECE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "chronolith/storage.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {

struct SeriesPieceOptions {
  std::size_t skip = 0;                          // begins behind so many of the series, in the order of labels
  TimeRange range;                               // of samples and exemplars
  const std::atomic<bool>* cancelled = nullptr;  // may be null
  MemoryShare* share = nullptr;                  // its budget gives what the cursor holds; null: nobody counts
};

// A cursor over the series. Memory: the labels of all of them, and 64 MiB of chunks. Thread safety: one thread at a time.
// Lifetime: must be destroyed before the store is closed.
class SeriesPiece {
 public:
  // Ids without a series are passed by.
  static Result<std::unique_ptr<SeriesPiece>> Open(Storage* storage, std::span<const SeriesRef> refs,
                                                   const SeriesPieceOptions& options);
  // The same with the labels of each, where they are known.
  static Result<std::unique_ptr<SeriesPiece>> Open(Storage* storage, std::span<const SeriesRef> refs, std::vector<Labels> labels,
                                                   const SeriesPieceOptions& options);
  // False at the end, and after an error or a cancellation: then look at status().
  bool Next();
  SeriesRef ref() const { return refs_[at_]; }
  const Labels& labels() const { return set_->labels(); }
  SampleIterator* samples() { return set_->has_samples() ? &set_->samples() : nullptr; }  // null: it has none
  ChunkIterator* chunks() { return set_->has_samples() ? &set_->chunks() : nullptr; }     // the same, encoded; one of both a series
  // Of the series at hand. Both look at many series at once when they are first asked, so that those without cost nothing.
  Result<std::vector<Exemplar>> Exemplars();
  Result<std::optional<Metadata>> SeriesMetadata();
  Status status() const { return set_->status(); }

 private:
  SeriesPiece(StorageImpl* storage, const SeriesPieceOptions& options) : storage_(storage), options_(options) {}

  StorageImpl* const storage_;
  const SeriesPieceOptions options_;
  std::vector<SeriesRef> refs_;  // in the order of labels
  std::size_t at_ = 0, next_ = 0;
  std::unique_ptr<MemoryShare> share_;  // of the labels
  std::unique_ptr<SeriesWalk> set_;
  std::vector<bool> may_have_exemplars_;           // of each series; empty: not looked at
  std::vector<std::optional<Metadata>> metadata_;  // of some series, from metadata_begin_
  std::size_t metadata_begin_ = 0;
};

// Samples of one series, one after the other, from the fast path where there is one.
class SampleReader {
 public:
  explicit SampleReader(SampleIterator* samples) : samples_(samples) {}  // null: there are none
  // kNone at the end and after an error: then look at status().
  ValueType Next();
  Timestamp timestamp() const { return type_ == ValueType::kFloat ? timestamps_[at_] : samples_->timestamp(); }
  double value() const { return values_[at_]; }
  const Histogram& histogram() const { return samples_->histogram(); }
  Status status() const { return samples_ == nullptr ? Status::Ok() : samples_->status(); }

 private:
  static constexpr std::size_t kAtOnce = 256;
  SampleIterator* const samples_;
  ValueType type_ = ValueType::kNone;
  std::array<Timestamp, kAtOnce> timestamps_{};
  std::array<double, kAtOnce> values_{};
  std::size_t at_ = 0, count_ = 0;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SERIES_PIECE_H_

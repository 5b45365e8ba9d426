// Some series of a store in the order of their labels, those without samples too.
#ifndef CHRONOLITH_OPS_SERIES_PIECE_H_
#define CHRONOLITH_OPS_SERIES_PIECE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::ops {

// A cursor over the series. Memory: the labels of all of them and 32 MiB of chunks. Thread safety: one thread at a time.
// Lifetime: must be destroyed before the store is closed.
class SeriesPiece {
 public:
  // Ids without a series are passed by. `skip`: begins behind so many of them, in the order of labels.
  static Result<std::unique_ptr<SeriesPiece>> Open(Storage* storage, std::vector<SeriesRef> refs, std::size_t skip,
                                                   const std::atomic<bool>* cancelled);
  // False at the end, and after an error or a cancellation: then look at status().
  bool Next();
  SeriesRef ref() const { return refs_[at_]; }
  const Labels& labels() const { return labels_[at_]; }
  SampleIterator* samples();  // null: it has none
  ChunkIterator* chunks();    // the same, encoded; one of both a series
  const Status& status() const { return status_; }

 private:
  SeriesPiece() = default;
  bool samples_are_here() const;  // the set stands at the series at hand
  std::vector<SeriesRef> refs_;   // in the order of labels
  std::vector<Labels> labels_;
  std::size_t at_ = 0, next_ = 0;
  std::unique_ptr<SeriesSet> set_;
  bool has_set_ = false;  // the set stands at a series, at hand or to come
  Status status_;
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

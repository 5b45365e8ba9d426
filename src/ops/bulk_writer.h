// Takes much into a store quickly: large batches, each written while the one before is on its way to the log.
#ifndef CHRONOLITH_OPS_BULK_WRITER_H_
#define CHRONOLITH_OPS_BULK_WRITER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::ops {

struct BulkCounts {
  std::uint64_t samples = 0, histograms = 0, exemplars = 0, metadata = 0;
};

// What the store refuses (an invalid label, an impossible histogram) is counted, and the rest goes on; other errors are returned.
// Memory: two batches. Thread safety: one thread at a time.
class BulkWriter {
 public:
  static constexpr std::size_t kBatch = 64 << 10;          // samples
  static constexpr std::size_t kHistogramWeight = 1 << 4;  // samples: some hundred bytes
  static constexpr std::size_t kReasonsKept = 20;

  // `storage` null: everything is counted, nothing written.
  BulkWriter(Storage* storage, AckLevel level, std::size_t batch = kBatch);

  // References for series, created where there are none; 0 for what is refused.
  Status Resolve(std::span<const Labels> labels, std::vector<SeriesRef>* refs);

  // A reference 0 is refused again, and counted.
  Status Append(SeriesRef ref, Timestamp t, double value) {
    if (ref.id == 0) return Refuse();
    if (appender_ != nullptr) appender_->Append(ref, t, value);
    ++pending_.samples;
    return Appended();
  }
  Status AppendHistogram(SeriesRef ref, HistogramSample histogram);
  Status AppendExemplar(SeriesRef ref, Exemplar exemplar);
  Status SetMetadata(SeriesRef ref, Metadata metadata);

  // All that was given has reached the level.
  Status Finish();

  const BulkCounts& written() const { return written_; }  // has reached the level
  std::uint64_t refused() const { return refused_; }
  const std::vector<std::string>& reasons() const { return reasons_; }  // the first of them

 private:
  Status Appended(std::size_t weight = 1) { return (appended_ += weight) < batch_ ? Status::Ok() : Commit(); }
  Status Commit();
  Status WaitForLast();
  Status Refuse();
  Status Judge(const WriteResult& result);

  Storage* const storage_;
  const AckLevel level_;
  const std::size_t batch_;
  std::unique_ptr<Appender> appender_;
  std::size_t appended_ = 0;  // by weight
  BulkCounts pending_;        // of the batch at hand
  BulkCounts sent_;           // of the one before
  CommitToken token_;         // of that
  BulkCounts written_;
  std::uint64_t refused_ = 0;
  std::vector<std::string> reasons_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_BULK_WRITER_H_

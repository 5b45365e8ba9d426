// Iterators over one series' parts: SeriesSamples decodes, SeriesChunks hands out bytes.
//
// Both walk the components of a SeriesParts (series_parts.h). A component of a single chunk is decoded straight into the caller's
// arrays, or passed through as it is stored; only one of several overlapping chunks is merged, as a whole, in memory.
#ifndef CHRONOLITH_QUERY_SERIES_CURSOR_H_
#define CHRONOLITH_QUERY_SERIES_CURSOR_H_

#include <array>
#include <vector>

#include "block/chunk_merge.h"
#include "block/series_parts.h"
#include "chronolith/series_set.h"
#include "chunk/histogram_chunk.h"
#include "chunk/packed_chunk.h"
#include "query/poll.h"

namespace chronolith {

// Thread safety: one thread at a time. The parts and the poll must outlive it.
class SeriesSamples : public SampleIterator {
 public:
  SeriesSamples(DuplicatePolicy policy, Poll* poll) : policy_(policy), poll_(poll) {}

  // Starts at the first sample of `parts` (sorted).
  void Reset(const SeriesParts* parts);

  ValueType Next() override;
  Timestamp timestamp() const override { return timestamp_; }
  double value() const override { return value_; }
  const Histogram& histogram() const override { return *histogram_; }
  Status status() const override { return status_; }
  std::size_t NextFloats(Timestamp* timestamps, double* values, std::size_t capacity) override;

 private:
  enum class Mode : std::uint8_t { kNextComponent, kFloats, kHistogram, kMerged, kEnd };

  bool Fail(Status status);
  void OpenComponent();
  std::size_t Decode(Timestamp* timestamps, double* values, std::size_t capacity);
  std::size_t DecodeFloats(Timestamp* timestamps, double* values, std::size_t capacity);
  std::size_t CopyMerged(Timestamp* timestamps, double* values, std::size_t capacity);
  bool FindHistogram();
  void TakeHistogram();

  const DuplicatePolicy policy_;
  Poll* const poll_;
  const SeriesParts* parts_ = nullptr;
  Mode mode_ = Mode::kEnd;
  std::size_t next_part_ = 0;
  const Part* part_ = nullptr;  // of kFloats and kHistogram
  std::uint32_t decoded_ = 0;   // of part_
  FloatIterator floats_;
  HistogramIterator histograms_;
  bool histogram_found_ = false;  // histograms_ stands at one that was not delivered yet
  ChunkMerge merge_;
  std::size_t merged_at_ = 0;
  Status status_;

  // What Next has decoded ahead.
  std::array<Timestamp, 128> ahead_timestamps_;
  std::array<double, 128> ahead_values_;
  std::size_t ahead_at_ = 0;
  std::size_t ahead_end_ = 0;

  Timestamp timestamp_ = 0;
  double value_ = 0;
  const Histogram* histogram_ = nullptr;
};

// Thread safety: one thread at a time. The parts and the poll must outlive it.
class SeriesChunks : public ChunkIterator {
 public:
  SeriesChunks(DuplicatePolicy policy, std::uint32_t max_samples, Poll* poll)
      : policy_(policy), max_samples_(max_samples), poll_(poll) {}

  void Reset(const SeriesParts* parts);

  bool Next() override;
  const RawChunk& chunk() const override { return chunk_; }
  Status status() const override { return status_; }

 private:
  const DuplicatePolicy policy_;
  const std::uint32_t max_samples_;
  Poll* const poll_;
  const SeriesParts* parts_ = nullptr;
  std::size_t next_part_ = 0;
  ChunkMerge merge_;
  std::vector<EncodedChunk> encoded_;
  std::size_t encoded_at_ = 0;
  std::string unpacked_;
  RawChunk chunk_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_SERIES_CURSOR_H_

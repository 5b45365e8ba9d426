// ChunkMerge: overlapping chunks of one series to one run of samples, one a timestamp. Queries and compaction merge here, so that a
// sample has the same fate before and after compaction.
#ifndef CHRONOLITH_BLOCK_CHUNK_MERGE_H_
#define CHRONOLITH_BLOCK_CHUNK_MERGE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "block/series_parts.h"
#include "chronolith/options.h"
#include "chunk/packed_chunk.h"

namespace chronolith {

inline constexpr std::uint32_t kNoHistogram = ~0U;
// A histogram chunk ends before it grows beyond this, so that it fits a row.
inline constexpr std::size_t kHistogramChunkBytes = 32U << 10;

struct MergedSample {
  Timestamp timestamp = 0;
  double value = 0;                        // where histogram is kNoHistogram
  std::uint32_t histogram = kNoHistogram;  // index in ChunkMerge::histograms()
  std::uint32_t rank = 0;                  // of its chunk: the lower wins
};

// Reusable: keeps its memory. Thread safety: one thread at a time.
class ChunkMerge {
 public:
  // Decodes the parts [begin, end), leaves out what is hidden, and keeps of each timestamp the sample that the policy chooses
  // (ChunkMeta::Supersedes: the winner, or with kReject the loser of all). Takes memory for all of them: a component does not cross
  // windows. kDataLoss names the chunk.
  Status Run(const SeriesParts& parts, std::size_t begin, std::size_t end, DuplicatePolicy policy);

  std::span<const MergedSample> samples() const { return samples_; }
  const Histogram& histogram(std::uint32_t i) const { return histograms_[i].histogram; }
  // Samples that Run decoded and found hidden.
  std::uint64_t hidden() const { return hidden_; }

 private:
  Status AddFloats(const SeriesParts& parts, const Part& part, std::uint32_t rank);
  Status AddHistograms(const SeriesParts& parts, const Part& part, std::uint32_t rank);
  void JoinLanes(DuplicatePolicy policy);

  FloatIterator floats_;
  std::vector<Timestamp> timestamps_;
  std::vector<double> values_;
  std::vector<MergedSample> samples_;
  std::vector<MergedSample> scratch_;
  std::vector<std::size_t> runs_;  // begins of the sorted runs in samples_
  std::vector<HistogramSample> histograms_;
  std::vector<std::uint32_t> ranks_;
  std::uint64_t hidden_ = 0;
};

// A chunk that was encoded anew.
struct EncodedChunk {
  ChunkType type = ChunkType::kXor;
  Timestamp min_time = 0;
  Timestamp max_time = 0;
  std::uint32_t samples = 0;
  std::string data;
};

// Appends chunks of at most `max_samples` samples that hold exactly the merged ones, in order; a chunk has one type.
void EncodeMerged(const ChunkMerge& merge, std::uint32_t max_samples, std::vector<EncodedChunk>* chunks);

// Sorts by timestamp, then labels and value; keeps equal ones once (values are compared by their bits).
void SortExemplars(std::vector<Exemplar>* exemplars);

// The error for a chunk whose payload is not what its row says: names the chunk.
Status BadChunk(const ChunkMeta& meta, const Status& why);
Status WrongCount(const ChunkMeta& meta, std::uint64_t found);

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_MERGE_H_

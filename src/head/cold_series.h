// ColdSeries: what a series of the head needs rarely: overlay chunks for samples that come late, native histograms, exemplars.
//
// An overlay keeps its samples as they came and is sorted and encoded when somebody reads or stores it: appending stays O(1). Where two
// samples of one overlay share a timestamp, the later (DuplicatePolicy::kReject: the earlier) one is encoded.
// Thread safety: none, the shard's append lock guards it.
#ifndef CHRONOLITH_HEAD_COLD_SERIES_H_
#define CHRONOLITH_HEAD_COLD_SERIES_H_

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "chronolith/options.h"
#include "chunk/exemplar_chunk.h"
#include "chunk/histogram_chunk.h"
#include "chunk/xor_chunk.h"
#include "format/chunk_row.h"

namespace chronolith {

// An open overlay of one type of sample. `meta` has the identity and the time span; meta.samples counts what came, duplicates too.
template <typename T>
struct Overlay {
  ChunkMeta meta;
  std::vector<T> samples;
  std::uint64_t bytes = 0;  // held, roughly

  void Add(T sample) {
    bytes += sizeof(T);
    if constexpr (std::is_same_v<T, HistogramSample>) bytes += HistogramAppender::MaxBytes(sample.histogram);
    meta.min_time = samples.empty() ? sample.timestamp : std::min(meta.min_time, sample.timestamp);
    meta.max_time = samples.empty() ? sample.timestamp : std::max(meta.max_time, sample.timestamp);
    samples.push_back(std::move(sample));
  }

  // Sorted by time, one sample a timestamp.
  std::vector<T> Sorted(DuplicatePolicy policy) const {
    std::vector<T> sorted = samples;
    std::stable_sort(sorted.begin(), sorted.end(), [](const T& a, const T& b) { return a.timestamp < b.timestamp; });
    std::vector<T> distinct;
    distinct.reserve(sorted.size());
    for (T& s : sorted) {
      if (distinct.empty() || distinct.back().timestamp != s.timestamp) {
        distinct.push_back(std::move(s));
      } else if (policy == DuplicatePolicy::kLastWins) {
        distinct.back() = std::move(s);
      }
    }
    return distinct;
  }
};

struct OpenHistograms {
  ChunkMeta meta;
  HistogramAppender appender;
};
struct OpenExemplars {
  ChunkMeta meta;
  ExemplarAppender appender;
};

struct ColdSeries {
  std::map<Timestamp, Overlay<Sample>> floats;  // by window
  std::map<Timestamp, Overlay<HistogramSample>> histograms;
  std::optional<OpenHistograms> open_histograms;
  std::optional<OpenExemplars> open_exemplars;
  Lsn last_creation = 0;  // of the newest chunk begun here
  std::uint32_t last_sequence = 0;
  std::uint64_t counted_bytes = 0;  // OpenBytes as the head last counted it

  // Memory held, roughly.
  std::uint64_t OpenBytes() const {
    std::uint64_t bytes = sizeof(ColdSeries);
    for (const auto& [window, overlay] : floats) bytes += sizeof(overlay) + overlay.bytes;
    for (const auto& [window, overlay] : histograms) bytes += sizeof(overlay) + overlay.bytes;
    if (open_histograms) bytes += open_histograms->appender.data().capacity();
    if (open_exemplars) bytes += open_exemplars->appender.data().capacity();
    return bytes;
  }
};

inline Chunk EncodeOverlay(const Overlay<Sample>& overlay, DuplicatePolicy policy) {
  const std::vector<Sample> sorted = overlay.Sorted(policy);
  Chunk chunk{overlay.meta, EncodeXor(sorted)};
  chunk.meta.samples = static_cast<std::uint32_t>(sorted.size());
  return chunk;
}
inline Chunk EncodeOverlay(const Overlay<HistogramSample>& overlay, DuplicatePolicy policy) {
  const std::vector<HistogramSample> sorted = overlay.Sorted(policy);
  Chunk chunk{overlay.meta, EncodeHistograms(sorted)};
  chunk.meta.samples = static_cast<std::uint32_t>(sorted.size());
  return chunk;
}

}  // namespace chronolith

#endif  // CHRONOLITH_HEAD_COLD_SERIES_H_

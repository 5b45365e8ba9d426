// Chunks of native histograms as Prometheus 2.40 and later keep them: encodings 2 (integers) and 3 (floats). One bit stream, most
// significant bit first, padded with zero bits:
//
//   uint16 big-endian number of samples | byte: counter reset header in the two upper bits (10 reset, 01 none, 11 gauge, 00
//   unknown) layout     byte: zero threshold (0: it is 0; 1..254: 2^(byte - 244); 255: 64 bits of it follow) | varbit schema
//              | positive spans, negative spans, each: varbit-unsigned number | each: varbit-unsigned length, varbit offset
//              | of schema -53 the bounds of its custom buckets: varbit-unsigned number | each: varbit-unsigned 1000 * bound + 1
//                where the bound is a whole number of thousandths from 0 to 33554.43, else a bit 0 and 64 bits of it
//   sample 0   varbit time | count, zero count (varbit-unsigned; floats 64 bits) | 64 bits of the sum | buckets (varbit; floats 64)
//   sample n   varbit delta of deltas of time | count, zero count (varbit delta of deltas; floats XOR) | XOR of the sum
//              | buckets (varbit deltas of deltas; floats XOR); nothing behind the sum where that is the stale marker
//
// A chunk has one layout, and no counter reset but before its first sample. The bounds are of Prometheus 3
// (tsdb/chunkenc/histogram_meta.go); before that it takes what stands there for the first sample.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_HISTOGRAM_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_HISTOGRAM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"

namespace chronolith {

inline constexpr std::uint8_t kPrometheusIntHistograms = 2;
inline constexpr std::uint8_t kPrometheusFloatHistograms = 3;

struct PrometheusHistogramChunk {
  std::uint8_t encoding = 0;
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint32_t samples = 0;
  std::string data;
};

// Makes chunks of one series' histograms, a new one where layout, kind or counter ask for it. Thread safety: one thread at a time.
class PrometheusHistogramEncoder {
 public:
  PrometheusHistogramEncoder();
  ~PrometheusHistogramEncoder();

  // In ascending order of time; each has passed ValidateHistogram.
  void Add(Timestamp timestamp, const Histogram& histogram);

  // The chunks of all that was added since it was called last.
  std::vector<PrometheusHistogramChunk> Finish();

 private:
  struct Chunk;
  void EndChunk();
  std::unique_ptr<Chunk> chunk_;  // the last; null: none
  std::vector<PrometheusHistogramChunk> done_;
};

// Calls `visit` with each sample of a chunk, whatever its bytes are: kDataLoss where they are malformed or claim more buckets than
// they have bits for, kUnimplemented for another encoding; a status of `visit` that is not ok ends it. Hints are those that
// Prometheus gives when it reads: after the first sample of a counter's chunk there was no reset. Memory: one sample.
Status DecodePrometheusHistograms(unsigned encoding, std::string_view data, const std::function<Status(HistogramSample)>& visit);

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_HISTOGRAM_H_

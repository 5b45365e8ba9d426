// Chunks of native histograms: Chronolith's own encoding, version 1. Integer and float histograms, exponential and custom buckets
// may follow one another in one chunk.
//
//   chunk    version byte = 1 | fixed32 number of samples | samples
//   sample   byte: bit 0 "a layout follows", bits 1..2 counter reset hint, other bits 0
//            [layout]
//            zigzag varint timestamp (first as it is, second as delta, then deltas of deltas)
//            columns: count | zero_count | sum | positive buckets | negative buckets
//   layout   byte: 0 integer, 1 float | zigzag varint schema | fixed64 zero_threshold
//            | uvarint number of positive spans, each: zigzag varint offset, uvarint length | the same for the negative ones
//            | uvarint number of positive buckets | uvarint number of negative buckets
//            | uvarint number of custom values, each fixed64
//
// A layout stands before the first sample and wherever kind, schema, zero_threshold, spans, numbers of buckets or custom values
// differ from the sample before. Each column is coded against the same column of the sample before, or against zeros behind a
// layout: integers (count, zero_count and the bucket deltas) as zigzag varints of the difference modulo 2^64, doubles as XOR bytes
// (value_codec.h). Within the bucket columns a 0 is followed by a uvarint: how many more zeros come, because between two scrapes
// most buckets stand still.
//
// Why sample after sample and not column after column: the head appends in place and a checkpoint copies what is there.
#ifndef CHRONOLITH_CHUNK_HISTOGRAM_CHUNK_H_
#define CHRONOLITH_CHUNK_HISTOGRAM_CHUNK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "chunk/value_codec.h"

namespace chronolith {

inline constexpr std::uint8_t kHistogramChunkVersion = 1;

// The bounds that ValidateHistogram enforces: they keep any one sample below 60,000 bytes, so that a chunk of one sample fits an
// engine's value (64 KiB).
inline constexpr std::size_t kMaxHistogramBuckets = 4096;  // positive and negative
inline constexpr std::size_t kMaxHistogramSpans = 1024;    // positive and negative
inline constexpr std::size_t kMaxHistogramCustomValues = 1024;

// Whether `histogram` may be stored. kInvalidArgument names the field at fault:
//   schema -4..8, or -53 with custom values (ascending, finite; and then no negative buckets, zero count or zero threshold);
//   spans that describe exactly the buckets given, with offsets that are not negative but for the first, indices within 32 bits;
//   integer bucket counts that stay 0..2^63-1 and add up, with the zero count, to `count` (to at most `count` where the sum is NaN,
//   as in Prometheus: NaN observations fall into no bucket); float counts that are not negative; the bounds above.
// A histogram whose sum is the stale marker says that the series ended: its other fields are not looked at, but for the bounds.
Status ValidateHistogram(const Histogram& histogram);

// Appends to a chunk that it owns. The bytes are a whole chunk after every call.
// Memory: the chunk and the last histogram. Thread safety: none; const calls may run side by side.
class HistogramAppender {
 public:
  HistogramAppender();

  // Adds a sample, in any order of time. `histogram` has passed ValidateHistogram. O(buckets), amortised.
  void Append(Timestamp timestamp, const Histogram& histogram);

  // No append of `histogram` adds more bytes than this.
  static std::size_t MaxBytes(const Histogram& histogram);

  std::uint32_t count() const { return count_; }
  const std::string& data() const { return data_; }
  // Moves the chunk out and begins the next one.
  std::string Take();

 private:
  std::string data_;
  Histogram last_;
  TimeCodec time_;
  std::uint32_t count_ = 0;
};

// Reads a chunk from anywhere; never reads outside of it, never allocates more than the bounds above allow. The bytes must outlive
// the iterator. Thread safety: one thread at a time.
class HistogramIterator {
 public:
  // No samples, no error.
  HistogramIterator() : in_(std::string_view()) {}
  explicit HistogramIterator(std::string_view chunk);

  std::uint32_t count() const { return count_; }  // as the header says

  // False at the end and after an error: kDataLoss naming the sample, kFailedPrecondition for a newer version.
  bool Next();
  const HistogramSample& sample() const { return sample_; }
  const Status& status() const { return status_; }

 private:
  bool ReadSample();

  ByteReader in_;
  TimeCodec time_;
  std::uint32_t count_ = 0;
  std::uint32_t read_ = 0;
  HistogramSample sample_;
  Status status_;
};

std::string EncodeHistograms(std::span<const HistogramSample> samples);
Result<std::vector<HistogramSample>> DecodeHistograms(std::string_view chunk);

}  // namespace chronolith

#endif  // CHRONOLITH_CHUNK_HISTOGRAM_CHUNK_H_

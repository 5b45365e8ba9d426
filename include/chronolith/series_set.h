// Results of a query: a cursor over series, and cursors over one series' samples or raw chunks.
#ifndef CHRONOLITH_SERIES_SET_H_
#define CHRONOLITH_SERIES_SET_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "chronolith/export.h"
#include "chronolith/labels.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith {

enum class ValueType : std::uint8_t { kNone, kFloat, kIntHistogram, kFloatHistogram };

// Samples of one series in ascending time order, one per timestamp (DuplicatePolicy applied, deleted and expired ones left out).
// Valid until the SeriesSet that made it moves on or is destroyed. Thread safety: one thread at a time.
class CHRONOLITH_EXPORT SampleIterator {
 public:
  virtual ~SampleIterator();
  // Moves to the next sample; kNone at the end and after an error: then look at status().
  virtual ValueType Next() = 0;
  virtual Timestamp timestamp() const = 0;
  virtual double value() const = 0;                // after kFloat
  virtual const Histogram& histogram() const = 0;  // after kIntHistogram, kFloatHistogram
  virtual Status status() const = 0;

  // Decodes up to `capacity` float samples into `timestamps` and `values`; the fast path of full scans. Stops before a histogram.
  // 0: the next sample is a histogram, the end, or an error: Next tells which.
  virtual std::size_t NextFloats(Timestamp* timestamps, double* values, std::size_t capacity) = 0;
};

// One encoded chunk. `data` lives until the ChunkIterator moves on.
struct RawChunk {
  enum class Encoding : std::uint8_t { kXor = 1, kHistogram = 2 };  // kXor is Prometheus' encoding 1, bit for bit
  Encoding encoding = Encoding::kXor;
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint32_t samples = 0;
  std::string_view data;
};

// Chunks that together hold exactly the samples that SampleIterator would yield: chunks which overlap others, or are cut by the
// range, a delete or the retention floor, are re-encoded; all others are bit for bit what was appended. Ascending, not overlapping.
class CHRONOLITH_EXPORT ChunkIterator {
 public:
  virtual ~ChunkIterator();
  virtual bool Next() = 0;  // false at the end and after an error
  virtual const RawChunk& chunk() const = 0;
  virtual Status status() const = 0;
};

// Series in the order of their labels. A series without a sample in the range does not appear.
// Each series is seen as it was at one moment between Select and Next; what a writer was told is stored before Select is seen.
// Lifetime: must be destroyed before its Storage is closed. Thread safety: one thread at a time; several sets may be read at once.
class CHRONOLITH_EXPORT SeriesSet {
 public:
  virtual ~SeriesSet();
  // Moves to the next series; false at the end, after an error, a cancellation or a passed deadline: then look at status().
  virtual bool Next() = 0;
  virtual const Labels& labels() const = 0;
  // Both may be called once a series; valid until Next is called.
  virtual SampleIterator& samples() = 0;
  virtual ChunkIterator& chunks() = 0;
  virtual Status status() const = 0;
  // What damaged shards hold was left out so far (SelectOptions::skip_damaged); look when the set has ended.
  virtual bool partial() const { return false; }
};

}  // namespace chronolith

#endif  // CHRONOLITH_SERIES_SET_H_

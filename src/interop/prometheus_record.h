// Records of Prometheus' write-ahead log, as version 2.42 writes them: one byte of type, then
//
//   1 series            each: uint64 reference | labels: uvarint number | each: uvarint length and bytes of name, of value
//   2 samples           uint64 reference, int64 time, both of the first | each: varint reference, time, against these | 64 bits of
//   value 3 tombstones        each: uint64 reference | varint first and last time 4 exemplars         as samples, each with labels
//   behind its value 5 m-map markers     of out-of-order chunks: nothing that is not elsewhere 6 metadata          each: uvarint
//   reference | byte of type | uvarint number of fields | each: name, value 7 histograms        as samples; a histogram for the
//   value: byte of reset hint | varint schema | 64 bits of zero threshold
//                       | uvarint zero count, count | 64 bits of sum | positive, negative spans: uvarint number | each: varint
//                       offset, uvarint length | positive, negative buckets: uvarint number | varints
//   8 float histograms  the same with counts and buckets as 64 bits
//
// Fixed integers are big-endian, varints as in Protocol Buffers, signed ones zigzag.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_RECORD_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_RECORD_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith {

struct PrometheusSample {
  std::uint64_t ref = 0;
  Timestamp timestamp = 0;
  double value = 0;
};

// Takes what a record holds. A status that is not ok ends the record, and is returned.
class PrometheusRecordSink {
 public:
  virtual ~PrometheusRecordSink() = default;
  virtual Status OnSeries(std::uint64_t ref, Labels labels) = 0;
  virtual Status OnSamples(std::span<const PrometheusSample> samples) = 0;
  virtual Status OnTombstone(std::uint64_t ref, TimeRange range) = 0;
  virtual Status OnExemplar(std::uint64_t ref, Exemplar exemplar) = 0;
  virtual Status OnMetadata(std::uint64_t ref, Metadata metadata) = 0;
  virtual Status OnHistogram(std::uint64_t ref, HistogramSample histogram) = 0;
};

// Reads records, whatever their bytes are. Thread safety: one thread at a time.
class PrometheusRecordReader {
 public:
  enum Type : std::uint8_t {
    kSeries = 1,
    kSamples,
    kTombstones,
    kExemplars,
    kMmapMarkers,
    kMetadata,
    kHistograms,
    kFloatHistograms
  };

  // Returns what `sink` says. `damage`: kDataLoss where the record is malformed, what stood before is delivered then, of samples
  // nothing; kUnimplemented for a type that 2.42 does not know.
  Status Read(std::string_view record, PrometheusRecordSink* sink, Status* damage);

 private:
  std::vector<PrometheusSample> samples_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_RECORD_H_

// The index file of a Prometheus TSDB block: written whole, read series by series.
//
//   magic 0xBAAAD700 | version 2 | symbol table | series | label indices | postings | label offset table | postings offset table |
//   TOC
//
// All fixed integers are big-endian. Sections but the series are `uint32 length | content | CRC32C of content`:
//   symbol table             uint32 number | strings, each uvarint length and bytes, ascending; a symbol's number is its place
//   series (16-aligned)      uvarint length | uvarint number of labels | each: uvarint name, value symbol | uvarint number of
//   chunks
//                            | first: varint min, uvarint max - min, uvarint reference
//                            | others: uvarint min - previous max, uvarint max - min, varint reference - previous | CRC32C
//                            a series' reference in postings is its offset / 16
//   label index (4-aligned)  uint32 1 | uint32 number | value symbols as uint32      (no reader of version 2 uses them)
//   postings (4-aligned)     uint32 number | series references as uint32, ascending
//   label offset table       uint32 number | each: byte 1, name, uvarint offset of the label index
//   postings offset table    uint32 number | each: byte 2, name, value, uvarint offset; ascending; ("", "") first: all series
//   TOC, the last 52 bytes   offsets as uint64: symbols, series, label indices, label offset table, postings, postings offset table
//                            | CRC32C
// A chunk reference is the number of the segment file, from 0, << 32 | offset in the file.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_INDEX_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_INDEX_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "interop/file_sink.h"

namespace chronolith {

struct PrometheusChunkRef {
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint64_t ref = 0;
};

// Collects series in memory (4 bytes a label, 24 a chunk, and each distinct label once), then writes the file in one pass: the
// symbol table stands first and is known last. Thread safety: one thread at a time.
class PrometheusIndexWriter {
 public:
  // Series come in ascending order of labels, chunks in order of time. kInvalidArgument otherwise, naming the series.
  Status Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks);

  // Writes the index. The sink keeps failures of the system; kResourceExhausted where a section outgrows its 32-bit length.
  Status WriteTo(FileSink* out);

  std::uint64_t series() const { return series_.size(); }

 private:
  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  struct Pair {  // a label, by the numbers of its strings
    std::uint32_t name = 0, value = 0;
    std::uint32_t series = 0;
  };
  struct SeriesEntry {
    std::uint64_t labels_end = 0;  // in label_pairs_
    std::uint64_t chunks_end = 0;  // in chunks_
  };
  struct OffsetEntry {
    std::uint32_t pair = 0;
    std::uint64_t offset = 0;
  };

  std::uint32_t Intern(std::string_view s);
  void SortSymbols();
  Status WriteSymbols(FileSink* out) const;
  Status WriteSeries(FileSink* out);
  Status WriteLabelIndices(FileSink* out, std::vector<OffsetEntry>* entries) const;
  Status WritePostings(FileSink* out, std::vector<OffsetEntry>* entries) const;
  Status WriteLabelOffsets(const std::vector<OffsetEntry>& entries, FileSink* out) const;
  Status WritePostingOffsets(std::uint64_t all, const std::vector<OffsetEntry>& entries, FileSink* out) const;

  std::unordered_map<std::string, std::uint32_t, StringHash, std::equal_to<>> symbols_;
  std::vector<std::string_view> strings_;  // by number of first appearance; views of the map's keys
  std::unordered_map<std::uint64_t, std::uint32_t> pair_numbers_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> label_pairs_;
  std::vector<PrometheusChunkRef> chunks_;
  std::vector<SeriesEntry> series_;
  Labels last_;

  // Filled by WriteTo.
  std::vector<std::uint32_t> symbol_order_;   // sorted place -> number
  std::vector<std::uint32_t> symbol_places_;  // number -> sorted place
  std::vector<std::uint32_t> pair_order_;     // pairs by name and value
  std::vector<std::uint32_t> series_refs_;
};

// Reads the bytes of an index, whatever they are: everything is bounds-checked and under its CRC. The bytes must outlive the
// reader. Thread safety: one thread at a time.
class PrometheusIndexReader {
 public:
  // kDataLoss for damage, kFailedPrecondition for a version other than 2 (version 1 was written until Prometheus 2.1).
  static Result<PrometheusIndexReader> Open(std::string_view bytes);

  // Moves to the next series, in order of labels; false at the end and after an error.
  bool Next();
  const Labels& labels() const { return labels_; }
  const std::vector<PrometheusChunkRef>& chunks() const { return chunks_; }
  std::uint64_t series_ref() const { return series_ref_; }  // as tombstones name it
  const Status& status() const { return status_; }

 private:
  PrometheusIndexReader() = default;
  Status ReadSymbols(std::uint64_t offset);
  Status FindAllPostings(std::uint64_t offset);
  Result<std::string_view> Section(std::uint64_t offset, const char* what) const;
  bool Symbol(std::uint64_t number, std::string_view* s) const;
  bool ReadSeries(std::uint32_t ref);

  std::string_view bytes_;
  std::vector<std::string_view> symbols_;
  std::string_view postings_;  // of all series
  std::uint64_t series_ref_ = 0;
  Labels labels_;
  std::vector<PrometheusChunkRef> chunks_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_INDEX_H_

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

#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
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

// Takes the series one by one, then writes the file: the symbol table stands first and is known last, so the series wait in a file
// of their own, and each 4 million postings are one more pass over it. Memory: for each distinct label its bytes and about 60 more,
// 4 bytes a series, 20 MiB. Thread safety: one thread at a time.
class PrometheusIndexWriter {
 public:
  // The waiting series are kept in `spool`, which must not exist, and is removed in the end.
  explicit PrometheusIndexWriter(std::string spool);
  ~PrometheusIndexWriter();
  PrometheusIndexWriter(const PrometheusIndexWriter&) = delete;
  PrometheusIndexWriter& operator=(const PrometheusIndexWriter&) = delete;

  // Series come in ascending order of labels, chunks in order of time. kInvalidArgument otherwise, naming the series; what the
  // system says of the spool's creation.
  Status Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks);

  // Writes the index, and removes the spool. The sink keeps failures of the system; kResourceExhausted where a section outgrows its
  // 32-bit length.
  Status WriteTo(FileSink* out);

  std::uint64_t series() const { return series_; }

 private:
  struct Pair {  // a label, by the numbers of its strings
    std::uint32_t name = 0, value = 0;
    std::uint32_t series = 0;
  };
  // Numbers stand for what they number, so that a string or pair is kept once.
  struct SymbolHash {
    using is_transparent = void;
    const PrometheusIndexWriter* w;
    std::size_t operator()(std::string_view s) const { return absl::Hash<std::string_view>()(s); }
    std::size_t operator()(std::uint32_t n) const { return (*this)(w->Symbol(n)); }
  };
  struct SymbolEqual {
    using is_transparent = void;
    const PrometheusIndexWriter* w;
    bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
    bool operator()(std::uint32_t a, std::string_view b) const { return w->Symbol(a) == b; }
    bool operator()(std::string_view a, std::uint32_t b) const { return w->Symbol(b) == a; }
  };
  struct PairHash {
    using is_transparent = void;
    const PrometheusIndexWriter* w;
    std::size_t operator()(std::uint64_t key) const { return absl::Hash<std::uint64_t>()(key); }
    std::size_t operator()(std::uint32_t n) const { return (*this)(w->PairKey(n)); }
  };
  struct PairEqual {
    using is_transparent = void;
    const PrometheusIndexWriter* w;
    bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
    bool operator()(std::uint32_t a, std::uint64_t b) const { return w->PairKey(a) == b; }
    bool operator()(std::uint64_t a, std::uint32_t b) const { return w->PairKey(b) == a; }
  };
  struct LabelIndex {
    std::uint32_t first_pair = 0;  // of its name
    std::uint64_t offset = 0;
  };
  class SpoolReader;

  std::string_view Symbol(std::uint32_t number) const {
    const std::uint64_t begin = number == 0 ? 0 : symbol_ends_[number - 1];
    return std::string_view(text_).substr(begin, symbol_ends_[number] - begin);
  }
  std::uint64_t PairKey(std::uint32_t number) const {
    return static_cast<std::uint64_t>(pairs_[number].name) << 32 | pairs_[number].value;
  }
  Status OpenSpool();
  std::uint32_t Intern(std::string_view s);
  std::uint32_t InternPair(std::uint32_t name, std::uint32_t value);
  void SortSymbols();
  Status WriteSymbols(FileSink* out) const;
  Status WriteSeries(FileSink* out);
  Status WriteLabelIndices(FileSink* out, std::vector<LabelIndex>* entries) const;
  Status WritePostings(FileSink* out, std::vector<std::uint64_t>* offsets) const;
  Status WriteLabelOffsets(const std::vector<LabelIndex>& entries, FileSink* out) const;
  Status WritePostingOffsets(std::uint64_t all, const std::vector<std::uint64_t>& offsets, FileSink* out) const;

  std::string text_;  // the symbols, by number of first appearance
  std::vector<std::uint64_t> symbol_ends_;
  absl::flat_hash_set<std::uint32_t, SymbolHash, SymbolEqual> symbols_;
  std::vector<Pair> pairs_;
  absl::flat_hash_set<std::uint32_t, PairHash, PairEqual> pair_numbers_;
  const std::string spool_path_;
  FileSink spool_;  // of each series: fixed32 length | uvarint number of labels | their pairs as uvarints | its chunks as the index
                    // has them
  bool spooled_ = false;  // the file is there
  std::uint64_t series_ = 0;
  Labels last_;
  std::vector<std::uint32_t> numbers_;  // of the series being added

  // Filled by WriteTo.
  std::vector<std::uint32_t> symbol_order_;   // sorted place -> number
  std::vector<std::uint32_t> symbol_places_;  // number -> sorted place
  std::vector<std::uint32_t> pair_order_;     // pairs by name and value
  std::vector<std::uint32_t> series_refs_;
};

// Reads an index, whatever its bytes are: everything is bounds-checked and under its CRC. Memory: the symbol table, 4 bytes a
// symbol and a series. Thread safety: one thread at a time.
class PrometheusIndexReader {
 public:
  // kDataLoss for damage, kFailedPrecondition for a version other than 2 (version 1 was written until Prometheus 2.1), and what
  // `read` says. `size` bytes can be read.
  static Result<PrometheusIndexReader> Open(ReadFunction read, std::uint64_t size);
  // Of bytes in memory, which outlive the reader.
  static Result<PrometheusIndexReader> Open(std::string_view bytes);

  std::uint64_t series() const { return postings_.size() / 4; }

  // Moves to the next series, in order of labels; false at the end and after an error.
  bool Next();
  // After damage of one series: Next goes on behind it.
  void PassDamage() { status_ = Status::Ok(); }
  const Labels& labels() const { return labels_; }
  const std::vector<PrometheusChunkRef>& chunks() const { return chunks_; }
  std::uint64_t series_ref() const { return series_ref_; }  // as tombstones name it
  const Status& status() const { return status_; }

 private:
  PrometheusIndexReader(ReadFunction read, std::uint64_t size) : read_(std::move(read)), size_(size), ahead_(read_) {}
  Status ReadSymbols(std::uint64_t offset);
  Status FindAllPostings(std::uint64_t offset);
  Result<std::string> Section(std::uint64_t offset, const char* what) const;
  bool Symbol(std::uint64_t number, std::string_view* s) const;
  Status ReadSeries(std::uint32_t ref);
  bool ParseSeries(std::string_view content);

  ReadFunction read_;
  std::uint64_t size_;
  ReadAhead ahead_;  // of series
  std::string symbols_;
  std::vector<std::uint32_t> symbol_offsets_;  // in symbols_, of their lengths
  std::string postings_;                       // of all series
  std::size_t next_ = 0;                       // in postings_
  std::uint64_t series_ref_ = 0;
  Labels labels_;
  std::vector<PrometheusChunkRef> chunks_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_INDEX_H_

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
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "interop/file_sink.h"
#include "interop/prometheus_symbols.h"
#include "interop/record_sorter.h"
#include "interop/spool_file.h"

namespace chronolith {

struct PrometheusChunkRef {
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint64_t ref = 0;
};

// Takes the series one by one, then writes the file: the symbol table stands first and is known last, and postings want each
// label's series together, so all of it waits in files, as sorted runs. Memory: 40 MiB, of which 24 are two RecordSorters', and 16
// bytes for each name of a label. Thread safety: one thread at a time.
class PrometheusIndexWriter {
 public:
  struct Options {  // of runs
    std::size_t symbol_bytes = PrometheusSymbolRuns::kRunBytes;
    std::size_t records = RecordSorter::kRunRecords;
  };

  // What waits is kept in files whose names begin with `spool`; they must not exist, and go with the writer.
  PrometheusIndexWriter(const std::string& spool, const Options& options);
  explicit PrometheusIndexWriter(const std::string& spool) : PrometheusIndexWriter(spool, Options{}) {}

  // Series come in ascending order of labels, chunks in order of time. kInvalidArgument otherwise, naming the series; what the
  // system says of a file.
  Status Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks);

  // Writes the index. The sink keeps failures of the system; kResourceExhausted where a section outgrows its 32-bit length. Once.
  Status WriteTo(FileSink* out);

  std::uint64_t series() const { return series_; }

 private:
  struct Pair {  // a label, by the numbers of its symbols
    std::uint32_t name = 0, value = 0;
    std::uint32_t series = 0;
  };
  struct Name {  // of labels
    std::uint32_t symbol = 0, values = 0;
    std::uint64_t offset = 0;  // of its label index
  };

  void Intern(const Labels& labels);
  Status WriteSymbols(FileSink* out);
  Status WriteSeries(FileSink* out);
  Status OneSeries(SpoolReader* spool, std::span<const std::uint32_t> numbers, FileSink* out);
  Status GroupPostings();
  Status EachPair(const std::function<Status(const Pair&)>& visit) const;
  Status WriteLabelIndices(FileSink* out);
  Status WritePostings(FileSink* out) const;
  Status WriteLabelOffsets(FileSink* out);
  Status WritePostingOffsets(std::uint64_t postings, FileSink* out);

  PrometheusSymbolRuns runs_;
  SpoolFile spool_;  // of each series: fixed32 length | uvarint 2 x number of labels | names' and values' numbers in their run as
                     // uvarints | its chunks as the index has them
  std::vector<std::uint64_t> run_ends_;  // series before the end of each run of symbols
  std::uint64_t series_ = 0;
  Labels last_;
  std::vector<std::uint32_t> numbers_, last_numbers_;  // of the series being added, and of last_; none where that is of another run

  // Filled by WriteTo.
  PrometheusSymbols symbols_;
  RecordSorter postings_;    // (name, value) -> reference; ("", ""): of all series
  SpoolFile pairs_, refs_;   // Pairs in order, as three fixed32; their references in the same order, big-endian
  std::vector<Name> names_;  // in order
  std::string content_, frame_;
};

// Reads an index, whatever its bytes are: everything is bounds-checked and under its CRC. Memory: that of PrometheusSymbols and
// 512 KiB. Thread safety: one thread at a time.
class PrometheusIndexReader {
 public:
  // kDataLoss for damage, kFailedPrecondition for a version other than 2 (version 1 was written until Prometheus 2.1), and what
  // `read` says. `size` bytes can be read.
  static Result<PrometheusIndexReader> Open(ReadFunction read, std::uint64_t size);
  // Of bytes in memory, which outlive the reader.
  static Result<PrometheusIndexReader> Open(std::string_view bytes);

  std::uint64_t series() const { return series_; }

  // Moves to the next series, in order of labels; false at the end and after an error.
  bool Next();
  // After damage of one series: Next goes on behind it.
  void PassDamage() { status_ = Status::Ok(); }
  const Labels& labels() const { return labels_; }
  const std::vector<PrometheusChunkRef>& chunks() const { return chunks_; }
  std::uint64_t series_ref() const { return series_ref_; }  // as tombstones name it
  const Status& status() const { return status_; }

 private:
  PrometheusIndexReader(ReadFunction read, std::uint64_t size)
      : read_(std::move(read)), size_(size), postings_(read_), ahead_(read_) {}
  struct Section {
    std::uint64_t begin = 0, end = 0;  // of its content
  };
  Status ReadSymbols(std::uint64_t offset);
  Status FindAllPostings(std::uint64_t offset);
  Status OpenPostings(std::uint64_t offset);
  // Its bytes pass their checksum; at least the number of its entries is there.
  Result<Section> CheckedSection(std::uint64_t offset, const std::string& what, std::uint32_t* count) const;
  Status ReadSeries(std::uint32_t ref);
  Status ParseSeries(std::string_view content, bool* well_formed);
  Status ParseLabels(ByteReader* in, bool* well_formed);
  bool ParseChunks(ByteReader* in);

  ReadFunction read_;
  std::uint64_t size_;
  PrometheusSymbols symbols_;
  ReadAhead postings_;             // of all series
  std::uint64_t next_offset_ = 0;  // of the next series' reference among them
  std::uint64_t series_ = 0, visited_ = 0;
  ReadAhead ahead_;  // of series
  std::string name_before_;
  std::uint64_t series_ref_ = 0;
  Labels labels_;
  std::vector<PrometheusChunkRef> chunks_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_INDEX_H_

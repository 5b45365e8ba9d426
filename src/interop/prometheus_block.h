// Blocks of Prometheus' TSDB: a directory that Prometheus, promtool, Thanos and Mimir take as their own.
//
//   <ULID>/meta.json        time span, counts
//   <ULID>/chunks/000001    magic 0x85BD40DD, version 1, three zero bytes; chunks, each: uvarint length | encoding byte | data
//                           | CRC32C of encoding byte and data; at most 512 MiB a file, then 000002 and so on
//   <ULID>/index            prometheus_index.h
//   <ULID>/tombstones       magic 0x0130BA30, version 1; deletes, each: uvarint series reference, varint first and last time;
//                           CRC32C of the deletes
//
// Chunks go through as they are, in both directions: nothing is decoded. Encodings: 1 floats (chunk/xor_chunk.h), 2 and 3 native
// histograms (prometheus_histogram.h).
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_BLOCK_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "interop/file_sink.h"
#include "interop/prometheus_index.h"
#include "interop/prometheus_pieces.h"

namespace chronolith {

struct PrometheusChunk {
  std::uint8_t encoding = 1;
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // inclusive
  std::uint32_t samples = 0;
  std::string_view data;
};

// 48 bits of time and 80 random ones in Crockford's base 32: the name of a block, in order of making.
std::string MakeUlid(std::int64_t now_ms, const std::array<std::uint8_t, 10>& random);

// Writes one block. Until Finish the block stands in `<parent>/<ULID>.tmp-for-creation`, which Prometheus ignores and removes.
// Memory: that of PrometheusIndexWriter; chunks go straight to their file. Thread safety: one thread at a time.
class PrometheusBlockWriter {
 public:
  struct Options {
    std::string ulid;                            // "": made from the wall clock and random bits
    std::uint64_t segment_bytes = 512ULL << 20;  // of one chunks file
    bool in_pieces = false;                      // EndPiece is called
  };
  struct Summary {
    std::string directory;  // "": nothing was added, so there is no block
    std::string ulid;
    Timestamp min_time = 0;
    Timestamp max_time = 0;  // exclusive, as in meta.json
    std::uint64_t series = 0;
    std::uint64_t chunks = 0;
    std::uint64_t samples = 0;
  };

  // `parent` exists. kAlreadyExists where a block of this ULID does; kPermissionDenied, kNotFound, kIoError of the system.
  static Result<std::unique_ptr<PrometheusBlockWriter>> Create(const std::string& parent, const Options& options);
  // Removes an unfinished block.
  ~PrometheusBlockWriter();

  // Adds a series; series come in ascending order of labels, chunks ascending and not overlapping. A series without chunks is left
  // out. kInvalidArgument where the order is broken, a label is invalid, or a chunk's data does not hold the samples it says;
  // kUnimplemented for an encoding other than 1 to 3. A refused series leaves no trace in the index.
  Status Add(const Labels& labels, std::span<const PrometheusChunk> chunks);

  // What is added from now on is a piece of its own, in order within itself; Finish merges the pieces, which wait in a file (their
  // labels and where their chunks are). No series may be in two of them. Memory: that of PrometheusSeriesPieces.
  void EndPiece();

  // Completes the block: all is on disk, under its final name, when this returns ok. May be called once.
  Result<Summary> Finish();

 private:
  PrometheusBlockWriter(std::string parent, const Options& options);
  static Status CheckChunks(const Labels& labels, std::span<const PrometheusChunk> chunks);
  Status AppendChunk(const PrometheusChunk& chunk, std::uint64_t* ref);
  Status WriteIndex();
  Status WriteSmallFile(const std::string& name, std::string_view bytes);
  std::string MetaJson() const;

  const std::string parent_;
  const Options options_;
  std::string directory_;  // temporary
  FileSink segment_;
  std::uint64_t segments_ = 0;
  std::unique_ptr<PrometheusIndexWriter> index_;
  std::unique_ptr<PrometheusSeriesPieces> pieces_;  // null: series go straight to index_
  Summary summary_;
  std::vector<PrometheusChunkRef> refs_;
};

// The deletes of a tombstones file by series reference; ends are exclusive. kDataLoss, kFailedPrecondition.
using PrometheusTombstones = std::unordered_map<std::uint64_t, std::vector<TimeRange>>;
Result<PrometheusTombstones> ParsePrometheusTombstones(std::string_view file);

// Reads a block, series by series, in order of labels. Every byte used is under a checksum and bounds-checked; a damaged block ends
// in kDataLoss, not in wrong samples. Memory: that of PrometheusIndexReader and one series' chunks. Thread safety: one thread at a
// time.
class PrometheusBlockReader {
 public:
  struct Options {
    bool skip_damaged = false;  // leaves out chunks and series that are damaged, and has them in problems()
    TimeRange range;            // chunks wholly outside of it are not read
  };

  // `directory` is the block's own. kNotFound, kPermissionDenied, kIoError, kDataLoss, kFailedPrecondition (unknown version).
  static Result<std::unique_ptr<PrometheusBlockReader>> Open(const std::string& directory, const Options& options);
  static Result<std::unique_ptr<PrometheusBlockReader>> Open(const std::string& directory) { return Open(directory, {}); }

  std::uint64_t series() const { return index_->series(); }

  // Moves to the next series; false at the end and after an error: kUnimplemented for a chunk of an encoding other than 1 to 3,
  // else as Open. With skip_damaged only errors of the system end it.
  bool Next();
  const Labels& labels() const { return index_->labels(); }
  // Valid until Next.
  std::span<const PrometheusChunk> chunks() const { return chunks_; }
  // What the last Next left out, each named by file and offset.
  const std::vector<Status>& problems() const { return problems_; }
  // What the block's tombstones hide of this series.
  std::span<const TimeRange> deleted() const;
  const Status& status() const { return status_; }

 private:
  PrometheusBlockReader(std::string directory, const Options& options) : directory_(std::move(directory)), options_(options) {}
  Status ReadTombstones();
  std::string SegmentName(std::uint64_t number) const;
  Status OpenSegment(std::uint64_t number);
  Status ReadChunk(const PrometheusChunkRef& ref, PrometheusChunk* chunk);
  bool ReadChunks();
  // Whether the series or chunk at hand may be left out.
  bool Skip(const Status& problem);

  const std::string directory_;
  const Options options_;
  FileSource index_file_;
  std::unique_ptr<PrometheusIndexReader> index_;
  PrometheusTombstones tombstones_;
  FileSource segment_;
  ReadAhead segment_bytes_;
  std::uint64_t segment_number_ = ~0ULL;  // of segment_; none
  std::uint64_t failed_segment_ = ~0ULL;  // could not be opened, and why
  Status segment_status_;
  std::vector<PrometheusChunk> chunks_;
  std::string data_;  // of chunks_
  std::vector<Status> problems_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_BLOCK_H_

// Segments of Prometheus' write-ahead log: files of pages of 32 KiB. A record is cut into fragments, none of which crosses a page:
//
//   byte: bits 0-2 type (0 the rest of the page is zeros, 1 whole record, 2 first, 3 middle, 4 last), bit 3 the record is
//   snappy-compressed | uint16 big-endian length | CRC32C of the bytes, big-endian | bytes
//
// A record lies within one segment.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_WAL_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_WAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "interop/file_sink.h"

namespace chronolith {

// Reads the records of one segment, whatever its bytes are. What is damaged is passed by up to the next page with the beginning of
// a record. Memory: one record, and a page. Thread safety: one thread at a time.
class PrometheusWalSegment {
 public:
  // kNotFound, kPermissionDenied, kIoError.
  static Result<std::unique_ptr<PrometheusWalSegment>> Open(const std::string& path);
  // Of bytes that can be read.
  PrometheusWalSegment(std::string name, ReadFunction read) : name_(std::move(name)), ahead_(std::move(read)) {}

  // Moves to the next record; false at the end, or where the file cannot be read: status().
  bool Next();
  std::string_view record() const { return record_; }
  std::uint64_t offset() const { return begin_; }         // where the record begins
  std::uint64_t position() const { return page_ + at_; }  // read so far
  const Status& status() const { return status_; }

  // The file ends within a record: what a writer leaves that is at work, or was killed.
  bool torn() const { return torn_; }
  // What was passed by, each named by file and byte; the first thousand.
  const std::vector<Status>& problems() const { return problems_; }

 private:
  // What the next fragment is.
  enum class Found : std::uint8_t { kRecord, kFragment, kEnd };
  Found Fragment();
  Found Damage(const std::string& how);
  bool LoadPage();
  bool Uncompress();

  FileSource file_;
  const std::string name_;
  ReadAhead ahead_;
  std::string_view bytes_;  // of the page
  std::uint64_t page_ = 0;  // where it begins
  std::size_t at_ = 0;      // in bytes_
  bool loaded_ = false;
  bool within_ = false;  // a record has begun
  bool compressed_ = false;
  bool torn_ = false;
  std::uint64_t begin_ = 0;
  std::string collected_;  // fragments of a record
  std::string uncompressed_;
  std::string_view record_;
  std::vector<Status> problems_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_WAL_H_

// Reading the files of a log archive: for the archiver that goes on with them, and for restores.
#ifndef CHRONOLITH_STORAGE_LOG_ARCHIVE_H_
#define CHRONOLITH_STORAGE_LOG_ARCHIVE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/posix_file.h"
#include "chronolith/result.h"
#include "format/archive_segment.h"

namespace chronolith {

struct ArchiveSegment {
  std::uint64_t number = 0;
  std::string path;
  std::uint64_t bytes = 0;
};

std::string ArchiveSegmentName(std::uint64_t number);
// In order. kNotFound: there is no such directory.
Result<std::vector<ArchiveSegment>> ListArchiveSegments(const std::string& directory);

// Whose archive it is, and the last segment's header. kNotFound: nothing was archived there yet.
Result<ArchiveHeader> ReadArchiveIdentity(const std::string& directory);

// The blocks of one segment, in order; also while it is written. Memory: one block. Thread safety: one thread.
class ArchiveReader {
 public:
  // kDataLoss: it has no header; kFailedPrecondition: it is of a newer format. Each names the file.
  static Result<std::unique_ptr<ArchiveReader>> Open(const std::string& path);
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  const ArchiveHeader& header() const { return header_; }
  // Views in the block are valid until the next call. False: at the end, or where the bytes are no block, or cannot be read.
  bool Next(ArchiveBlock* block);
  // Ok: Next came to the end. kDataLoss names file and offset.
  const Status& status() const { return status_; }
  // Where the last whole block ends.
  std::uint64_t offset() const { return offset_; }
  // After kDataLoss: whether no whole block lies behind offset(), so that it may be an end that was torn off. Reads all that is
  // left.
  Result<bool> IsTornEnd();

 private:
  ArchiveReader(std::string path, FileDescriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  // The block at `offset`, into buffer_. kNotFound: the file ends there.
  Status ReadBlock(std::uint64_t offset, ArchiveBlock* block);

  const std::string path_;
  const FileDescriptor file_;
  ArchiveHeader header_;
  std::string buffer_;
  std::uint64_t offset_ = 0;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_LOG_ARCHIVE_H_

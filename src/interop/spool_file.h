// A file that one writer needs until it is done: written from its beginning, then read, removed in the end.
#ifndef CHRONOLITH_INTEROP_SPOOL_FILE_H_
#define CHRONOLITH_INTEROP_SPOOL_FILE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/result.h"
#include "interop/file_sink.h"

namespace chronolith {

// Thread safety: one thread at a time.
class SpoolFile {
 public:
  // The file must not exist when it is first appended to.
  explicit SpoolFile(std::string path) : path_(std::move(path)) {}
  ~SpoolFile() { Remove(); }
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  // What the system says of its creation; what it says of writing comes from Finish.
  Status Append(std::string_view bytes) {
    if (!created_) {
      if (Status s = Create(); !s.ok()) return s;
    }
    sink_.Append(bytes);
    return Status::Ok();
  }
  std::uint64_t size() const { return created_ ? sink_.position() : 0; }
  // It is read from now on; an empty one too.
  Status Finish();
  const FileSource& source() const { return source_; }
  const std::string& path() const { return path_; }
  void Remove();

 private:
  Status Create();

  const std::string path_;
  bool created_ = false;
  FileSink sink_;
  FileSource source_;
};

// Reads a part of a finished spool from its beginning. Thread safety: one thread at a time.
class SpoolReader {
 public:
  static constexpr std::size_t kBufferBytes = 64 << 10;
  // Of each where so many are read together: 8 MiB in all, or 4 KiB each where there are more than 2,048.
  static constexpr std::size_t BufferBytes(std::size_t readers) {
    return std::clamp((std::size_t{8} << 20) / std::max<std::size_t>(readers, 1), std::size_t{4} << 10, kBufferBytes);
  }

  SpoolReader(const SpoolFile* file, std::uint64_t begin, std::uint64_t end, std::size_t buffer_bytes = kBufferBytes)
      : file_(file), offset_(begin), end_(end), buffer_bytes_(buffer_bytes) {}

  bool at_end() const { return offset_ + at_ >= end_; }
  // The next n bytes, valid until the next call; false where there are not so many: status() says why.
  bool Take(std::size_t n, std::string_view* bytes) {
    if (buffer_.size() - at_ < n && !Fill(n)) return false;
    *bytes = std::string_view(buffer_).substr(at_, n);
    at_ += n;
    return true;
  }
  // The same of bytes behind their length: as fixed32, or as a varint.
  bool TakeFramed(std::string_view* bytes);
  bool TakeVarint(std::uint64_t* n);
  const Status& status() const { return status_; }

 private:
  bool Fill(std::size_t n);

  const SpoolFile* file_;
  std::uint64_t offset_;  // of buffer_ in the file
  std::uint64_t end_;
  std::size_t buffer_bytes_;
  std::size_t at_ = 0;
  std::string buffer_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_SPOOL_FILE_H_

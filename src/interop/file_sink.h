// Files for the formats of others: one being written from its beginning, one being read at any place. Every failure of the system
// is a Status that names the file.
#ifndef CHRONOLITH_INTEROP_FILE_SINK_H_
#define CHRONOLITH_INTEROP_FILE_SINK_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith {

// Thread safety: one thread at a time. The first failure is kept: later appends do nothing and Close reports it.
class FileSink {
 public:
  FileSink() = default;
  ~FileSink();
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  // Creates the file; it must not exist.
  Status Create(std::string path);
  bool is_open() const { return fd_ >= 0; }

  void Append(std::string_view bytes);
  // Zeros up to the next multiple of `alignment`.
  void Pad(std::uint64_t alignment);
  std::uint64_t position() const { return position_; }

  // Writes out, syncs and closes.
  Status Close();
  // For a file that nobody needs after this process.
  Status CloseUnsynced();

 private:
  void Drain();

  std::string path_;
  std::string buffer_;
  std::uint64_t position_ = 0;
  int fd_ = -1;
  Status status_;
};

// An open file, read at offsets. Thread safety: one thread at a time.
class FileSource {
 public:
  FileSource() = default;
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  // Closes the file before, if any. kNotFound, kPermissionDenied, kIoError.
  Status Open(std::string path);
  // Replaces `bytes` by those from `offset` on, `n` of them, or fewer where the file ends.
  Status ReadAt(std::uint64_t offset, std::size_t n, std::string* bytes) const;
  // Fills the buffer from `offset` on and returns how much there was; less only at the end.
  Result<std::size_t> Read(std::uint64_t offset, std::span<char> buffer) const;
  Result<std::uint64_t> Size() const;

 private:
  std::string path_;
  int fd_ = -1;
};

// Replaces `bytes` by up to n of those from `offset` on; fewer only at the end.
using ReadFunction = std::function<Status(std::uint64_t offset, std::size_t n, std::string* bytes)>;

// Reads small pieces that mostly follow one another: the further they do, the more is read at once, 4 to 256 KiB.
// Thread safety: one thread at a time.
class ReadAhead {
 public:
  ReadAhead() = default;
  explicit ReadAhead(ReadFunction read) : read_(std::move(read)) {}

  // At most n bytes from `offset` on, fewer where the file ends; valid until the next call.
  Status View(std::uint64_t offset, std::size_t n, std::string_view* bytes);

 private:
  ReadFunction read_;
  std::string buffer_;
  std::uint64_t offset_ = 0;  // of buffer_
  std::size_t at_once_ = 0;
};

// The whole file. kNotFound, kPermissionDenied, kIoError.
Result<std::string> ReadWholeFile(const std::string& path);

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_FILE_SINK_H_

#include "interop/file_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/posix_file.h"

namespace chronolith {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

}  // namespace

FileSink::~FileSink() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileSink::Create(std::string path) {
  path_ = std::move(path);
  position_ = 0;
  buffer_.clear();
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  status_ = fd_ >= 0 ? Status::Ok() : ErrnoStatus("cannot create " + path_, errno);
  return status_;
}

void FileSink::Append(std::string_view bytes) {
  position_ += bytes.size();
  buffer_.append(bytes);
  if (buffer_.size() >= kBufferBytes) Drain();
}

void FileSink::Pad(std::uint64_t alignment) {
  const std::uint64_t over = position_ % alignment;
  if (over != 0) Append(std::string(alignment - over, '\0'));
}

void FileSink::Drain() {
  if (status_.ok()) status_ = WriteFully(fd_, buffer_, path_);
  buffer_.clear();
}

Status FileSink::Close() {
  if (fd_ < 0) return status_;
  Drain();
  if (status_.ok() && ::fsync(fd_) != 0) status_ = ErrnoStatus("cannot sync " + path_, errno);
  return CloseUnsynced();
}

Status FileSink::CloseUnsynced() {
  if (fd_ < 0) return status_;
  Drain();
  if (::close(fd_) != 0 && status_.ok()) status_ = ErrnoStatus("cannot close " + path_, errno);
  fd_ = -1;
  return status_;
}

FileSource::~FileSource() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileSource::Open(std::string path) {
  if (fd_ >= 0) ::close(fd_);
  path_ = std::move(path);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  return fd_ >= 0 ? Status::Ok() : ErrnoStatus("cannot open " + path_, errno);
}

Status FileSource::ReadAt(std::uint64_t offset, std::size_t n, std::string* bytes) const {
  bytes->resize(n);
  const Result<std::size_t> have = ReadFully(fd_, offset, *bytes, path_);
  bytes->resize(have.ok() ? *have : 0);
  return have.status();
}

Result<std::size_t> FileSource::Read(std::uint64_t offset, std::span<char> buffer) const {
  return ReadFully(fd_, offset, buffer, path_);
}

Result<std::uint64_t> FileSource::Size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return ErrnoStatus("cannot read " + path_, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

Status ReadAhead::View(std::uint64_t offset, std::size_t n, std::string_view* bytes) {
  constexpr std::size_t kLeast = 4 << 10, kMost = 256 << 10;
  const std::uint64_t end = offset_ + buffer_.size();
  if (offset < offset_ || offset > end || end - offset < n) {
    const bool follows = offset >= offset_ && offset <= end + kLeast;
    at_once_ = follows ? std::clamp(at_once_ * 2, kLeast, kMost) : kLeast;
    offset_ = offset;
    if (Status s = read_(offset, std::max(n, at_once_), &buffer_); !s.ok()) {
      buffer_.clear();
      return s;
    }
  }
  *bytes = std::string_view(buffer_).substr(offset - offset_, n);
  return Status::Ok();
}

Result<std::string> ReadWholeFile(const std::string& path) {
  FileSource file;
  if (Status s = file.Open(path); !s.ok()) return s;
  const auto size = file.Size();
  if (!size.ok()) return size.status();
  std::string bytes;
  if (Status s = file.ReadAt(0, *size, &bytes); !s.ok()) return s;
  return bytes;
}

}  // namespace chronolith

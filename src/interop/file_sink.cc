#include "interop/file_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace chronolith {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

// Closes a descriptor at the end of a scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

Status SystemError(std::string_view action, const std::string& path) {
  const int error = errno;
  std::string message = std::string(action) + " " + path + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      return NotFound(std::move(message));
    case EEXIST:
      return AlreadyExists(std::move(message));
    case EACCES:
    case EPERM:
    case EROFS:
      return PermissionDenied(std::move(message));
    case ENOSPC:
    case EDQUOT:
      return ResourceExhausted(std::move(message));
    default:
      return IoError(std::move(message));
  }
}

Status SyncDirectory(const std::string& path) {
  const Descriptor directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.fd < 0) return SystemError("cannot open", path);
  if (::fsync(directory.fd) != 0) return SystemError("cannot sync", path);
  return Status::Ok();
}

FileSink::~FileSink() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileSink::Create(std::string path) {
  path_ = std::move(path);
  position_ = 0;
  buffer_.clear();
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  status_ = fd_ >= 0 ? Status::Ok() : SystemError("cannot create", path_);
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
  std::string_view left = buffer_;
  while (!left.empty() && status_.ok()) {
    const ssize_t n = ::write(fd_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      status_ = SystemError("cannot write", path_);
      break;
    }
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  buffer_.clear();
}

Status FileSink::Close() {
  if (fd_ < 0) return status_;
  Drain();
  if (status_.ok() && ::fsync(fd_) != 0) status_ = SystemError("cannot sync", path_);
  if (::close(fd_) != 0 && status_.ok()) status_ = SystemError("cannot close", path_);
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
  return fd_ >= 0 ? Status::Ok() : SystemError("cannot open", path_);
}

Status FileSource::ReadAt(std::uint64_t offset, std::size_t n, std::string* bytes) const {
  bytes->resize(n);
  std::size_t have = 0;
  while (have < n) {
    const ssize_t got = ::pread(fd_, bytes->data() + have, n - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("cannot read", path_);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes->resize(have);
  return Status::Ok();
}

Result<std::string> ReadWholeFile(const std::string& path) {
  FileSource file;
  if (Status s = file.Open(path); !s.ok()) return s;
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return IoError("cannot read " + path + ": " + error.message());
  std::string bytes;
  if (Status s = file.ReadAt(0, size, &bytes); !s.ok()) return s;
  return bytes;
}

}  // namespace chronolith

#include "base/posix_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace chronolith {

Status ErrnoStatus(const std::string& what, int error) {
  const std::string message = what + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      return NotFound(message);
    case EEXIST:
      return AlreadyExists(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return PermissionDenied(message);
    case ENOSPC:
    case EDQUOT:
      return ResourceExhausted(message + " (free space and try again)");
    default:
      return IoError(message);
  }
}

int FileDescriptor::Reset() {
  const int fd = Release();
  return fd < 0 || ::close(fd) == 0 ? 0 : errno;
}

Result<FileDescriptor> OpenFile(const std::string& path, int flags, const char* verb) {
  constexpr int kMode = 0644;
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, kMode);
  if (fd < 0) return ErrnoStatus(std::string("cannot ") + verb + " " + path, errno);
  return FileDescriptor(fd);
}

Status WriteFully(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("cannot write " + path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return Status::Ok();
}

Result<std::size_t> ReadFully(int fd, std::uint64_t offset, std::span<char> buffer, const std::string& path) {
  std::size_t total = 0;
  while (total < buffer.size()) {
    const ssize_t n = ::pread(fd, buffer.data() + total, buffer.size() - total, static_cast<off_t>(offset + total));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("cannot read " + path, errno);
    if (n == 0) break;
    total += static_cast<std::size_t>(n);
  }
  return total;
}

Status SyncDirectory(const std::string& path) {
  const Result<FileDescriptor> directory = OpenFile(path, O_RDONLY | O_DIRECTORY, "open directory");
  if (!directory.ok()) return directory.status();
  return ::fsync(directory->get()) == 0 ? Status::Ok() : ErrnoStatus("cannot sync directory " + path, errno);
}

Status WriteSyncedFile(const std::string& directory, std::string_view name, std::string_view bytes) {
  const std::string final_name = directory + "/" + std::string(name);
  const std::string temporary = final_name + ".tmp";
  Result<FileDescriptor> file = OpenFile(temporary, O_CREAT | O_TRUNC | O_WRONLY, "create");
  if (!file.ok()) return file.status();
  if (Status s = WriteFully(file->get(), bytes, temporary); !s.ok()) return s;
  if (::fsync(file->get()) != 0) return ErrnoStatus("cannot sync " + temporary, errno);
  if (const int error = file->Reset(); error != 0) return ErrnoStatus("cannot close " + temporary, error);
  if (::rename(temporary.c_str(), final_name.c_str()) != 0) return ErrnoStatus("cannot name " + final_name, errno);
  return SyncDirectory(directory);
}

Status RemoveSyncedFile(const std::string& directory, std::string_view name) {
  const std::string path = directory + "/" + std::string(name);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus("cannot remove " + path, errno);
  return SyncDirectory(directory);
}

}  // namespace chronolith

// Files by system calls: whole reads and writes, what must be synced, and every error a Status that names the file.
#ifndef CHRONOLITH_BASE_POSIX_FILE_H_
#define CHRONOLITH_BASE_POSIX_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "chronolith/result.h"

namespace chronolith {

// "<what>: <the system's words>". kNotFound, kAlreadyExists, kPermissionDenied, kResourceExhausted (a full disk), else kIoError.
Status ErrnoStatus(const std::string& what, int error);
inline Status ErrnoStatus(const std::string& what, const std::error_code& error) { return ErrnoStatus(what, error.value()); }

// Closes what it holds. Thread safety: one thread at a time.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { Reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  // What close said: 0 or errno. 0 where nothing was open.
  int Reset();

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC; the error says "cannot <verb> <path>".
Result<FileDescriptor> OpenFile(const std::string& path, int flags, const char* verb = "open");
// All of `bytes`, from where the descriptor stands. `path` is for the message.
Status WriteFully(int fd, std::string_view bytes, const std::string& path);
// Fills the buffer from `offset` on and returns how much there was; less only at the end of the file.
Result<std::size_t> ReadFully(int fd, std::uint64_t offset, std::span<char> buffer, const std::string& path);

// Makes the entries of a directory survive a power loss.
Status SyncDirectory(const std::string& path);
// Written whole and synced, file and directory, before it has its name; what had the name is replaced.
Status WriteSyncedFile(const std::string& directory, std::string_view name, std::string_view bytes);
// Ok where it is not there.
Status RemoveSyncedFile(const std::string& directory, std::string_view name);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_POSIX_FILE_H_

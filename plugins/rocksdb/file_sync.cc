#include "plugins/rocksdb/file_sync.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace chronolith {
namespace {

Status Failed(const char* what, const std::string& path) {
  return IoError(std::string(what) + " '" + path + "': " + std::strerror(errno));
}

}  // namespace

Status SyncFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed("opening", path);
  Status result;
  if (fsync(fd) != 0) result = Failed("syncing", path);
  close(fd);
  return result;
}

Status SyncTree(const std::string& path) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (!entry.is_regular_file()) continue;
    if (Status s = SyncFile(entry.path().string()); !s.ok()) return s;
  }
  if (error) return IoError("listing '" + path + "': " + error.message());
  if (Status s = SyncFile(path); !s.ok()) return s;
  return SyncFile(std::filesystem::absolute(path).parent_path().string());
}

Status WriteSyncedFile(const std::string& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return Failed("creating", path);
  Status result;
  while (!bytes.empty() && result.ok()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      result = Failed("writing", path);
    }
  }
  if (result.ok() && fsync(fd) != 0) result = Failed("syncing", path);
  close(fd);
  return result;
}

}  // namespace chronolith

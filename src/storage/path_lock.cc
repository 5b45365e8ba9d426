#include "storage/path_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "base/lock_holder.h"

namespace chronolith {

Result<std::unique_ptr<PathLock>> PathLock::Take(const std::string& path, bool directory, const std::string& what) {
  Result<FileDescriptor> file = OpenFile(path, directory ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT);
  if (!file.ok()) return file.status();
  const int fd = file->get();
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return std::unique_ptr<PathLock>(new PathLock(std::move(*file)));
  if (errno == EWOULDBLOCK) return FailedPrecondition(FindLockHolder(path).Name() + " " + what + " (it holds " + path + ")");
  return ErrnoStatus("cannot lock " + path, errno);
}

}  // namespace chronolith

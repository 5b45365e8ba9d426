#include "ops/reader_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/lock_holder.h"
#include "storage/store_directory.h"

namespace chronolith::ops {

Result<std::unique_ptr<ReaderLock>> ReaderLock::Take(const std::string& path, const std::string& log_path) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return manifest.status();
  return TakeInstances(path, DataInstancePath(path), log_path.empty() ? LogInstancePath(path, *manifest) : log_path);
}

Result<std::unique_ptr<ReaderLock>> ReaderLock::TakeInstances(const std::string& path, const std::string& data,
                                                              const std::string& log) {
  std::unique_ptr<ReaderLock> lock(new ReaderLock);
  for (const std::string& instance : {data, log}) {
    const std::string name = instance + "/LOCK";
    // This process writes: to open and close the file would give up its lock.
    const LockHolder holder = FindLockHolder(name);
    if (holder.known && !holder.shared && holder.pid == getpid()) return LockedError(path, name);
    Result<FileDescriptor> file = OpenFile(name, O_RDONLY);
    if (file.status().code() == StatusCode::kNotFound) continue;
    if (!file.ok()) return file.status();
    // Of the open file, not of the process: another part of this process that opens and closes the file does not give it up.
    struct flock shared {};
    shared.l_type = F_RDLCK;
    shared.l_whence = SEEK_SET;
    if (fcntl(file->get(), F_OFD_SETLK, &shared) == 0) {
      lock->files_.push_back(std::move(*file));
      continue;
    }
    if (errno != EAGAIN && errno != EACCES) return ErrnoStatus("cannot lock " + name, errno);
    return LockedError(path, name);
  }
  return lock;
}

}  // namespace chronolith::ops

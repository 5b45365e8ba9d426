// A lock between processes, on a path.
#ifndef CHRONOLITH_STORAGE_PATH_LOCK_H_
#define CHRONOLITH_STORAGE_PATH_LOCK_H_

#include <memory>
#include <string>
#include <utility>

#include "base/posix_file.h"
#include "chronolith/result.h"

namespace chronolith {

// Held by one process at a time, until destroyed or the process ends. `path`: a directory, or a file, made where it is missing.
class PathLock {
 public:
  // kFailedPrecondition: another process holds it; `what` says, for the message, what that one does.
  static Result<std::unique_ptr<PathLock>> Take(const std::string& path, bool directory, const std::string& what);
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  explicit PathLock(FileDescriptor file) : file_(std::move(file)) {}
  const FileDescriptor file_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_PATH_LOCK_H_

// Keeps a store from being written to while it is read, without writing anything itself.
#ifndef CHRONOLITH_OPS_READER_LOCK_H_
#define CHRONOLITH_OPS_READER_LOCK_H_

#include <memory>
#include <string>
#include <vector>

#include "base/posix_file.h"
#include "chronolith/result.h"

namespace chronolith::ops {

// A shared lock on the file LOCK of each instance, of which a writer holds an exclusive one for as long as it has the store open:
// so whoever comes second is refused. Readers share it; it needs no more than the right to read the files. Released when
// destroyed, or when the process ends. Engines that keep no such file are not kept from writing.
class ReaderLock {
 public:
  // kFailedPrecondition: a process has the store open for writing; names the lock. kNotFound, kIoError.
  static Result<std::unique_ptr<ReaderLock>> Take(const std::string& path, const std::string& log_path);
  // Where it is known which directories the instances of the store in `path` are.
  static Result<std::unique_ptr<ReaderLock>> TakeInstances(const std::string& path, const std::string& data,
                                                           const std::string& log);

 private:
  ReaderLock() = default;
  std::vector<FileDescriptor> files_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_READER_LOCK_H_

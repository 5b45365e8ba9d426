// Who holds a lock on a file.
#ifndef CHRONOLITH_BASE_LOCK_HOLDER_H_
#define CHRONOLITH_BASE_LOCK_HOLDER_H_

#include <sys/types.h>

#include <istream>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

struct LockHolder {
  bool known = false;
  bool shared = false;       // it only keeps writers out
  pid_t pid = 0;             // 0: the system does not say
  std::string command;       // of the process; "": not known
  std::string Name() const;  // "process 123 (chronolithd)", "this process", or "another process"
};

// What `locks`, in the form of /proc/locks, says of the file with this number ("fe:00:11034855").
LockHolder FindInLocks(std::istream& locks, std::string_view file);

// As /proc/locks has it; of several holders a writer. The file is not opened: to close it would give up the locks that this process
// has on it. Not known where there is no /proc, or where the holder is on another machine.
LockHolder FindLockHolder(const std::string& path);

// kFailedPrecondition: says who keeps others from writing to `what` by the lock on this file, and what to do.
Status LockedError(const std::string& what, const std::string& lock);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_LOCK_HOLDER_H_

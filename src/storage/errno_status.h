// Errors of system calls as statuses.
#ifndef CHRONOLITH_STORAGE_ERRNO_STATUS_H_
#define CHRONOLITH_STORAGE_ERRNO_STATUS_H_

#include <cerrno>
#include <cstring>
#include <string>

#include "chronolith/status.h"

namespace chronolith {

inline Status ErrnoStatus(const std::string& what, int error) {
  const std::string message = what + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM || error == EROFS) return PermissionDenied(message);
  if (error == ENOSPC || error == EDQUOT) return ResourceExhausted(message + " (free space and try again)");
  if (error == ENOENT) return NotFound(message);
  return IoError(message);
}

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_ERRNO_STATUS_H_

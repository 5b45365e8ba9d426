#include "base/lock_holder.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace chronolith {

namespace {

std::string CommandOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string command;
  std::getline(file, command);
  return command;
}

}  // namespace

std::string LockHolder::Name() const {
  if (pid == 0) return "another process";
  if (pid == getpid()) return "this process";
  return "process " + std::to_string(pid) + (command.empty() ? "" : " (" + command + ")");
}

LockHolder FindInLocks(std::istream& locks, std::string_view file) {
  LockHolder holder;
  // 1: POSIX  ADVISORY  WRITE 5506 fe:00:11034855 0 EOF. Who waits for a lock has "->" behind the number; locks of an open file
  // have no process (-1).
  for (std::string line; std::getline(locks, line);) {
    std::istringstream in(line);
    std::string number, kind, advisory, access, inode;
    pid_t pid = 0;
    if (!(in >> number >> kind >> advisory >> access >> pid >> inode) || kind == "->" || inode != file) continue;
    if (holder.known && access == "READ") continue;
    holder = {.known = true, .shared = access == "READ", .pid = pid > 0 ? pid : 0, .command = pid > 0 ? CommandOf(pid) : ""};
    if (!holder.shared) break;
  }
  return holder;
}

LockHolder FindLockHolder(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return {};
  char number[64];
  std::snprintf(number, sizeof(number), "%02x:%02x:%llu", major(file.st_dev), minor(file.st_dev),
                static_cast<unsigned long long>(file.st_ino));
  std::ifstream locks("/proc/locks");
  return FindInLocks(locks, number);
}

Status LockedError(const std::string& what, const std::string& lock) {
  const LockHolder holder = FindLockHolder(lock);
  if (holder.pid == getpid())
    return FailedPrecondition("this process has " + what + " open already (it holds the lock " + lock + ")");
  if (holder.shared) {
    return FailedPrecondition(holder.Name() + " reads " + what + " and keeps writers out (it holds the lock " + lock +
                              "): wait for its end, or stop it");
  }
  return FailedPrecondition(holder.Name() + " writes to " + what + " (it holds the lock " + lock + "): stop it first");
}

}  // namespace chronolith

#include "tests/support/small_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>

namespace chronolith::testing {

bool MountSmallDisk(const std::string& path, std::uint64_t bytes) {
  const bool root = geteuid() == 0;
  const uid_t uid = geteuid();
  if (unshare(root ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return false;
  if (!root) std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  const std::string options = "size=" + std::to_string(bytes);
  return mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

std::uint64_t SmallDisk::FreeBytes() const {
  struct statvfs info;
  return statvfs(path_.c_str(), &info) == 0 ? info.f_bavail * info.f_frsize : 0;
}

void SmallDisk::Crowd(std::uint64_t room) {
  const int fd = open(Other().c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  bool done = false;
  for (int tries = 0; tries < 1000 && !done; ++tries) {  // the store may take some of it meanwhile
    EXPECT_EQ(ftruncate(fd, 0), 0);
    const std::uint64_t free = FreeBytes();
    done = free <= room || posix_fallocate(fd, 0, static_cast<off_t>(free - room)) == 0;
  }
  EXPECT_TRUE(done);
  close(fd);
}

void SmallDisk::MakeRoom() { EXPECT_EQ(unlink(Other().c_str()), 0); }

}  // namespace chronolith::testing

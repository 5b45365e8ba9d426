// Preloaded into a program: while the pipe that $CHRONOLITH_TEST_STUCK_DISK names is there, fdatasync says so on stderr and waits
// until somebody opens the pipe to write; and while the file that $CHRONOLITH_TEST_FULL_DISK names is there, it finds no room.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

extern "C" __attribute__((visibility("default"))) int fdatasync(int fd) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fdatasync"));
  if (const char* pipe = std::getenv("CHRONOLITH_TEST_STUCK_DISK"); pipe != nullptr && access(pipe, F_OK) == 0) {
    constexpr std::string_view kWaits = "the disk is stuck\n";
    if (write(STDERR_FILENO, kWaits.data(), kWaits.size()) < 0) std::abort();
    if (const int opened = open(pipe, O_RDONLY | O_CLOEXEC); opened >= 0) close(opened);
  }
  if (const char* full = std::getenv("CHRONOLITH_TEST_FULL_DISK"); full != nullptr && access(full, F_OK) == 0) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd);
}

// Preloaded into a program: while the pipe that $CHRONOLITH_TEST_STUCK_DISK names is there, fdatasync says so on stderr and waits
// until somebody opens the pipe to write.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

extern "C" __attribute__((visibility("default"))) int fdatasync(int fd) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fdatasync"));
  if (const char* pipe = std::getenv("CHRONOLITH_TEST_STUCK_DISK"); pipe != nullptr && access(pipe, F_OK) == 0) {
    constexpr std::string_view kWaits = "the disk is stuck\n";
    if (write(STDERR_FILENO, kWaits.data(), kWaits.size()) < 0) std::abort();
    if (const int opened = open(pipe, O_RDONLY | O_CLOEXEC); opened >= 0) close(opened);
  }
  return real(fd);
}

#include "tools/cli/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

namespace chronolith::cli {

void KeepStandardStreams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // The lowest number that is free: this one. What is printed fails, as it did before.
    if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace chronolith::cli

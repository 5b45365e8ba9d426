#include "base/heap.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace chronolith {

bool ReturnFreedMemory(std::uint64_t limit) {
#ifdef __GLIBC__
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::uint64_t of_files = 0;
  if (!(std::ifstream("/proc/self/statm") >> total >> resident >> of_files)) return false;
  const std::uint64_t own = (resident - std::min(resident, of_files)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (own <= limit) return false;
  const struct mallinfo2 heap = mallinfo2();
  if (own <= heap.uordblks + heap.hblkhd + limit / 16) return false;
  return malloc_trim(0) != 0;
#else
  (void)limit;
  return false;
#endif
}

}  // namespace chronolith

#include "base/heap.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>

namespace chronolith {
namespace {

// Resident memory of the process without mapped files, in bytes; 0: it cannot be told.
std::uint64_t OwnBytes() {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::uint64_t of_files = 0;
  if (!(std::ifstream("/proc/self/statm") >> total >> resident >> of_files)) return 0;
  return (resident - std::min(resident, of_files)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

#ifdef __GLIBC__
std::uint64_t Surplus(std::uint64_t own) {
  const struct mallinfo2 heap = mallinfo2();
  return own - std::min<std::uint64_t>(own, heap.uordblks + heap.hblkhd);
}

std::atomic<std::uint64_t> not_returnable{0};  // surplus that was left when memory was returned last
#endif

}  // namespace

bool ReturnFreedMemory(std::uint64_t limit) {
#ifdef __GLIBC__
  const std::uint64_t own = OwnBytes();
  if (own <= limit) return false;
  const std::uint64_t surplus = Surplus(own);
  const std::uint64_t known = std::min(surplus, not_returnable.load(std::memory_order_relaxed));
  not_returnable.store(known, std::memory_order_relaxed);
  if (surplus <= known + limit / 16) return false;
  malloc_trim(0);
  not_returnable.store(Surplus(OwnBytes()), std::memory_order_relaxed);
  return true;
#else
  (void)limit;
  return false;
#endif
}

}  // namespace chronolith

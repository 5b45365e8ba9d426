// ForkGuard: tells whether this process is a fork of the one that made the guard. Threads and locks do not survive a fork, so a store
// must not be used there. One page that the kernel wipes in the child: asking costs one load, and no process-wide handler is needed.
#ifndef CHRONOLITH_BASE_FORK_GUARD_H_
#define CHRONOLITH_BASE_FORK_GUARD_H_

#include <sys/mman.h>

namespace chronolith {

// Thread safety: safe.
class ForkGuard {
 public:
  ForkGuard() {
    void* page = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, kBytes, MADV_WIPEONFORK) != 0) {  // a kernel before 4.14: no guard
      munmap(page, kBytes);
      return;
    }
    page_ = static_cast<volatile char*>(page);
    *page_ = 1;
  }
  ~ForkGuard() {
    if (page_ != nullptr) munmap(const_cast<char*>(page_), kBytes);
  }
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  bool InChild() const { return page_ != nullptr && *page_ == 0; }

 private:
  static constexpr unsigned kBytes = 4096;
  volatile char* page_ = nullptr;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_FORK_GUARD_H_

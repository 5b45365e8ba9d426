// Futex: sleeping on a 32-bit word, and waking one or all sleepers, by the Linux system call; no lock and no allocation.
#ifndef CHRONOLITH_BASE_FUTEX_H_
#define CHRONOLITH_BASE_FUTEX_H_

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>

#include "chronolith/kv_engine.h"

namespace chronolith {

// Sleeps while *word == expected; returns on a wake, a changed word, a signal, or the deadline: check the condition again.
inline void FutexWait(const std::atomic<std::uint32_t>* word, std::uint32_t expected, Deadline deadline = kNoDeadline) {
  timespec timeout{};
  timespec* limit = nullptr;
  if (deadline != kNoDeadline) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return;
    timeout.tv_sec = left / 1'000'000'000;
    timeout.tv_nsec = left % 1'000'000'000;
    limit = &timeout;
  }
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, limit, nullptr, 0);
}

inline void FutexWake(const std::atomic<std::uint32_t>* word, int sleepers) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, sleepers, nullptr, nullptr, 0);
}
// The same, but a sleeper is woken only where its `bits` and the waker's have one in common.
inline void FutexWaitBits(const std::atomic<std::uint32_t>* word, std::uint32_t expected, std::uint32_t bits,
                          Deadline deadline = kNoDeadline) {
  timespec until{};  // of CLOCK_MONOTONIC, as steady_clock is here
  if (deadline != kNoDeadline) {
    const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
    if (nanos <= 0) return;
    until.tv_sec = nanos / 1'000'000'000;
    until.tv_nsec = nanos % 1'000'000'000;
  }
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline == kNoDeadline ? nullptr : &until, nullptr, bits);
}
inline void FutexWakeBits(const std::atomic<std::uint32_t>* word, int sleepers, std::uint32_t bits) {
  syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, sleepers, nullptr, nullptr, bits);
}
inline void FutexWakeAll(const std::atomic<std::uint32_t>* word) { FutexWake(word, INT_MAX); }

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_FUTEX_H_

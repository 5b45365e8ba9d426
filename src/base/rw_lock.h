// RwLock: a small reader/writer lock over futexes, for Mutex of base/mutex.h.
//
//   state_   bit 0 kWriter        somebody holds it exclusively
//            bit 1 kWriterWaits   a writer sleeps, or is about to: new readers queue behind it
//            bit 2 kReadersWait   readers sleep, or are about to
//            bits 3..31           how many hold it shared
//   Sleepers sleep on state_ too, writers and readers apart by the futex's bit set.
//
// A lock that is let go is free at once: whoever comes first takes it, also before those that wait (barging). Handing it over to a
// sleeper instead, as glibc's pthread_rwlock does, costs two context switches an acquisition as soon as threads outnumber cores:
// with 64 threads on two cores and critical sections of 20 ns that is 0.6 M/s against 13 M/s (contention_bench shows it in the
// store). Who wakes whom: a writer that lets go clears both Waits bits and wakes one writer and all readers; the last reader clears
// kWriterWaits and wakes one writer, whose release then wakes the readers. A writer that has slept takes the lock with kWriterWaits
// set, because others may sleep still. So a writer waits for at most the readers that are in; readers may be overtaken by writers.
// A writer that gives up at its deadline may have been the one that was woken: it clears both bits and wakes like one that lets go,
// and who is woken too early sets its bit again.
// Nothing but the system call touches the lock once it is let go: the next owner may destroy it.
//
// Thread safety: of course. Not recursive. ThreadSanitizer understands it: there are no fences.
#ifndef CHRONOLITH_BASE_RW_LOCK_H_
#define CHRONOLITH_BASE_RW_LOCK_H_

#include <atomic>
#include <cstdint>

#include "base/futex.h"

namespace chronolith {

class RwLock {
 public:
  bool TryLock() {
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    return FreeForWriter(s) && Take(s, s | kWriter);
  }
  void Lock() {
    if (!TryLock()) LockSlow(kNoDeadline);
  }
  // False where it was not free until the deadline.
  bool LockUntil(Deadline deadline) { return TryLock() || LockSlow(deadline); }
  void Unlock() {
    const std::uint32_t s = state_.exchange(0, std::memory_order_release);
    if ((s & (kWriterWaits | kReadersWait)) != 0) [[unlikely]] {
      if ((s & kWriterWaits) != 0) FutexWakeBits(&state_, 1, kWriters);
      if ((s & kReadersWait) != 0) FutexWakeBits(&state_, INT_MAX, kReaders);
    }
  }

  bool ReaderTryLock() {
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    while ((s & (kWriter | kWriterWaits)) == 0) {
      if (Take(s, s + kReader)) return true;
    }
    return false;
  }
  void ReaderLock() {
    if (!ReaderTryLock()) ReaderLockSlow();
  }
  void ReaderUnlock() {
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    while (true) {
      const bool wake = (s & kWriterWaits) != 0 && s < 2 * kReader;  // the last reader, and a writer waits
      const std::uint32_t left = (s - kReader) & ~(wake ? kWriterWaits : 0);
      if (!state_.compare_exchange_weak(s, left, std::memory_order_release, std::memory_order_relaxed)) continue;
      if (wake) FutexWakeBits(&state_, 1, kWriters);
      return;
    }
  }

 private:
  static constexpr std::uint32_t kWriter = 1;
  static constexpr std::uint32_t kWriterWaits = 2;
  static constexpr std::uint32_t kReadersWait = 4;
  static constexpr std::uint32_t kReader = 8;
  // Bit sets of the futex.
  static constexpr std::uint32_t kWriters = 1;
  static constexpr std::uint32_t kReaders = 2;

  static bool FreeForWriter(std::uint32_t s) { return (s & ~(kWriterWaits | kReadersWait)) == 0; }
  bool Take(std::uint32_t& expected, std::uint32_t desired) {
    return state_.compare_exchange_weak(expected, desired, std::memory_order_acquire, std::memory_order_relaxed);
  }

  bool LockSlow(Deadline deadline) {
    std::uint32_t others = 0;  // kWriterWaits once this thread has slept
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    while (true) {
      if (FreeForWriter(s)) {
        if (Take(s, s | kWriter | others)) return true;
        continue;
      }
      if (deadline != kNoDeadline && std::chrono::steady_clock::now() >= deadline) {
        GiveUp();
        return false;
      }
      if ((s & kWriterWaits) == 0 && !state_.compare_exchange_weak(s, s | kWriterWaits, std::memory_order_relaxed)) continue;
      FutexWaitBits(&state_, s | kWriterWaits, kWriters, deadline);
      others = kWriterWaits;
      s = state_.load(std::memory_order_relaxed);
    }
  }
  void GiveUp() {
    state_.fetch_and(~(kWriterWaits | kReadersWait), std::memory_order_relaxed);
    FutexWakeBits(&state_, 1, kWriters);
    FutexWakeBits(&state_, INT_MAX, kReaders);
  }
  void ReaderLockSlow() {
    std::uint32_t s = state_.load(std::memory_order_relaxed);
    while (true) {
      if ((s & (kWriter | kWriterWaits)) == 0) {
        if (Take(s, s + kReader)) return;
        continue;
      }
      if ((s & kReadersWait) == 0 && !state_.compare_exchange_weak(s, s | kReadersWait, std::memory_order_relaxed)) continue;
      FutexWaitBits(&state_, s | kReadersWait, kReaders);
      s = state_.load(std::memory_order_relaxed);
    }
  }

  std::atomic<std::uint32_t> state_{0};
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_RW_LOCK_H_

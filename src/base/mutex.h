// Mutexes with clang thread-safety attributes, and MeasuredMutex, which counts acquisitions and times contended ones.
//
// RwLock underneath (base/rw_lock.h). Not absl::Mutex: Debian builds Abseil with its deadlock detector compiled in, which costs
// more than the lock (7 % of a single logged write), and without ThreadSanitizer's hooks. Not pthread_rwlock_t: it hands the lock
// over to sleepers, which collapses where threads outnumber cores. Use MutexLock, ReaderMutexLock, CondVar; never lock by hand
// across a return. Not recursive, shared locks neither.
#ifndef CHRONOLITH_BASE_MUTEX_H_
#define CHRONOLITH_BASE_MUTEX_H_

#include <absl/base/thread_annotations.h>

#include <chrono>
#include <condition_variable>

#include "base/counters.h"
#include "base/rw_lock.h"
#include "chronolith/kv_engine.h"

namespace chronolith {

// A reader/writer mutex. Thread safety: of course.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.Lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.Unlock(); }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return lock_.TryLock(); }
  // False where it was not free until the deadline.
  bool LockUntil(Deadline deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return lock_.LockUntil(deadline); }
  void ReaderLock() ABSL_SHARED_LOCK_FUNCTION() { lock_.ReaderLock(); }
  void ReaderUnlock() ABSL_UNLOCK_FUNCTION() { lock_.ReaderUnlock(); }
  bool ReaderTryLock() ABSL_SHARED_TRYLOCK_FUNCTION(true) { return lock_.ReaderTryLock(); }

 private:
  RwLock lock_;
};

// A Mutex that counts acquisitions and times the ones that had to wait (try-lock first: an uncontended one costs no clock reading).
class ABSL_LOCKABLE MeasuredMutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS { (void)LockUntil(kNoDeadline); }
  // False where it was not free until the deadline; the wait is observed all the same.
  bool LockUntil(Deadline deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    if (!mu_.TryLock()) {
      const std::uint64_t start = NowNanos();
      const bool locked = mu_.LockUntil(deadline);
      write_wait_.Observe(NowNanos() - start);
      if (!locked) return false;
    }
    writes_.Add();
    return true;
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }
  void ReaderLock() ABSL_SHARED_LOCK_FUNCTION() {
    if (!mu_.ReaderTryLock()) {
      const std::uint64_t start = NowNanos();
      mu_.ReaderLock();
      read_wait_.Observe(NowNanos() - start);
    }
    reads_.Add();
  }
  void ReaderUnlock() ABSL_UNLOCK_FUNCTION() { mu_.ReaderUnlock(); }

  LockStats WriteStats(const char* name) const { return {name, writes_.Get(), write_wait_.Snapshot()}; }
  LockStats ReadStats(const char* name) const { return {name, reads_.Get(), read_wait_.Snapshot()}; }

 private:
  Mutex mu_;
  OwnedCounter writes_;  // added to under the exclusive lock
  SharedCounter reads_;
  DurationCell write_wait_;
  DurationCell read_wait_;
};

struct AdoptLock {};  // the lock is held already

template <typename M>
class ABSL_SCOPED_LOCKABLE BasicMutexLock {
 public:
  explicit BasicMutexLock(M* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
  BasicMutexLock(M* mu, AdoptLock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) : mu_(mu) {}
  ~BasicMutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  BasicMutexLock(const BasicMutexLock&) = delete;
  BasicMutexLock& operator=(const BasicMutexLock&) = delete;

 private:
  M* mu_;
};
using MutexLock = BasicMutexLock<Mutex>;
using MeasuredLock = BasicMutexLock<MeasuredMutex>;

template <typename M>
class ABSL_SCOPED_LOCKABLE BasicReaderLock {
 public:
  explicit BasicReaderLock(M* mu) ABSL_SHARED_LOCK_FUNCTION(mu) : mu_(mu) { mu_->ReaderLock(); }
  ~BasicReaderLock() ABSL_UNLOCK_FUNCTION() { mu_->ReaderUnlock(); }
  BasicReaderLock(const BasicReaderLock&) = delete;
  BasicReaderLock& operator=(const BasicReaderLock&) = delete;

 private:
  M* mu_;
};
using ReaderMutexLock = BasicReaderLock<Mutex>;
using MeasuredReaderLock = BasicReaderLock<MeasuredMutex>;

// Condition variable for Mutex. Wait in a loop that checks the condition.
class CondVar {
 public:
  void Wait(Mutex* mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Unlocker unlocker{mu};
    cv_.wait(unlocker);
  }
  // False where the deadline passed.
  bool WaitUntil(Mutex* mu, Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (deadline == kNoDeadline) {
      Wait(mu);
      return true;
    }
    Unlocker unlocker{mu};
    return cv_.wait_until(unlocker, deadline) == std::cv_status::no_timeout;
  }
  void Signal() { cv_.notify_one(); }
  void SignalAll() { cv_.notify_all(); }

 private:
  // What std::condition_variable_any unlocks and locks again; the analysis sees the lock as held throughout.
  struct Unlocker {
    Mutex* mu;
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu->Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu->Unlock(); }
  };
  std::condition_variable_any cv_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_MUTEX_H_

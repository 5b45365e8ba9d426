// Mutexes with clang thread-safety attributes, and MeasuredMutex, which counts acquisitions and times contended ones.
//
// absl::Mutex underneath; under ThreadSanitizer the standard mutexes, because Debian's Abseil is built without the sanitizer's
// hooks. Use MutexLock, ReaderLock, CondVar; never lock by hand across a return.
#ifndef CHRONOLITH_BASE_MUTEX_H_
#define CHRONOLITH_BASE_MUTEX_H_

#include <absl/base/thread_annotations.h>

#include <chrono>

#if defined(__SANITIZE_THREAD__)
#define CHRONOLITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHRONOLITH_TSAN 1
#endif
#endif

#ifdef CHRONOLITH_TSAN
#include <condition_variable>
#include <shared_mutex>
#else
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>
#endif

#include "base/counters.h"

namespace chronolith {

// A reader/writer mutex. Thread safety: of course.
class ABSL_LOCKABLE Mutex {
 public:
#ifdef CHRONOLITH_TSAN
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return mu_.try_lock(); }
  void ReaderLock() ABSL_SHARED_LOCK_FUNCTION() { mu_.lock_shared(); }
  void ReaderUnlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock_shared(); }
  bool ReaderTryLock() ABSL_SHARED_TRYLOCK_FUNCTION(true) { return mu_.try_lock_shared(); }

 private:
  friend class CondVar;
  std::shared_mutex mu_;
#else
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.Lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return mu_.TryLock(); }
  void ReaderLock() ABSL_SHARED_LOCK_FUNCTION() { mu_.ReaderLock(); }
  void ReaderUnlock() ABSL_UNLOCK_FUNCTION() { mu_.ReaderUnlock(); }
  bool ReaderTryLock() ABSL_SHARED_TRYLOCK_FUNCTION(true) { return mu_.ReaderTryLock(); }

 private:
  friend class CondVar;
  absl::Mutex mu_;
#endif
};

// A Mutex that counts acquisitions and times the ones that had to wait (try-lock first: an uncontended one costs no clock reading).
class ABSL_LOCKABLE MeasuredMutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (!mu_.TryLock()) {
      const std::uint64_t start = NowNanos();
      mu_.Lock();
      write_wait_.Observe(NowNanos() - start);
    }
    writes_.Add();
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

template <typename M>
class ABSL_SCOPED_LOCKABLE BasicMutexLock {
 public:
  explicit BasicMutexLock(M* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
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
#ifdef CHRONOLITH_TSAN
  void Wait(Mutex* mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { cv_.wait(mu->mu_); }
  // False where the deadline passed.
  bool WaitUntil(Mutex* mu, Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (deadline == kNoDeadline) {
      cv_.wait(mu->mu_);
      return true;
    }
    return cv_.wait_until(mu->mu_, deadline) == std::cv_status::no_timeout;
  }
  void Signal() { cv_.notify_one(); }
  void SignalAll() { cv_.notify_all(); }

 private:
  std::condition_variable_any cv_;
#else
  void Wait(Mutex* mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { cv_.Wait(&mu->mu_); }
  bool WaitUntil(Mutex* mu, Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (deadline == kNoDeadline) {
      cv_.Wait(&mu->mu_);
      return true;
    }
    const auto left = deadline - std::chrono::steady_clock::now();
    return !cv_.WaitWithTimeout(&mu->mu_, absl::FromChrono(std::chrono::duration_cast<std::chrono::nanoseconds>(left)));
  }
  void Signal() { cv_.Signal(); }
  void SignalAll() { cv_.SignalAll(); }

 private:
  absl::CondVar cv_;
#endif
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_MUTEX_H_

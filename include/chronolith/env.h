// What the host may inject: a clock, a logger, and budgets that several stores share. The library has no globals and prints
// nothing of its own.
#ifndef CHRONOLITH_ENV_H_
#define CHRONOLITH_ENV_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "chronolith/export.h"
#include "chronolith/status.h"

namespace chronolith {

// Wall-clock time, in milliseconds since the Unix epoch. Deadlines use std::chrono::steady_clock instead.
// Thread safety: NowMs may be called concurrently.
class CHRONOLITH_EXPORT Clock {
 public:
  virtual ~Clock();
  virtual std::int64_t NowMs() const = 0;
  static std::shared_ptr<Clock> System();
};

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Receives one line an event, without a newline. Called from any thread; must not call back into the store.
class CHRONOLITH_EXPORT Logger {
 public:
  virtual ~Logger();
  virtual void Log(LogLevel level, std::string_view message) = 0;
};

// A bound in bytes on the memory of one or several stores. A store counts its rings, heads, index, log and caches against it
// and answers kResourceExhausted to writes that would exceed it.
// Thread safety: all methods may be called concurrently.
class CHRONOLITH_EXPORT MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  std::uint64_t limit_bytes() const { return limit_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  // False, and nothing taken, where the limit would be passed.
  bool TryReserve(std::uint64_t bytes);
  void ForceReserve(std::uint64_t bytes) { used_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void Release(std::uint64_t bytes) { used_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_bytes_;
  std::atomic<std::uint64_t> used_bytes_{0};
};

// A bound on the threads that several stores keep busy with upkeep at the same time: each background checkpoint with what follows it
// (retention, trimming) takes one place, and so does each thread that replays a log beside the one that called Open. A checkpoint
// waits for its place, replay does with fewer threads. Work that the host calls for runs on the host's thread and takes none, nor do
// the committer and the syncer of a store, which mostly sleep. (Engines have threads of their own: RocksDB one pool for the whole
// process, as large as the largest Options::background_threads.)
// Thread safety: all methods may be called concurrently.
class CHRONOLITH_EXPORT ThreadBudget {
 public:
  explicit ThreadBudget(int threads) : threads_(threads < 1 ? 1 : threads) {}

  int threads() const { return threads_; }
  int busy() const;
  // False where all places are taken.
  bool TryAcquire() { return AcquireUntil({}); }
  // Waits for a place; false where there was none until `deadline`.
  bool AcquireUntil(std::chrono::steady_clock::time_point deadline);
  void Release();

 private:
  const int threads_;
  mutable std::mutex mu_;
  std::condition_variable freed_;
  int busy_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_ENV_H_

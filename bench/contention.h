// The parts of contention_bench: threads that compete, and the locks that they compete for.
#ifndef CHRONOLITH_BENCH_CONTENTION_H_
#define CHRONOLITH_BENCH_CONTENTION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/counters.h"
#include "bench/support.h"
#include "chronolith/kv_engine.h"

namespace chronolith::bench {

// The mutex of the baselines: std::mutex, its contended acquisitions timed as MeasuredMutex times them. Thread safety: of course.
class TimedMutex {
 public:
  void lock() {
    if (!mu_.try_lock()) {
      const std::uint64_t start = NowNanos();
      mu_.lock();
      wait_.Observe(NowNanos() - start);
    }
    acquisitions_.Add();
  }
  void unlock() { mu_.unlock(); }
  LockStats Stats(const char* name) const { return {name, acquisitions_.Get(), wait_.Snapshot()}; }

 private:
  std::mutex mu_;
  OwnedCounter acquisitions_;  // under mu_
  DurationCell wait_;
};

// What one run of competing threads did.
struct RunResult {
  std::uint64_t operations = 0;
  double seconds = 0;
  double cpu_seconds = 0;
  LockWait lock;
  double rate() const { return static_cast<double>(operations) / seconds; }
};

// Works until `stop` is set; returns how many operations it did. Called on a thread of its own.
using Worker = std::function<std::uint64_t(std::size_t thread, const std::atomic<bool>& stop)>;

// Runs `threads` workers for `seconds`, then `drain` on the caller's thread: both lie inside the time that is measured.
RunResult Compete(std::size_t threads, double seconds, const Worker& worker, const std::function<void()>& drain);

// What all parts take from the command line.
struct ContentionOptions {
  std::string directory;  // scratch directories are made in it
  double seconds = 4;
  std::uint64_t series = 10'000;
  std::uint64_t rounds = 1;
  std::vector<std::uint64_t> threads;  // of the scaling table
  std::uint64_t table_threads = 64;    // of the other tables
};

// A RocksDB log instance with families wal.0, wal.1, ..., with the buffers that a store with default options gives its own.
std::unique_ptr<KvEngine> OpenLogInstance(const std::string& path, std::uint32_t families);

// One global mutex around one engine write a sample.
RunResult RunGlobalMutexWrites(const ContentionOptions& options, std::size_t threads);

// `rounds` times each of `runs`, in turn; of each the run with the median rate.
std::vector<RunResult> Medians(std::uint64_t rounds, const std::vector<std::function<RunResult()>>& runs);

Table StoreTable(const ContentionOptions& options);  // contention_store.cc
Table WalTable(const ContentionOptions& options);    // contention_wal.cc
Table IndexTable(const ContentionOptions& options);  // contention_index.cc

}  // namespace chronolith::bench

#endif  // CHRONOLITH_BENCH_CONTENTION_H_

// Counters and duration histograms for hot paths: relaxed atomics on cache lines of their own, summed only when somebody looks.
#ifndef CHRONOLITH_BASE_COUNTERS_H_
#define CHRONOLITH_BASE_COUNTERS_H_

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

#include "chronolith/stats.h"

namespace chronolith {

inline constexpr std::size_t kCacheLine = 64;

// A counter that one thread at a time adds to (under some lock): a plain load and store, no locked instruction.
class OwnedCounter {
 public:
  void Add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void Set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// A counter that any thread adds to.
class SharedCounter {
 public:
  void Add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  void Sub(std::uint64_t n) { value_.fetch_sub(n, std::memory_order_relaxed); }
  std::uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

inline std::uint64_t NowNanos() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

// Concurrent form of DurationHistogram. Two relaxed additions an observation. Thread safety: safe.
class alignas(kCacheLine) DurationCell {
 public:
  void Observe(std::uint64_t nanos) {
    const int bucket = std::bit_width(nanos >> 8);
    counts_[static_cast<std::size_t>(bucket < DurationHistogram::kBuckets ? bucket : DurationHistogram::kBuckets - 1)].fetch_add(
        1, std::memory_order_relaxed);
    sum_nanos_.fetch_add(nanos, std::memory_order_relaxed);
  }
  DurationHistogram Snapshot() const {
    DurationHistogram h;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      h.counts[i] = counts_[i].load(std::memory_order_relaxed);
      h.count += h.counts[i];
    }
    h.sum_seconds = static_cast<double>(sum_nanos_.load(std::memory_order_relaxed)) * 1e-9;
    return h;
  }

 private:
  std::array<std::atomic<std::uint64_t>, DurationHistogram::kBuckets> counts_{};
  std::atomic<std::uint64_t> sum_nanos_{0};
};

// Observes the time from its construction to its end.
class ScopedTimer {
 public:
  explicit ScopedTimer(DurationCell* cell) : cell_(cell), start_(NowNanos()) {}
  ~ScopedTimer() { cell_->Observe(NowNanos() - start_); }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  DurationCell* cell_;
  std::uint64_t start_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_COUNTERS_H_

// What benchmarks of the command line and those under bench/ measure with: clocks that can be stopped, peak memory, a fast random
// source.
#ifndef CHRONOLITH_TOOLS_CLI_MEASURE_H_
#define CHRONOLITH_TOOLS_CLI_MEASURE_H_

#include <sys/resource.h>

#include <chrono>
#include <cstdint>

namespace chronolith::cli {

inline rusage ProcessUsage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}
inline double ProcessCpuSeconds() {  // user and system, of all threads
  const rusage usage = ProcessUsage();
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}
inline std::uint64_t PeakRssBytes() { return static_cast<std::uint64_t>(ProcessUsage().ru_maxrss) * 1024; }

// Wall clock and CPU time of the process while it runs; starts stopped.
class Stopwatch {
 public:
  void Start() {
    cpu_started_ = ProcessCpuSeconds();
    started_ = std::chrono::steady_clock::now();
  }
  void Stop() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    cpu_seconds_ += ProcessCpuSeconds() - cpu_started_;
  }
  double ElapsedSeconds() const {  // since Start
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  }
  double seconds() const { return seconds_; }
  double cpu_seconds() const { return cpu_seconds_; }

 private:
  std::chrono::steady_clock::time_point started_;
  double cpu_started_ = 0;
  double seconds_ = 0;
  double cpu_seconds_ = 0;
};

// xorshift64*: fast and the same everywhere. Thread safety: one thread.
class FastRandom {
 public:
  explicit FastRandom(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }
  std::uint64_t Below(std::uint64_t n) { return static_cast<std::uint64_t>((static_cast<unsigned __int128>(Next()) * n) >> 64); }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_MEASURE_H_

// What the benchmarks share: clocks that can be stopped, memory and disk figures, label sets, the report.
#ifndef CHRONOLITH_TOOLS_CLI_BENCH_COMMON_H_
#define CHRONOLITH_TOOLS_CLI_BENCH_COMMON_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/storage.h"
#include "tools/cli/common.h"

namespace chronolith::cli {

// Wall clock and CPU time (user and system, of all threads) while it runs; starts stopped.
class Stopwatch {
 public:
  void Start();
  void Stop();
  double seconds() const { return seconds_; }
  double cpu_seconds() const { return cpu_seconds_; }

 private:
  static double CpuNow();
  std::chrono::steady_clock::time_point started_;
  double cpu_started_ = 0;
  double seconds_ = 0;
  double cpu_seconds_ = 0;
};

std::uint64_t PeakRssBytes();

struct DiskUsage {
  std::uint64_t bytes = 0;      // lengths of the files; hard links count once
  std::uint64_t allocated = 0;  // blocks, with what was preallocated
};
DiskUsage DiskUsageOf(const std::string& directory);

// Reads label sets, one JSON object a line, without keeping them.
class SeriesFile {
 public:
  static Result<std::unique_ptr<SeriesFile>> Open(const std::string& path);
  ~SeriesFile();
  // Replaces `labels` by the next ones, at most `n`; none at the end. Errors name file and line.
  Status Next(std::size_t n, std::vector<Labels>* labels);

 private:
  SeriesFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  std::string path_;
  std::FILE* file_;
  std::uint64_t line_ = 0;
  char* buffer_ = nullptr;  // of getline
  std::size_t buffer_size_ = 0;
};

// The i-th of endlessly many label sets: nine labels, container metrics of pods.
Labels SyntheticLabels(std::uint64_t i);

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

// A flat list of named figures, printed as one JSON object or as a table.
class Report {
 public:
  void Add(std::string name, double v) { rows_.emplace_back(std::move(name), v); }
  void Add(std::string name, std::uint64_t v) { rows_.emplace_back(std::move(name), v); }
  void Add(std::string name, std::string v) { rows_.emplace_back(std::move(name), std::move(v)); }
  // p50, p90, p99 and count of a histogram, in microseconds.
  void AddLatency(const std::string& name, const DurationHistogram& h);
  // kExitOk, or kExitFailure where stdout took it not.
  int Print(bool json) const;

 private:
  std::vector<std::pair<std::string, std::variant<double, std::uint64_t, std::string>>> rows_;
};

// Latencies of single operations. Percentile sorts.
class Latencies {
 public:
  void Add(double seconds) { seconds_.push_back(seconds); }
  double Percentile(double q);
  double Mean() const;
  std::size_t count() const { return seconds_.size(); }

 private:
  std::vector<double> seconds_;
};

// Sums over the shards.
struct StatTotals {
  std::uint64_t wal_bytes = 0;
  std::uint64_t wal_records = 0;
  std::uint64_t groups = 0;
  std::uint64_t group_records = 0;
  std::uint64_t ring_full_waits = 0;
  std::uint64_t chunk_payload_bytes = 0;
  std::uint64_t chunk_samples = 0;
  std::uint64_t series = 0;
  std::uint64_t lock_acquisitions = 0;
  DurationHistogram lock_wait;
  std::array<DurationHistogram, 3> write_latency;
};
StatTotals Sum(const StorageStats& stats);

const char* LevelName(AckLevel level);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_BENCH_COMMON_H_

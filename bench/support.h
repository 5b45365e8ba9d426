// What the programs of this folder share: clocks, memory figures, label sets, scratch directories, flags, tables.
#ifndef CHRONOLITH_BENCH_SUPPORT_H_
#define CHRONOLITH_BENCH_SUPPORT_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/stats.h"
#include "chronolith/status.h"
#include "chronolith/storage.h"

namespace chronolith::bench {

// A benchmark that fails has no figure: prints the status to stderr and ends the program with exit code 1.
void Check(const Status& status);
template <typename T>
T Value(Result<T> result) {
  Check(result.status());
  return std::move(*result);
}

double ProcessCpuSeconds();  // user and system, of all threads
double ThreadCpuSeconds();   // of the calling thread
std::uint64_t PeakRssBytes();

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

// The i-th label set of make_series.py: nine labels, container metrics of pods; 50 metrics a pod, 25 namespaces.
Labels ContainerLabels(std::uint64_t i);

// A new directory under `parent` ("": the system's temporary directory), removed at the end.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// --name value pairs; a name that `defaults` does not have, or --help, prints `usage` and ends the program.
class Flags {
 public:
  Flags(int argc, char** argv, const char* usage, std::map<std::string, std::string> defaults);
  const std::string& Text(const std::string& name) const { return values_.at(name); }
  std::uint64_t Number(const std::string& name) const;
  double Real(const std::string& name) const;
  std::vector<std::uint64_t> Numbers(const std::string& name) const;  // separated by commas
  bool json() const { return values_.at("json") == "1"; }             // --json takes no value

 private:
  [[noreturn]] void Usage(const std::string& complaint) const;
  const char* usage_;
  std::map<std::string, std::string> values_;
};

using Cell = std::variant<std::string, double>;

// A table of figures, printed as markdown or as one JSON array of objects.
class Table {
 public:
  Table(std::string title, std::vector<std::string> columns) : title_(std::move(title)), columns_(std::move(columns)) {}
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  const std::string& title() const { return title_; }
  std::string Markdown() const;
  std::string Json() const;

 private:
  std::string title_;
  std::vector<std::string> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// One JSON object, title to rows, or the markdown of each; to stdout.
void Print(const std::vector<Table>& tables, bool json);

// What waiting for locks cost: only contended acquisitions are counted and timed.
struct LockWait {
  std::uint64_t acquisitions = 0;
  DurationHistogram wait;
  double p99_us() const { return wait.Quantile(0.99) * 1e6; }
};
LockWait SumLocks(const std::vector<LockStats>& locks);
LockWait SumLocks(const StorageStats& stats);  // of all shards
void Subtract(const LockWait& before, LockWait* after);

}  // namespace chronolith::bench

#endif  // CHRONOLITH_BENCH_SUPPORT_H_

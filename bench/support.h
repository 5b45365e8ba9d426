// What the programs of this folder share: clocks, memory figures, label sets, scratch directories, flags, tables.
#ifndef CHRONOLITH_BENCH_SUPPORT_H_
#define CHRONOLITH_BENCH_SUPPORT_H_

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
#include "tools/cli/measure.h"

namespace chronolith::bench {

// A benchmark that fails has no figure: prints the status to stderr and ends the program with exit code 1.
void Check(const Status& status);
template <typename T>
T Value(Result<T> result) {
  Check(result.status());
  return std::move(*result);
}

using cli::FastRandom;
using cli::PeakRssBytes;
using cli::ProcessCpuSeconds;
using cli::Stopwatch;
double ThreadCpuSeconds();  // of the calling thread

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

// What the benchmarks share: disk figures, label sets, the report.
#ifndef CHRONOLITH_TOOLS_CLI_BENCH_COMMON_H_
#define CHRONOLITH_TOOLS_CLI_BENCH_COMMON_H_

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
#include "tools/cli/measure.h"

namespace chronolith::cli {

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

#include "tools/cli/bench_common.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "interop/label_json.h"
#include "tools/cli/output.h"

namespace chronolith::cli {

DiskUsage DiskUsageOf(const std::string& directory) {
  DiskUsage usage;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    struct stat info {};
    if (lstat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode) || !seen.emplace(info.st_dev, info.st_ino).second) continue;
    usage.bytes += static_cast<std::uint64_t>(info.st_size);
    usage.allocated += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return usage;
}

Result<std::unique_ptr<SeriesFile>> SeriesFile::Open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    const int error = errno;
    return Status(error == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError,
                  "cannot open " + path + ": " + std::strerror(error));
  }
  return std::unique_ptr<SeriesFile>(new SeriesFile(path, file));
}

SeriesFile::~SeriesFile() {
  std::free(buffer_);
  std::fclose(file_);
}

Status SeriesFile::Next(std::size_t n, std::vector<Labels>* labels) {
  labels->clear();
  while (labels->size() < n) {
    const ssize_t length = getline(&buffer_, &buffer_size_, file_);
    if (length < 0) break;
    ++line_;
    const std::string_view line(buffer_, static_cast<std::size_t>(length));
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
    auto parsed = interop::ParseLabelJson(line);
    if (!parsed.ok()) return parsed.status().WithContext(path_ + ":" + std::to_string(line_));
    labels->push_back(std::move(*parsed));
  }
  return std::ferror(file_) != 0 ? IoError("cannot read " + path_ + ": " + std::strerror(errno)) : Status::Ok();
}

Labels SyntheticLabels(std::uint64_t i) {
  static constexpr const char* kGroups[] = {"cpu", "memory", "network", "fs", "blkio"};
  static constexpr const char* kKinds[] = {"usage_seconds", "rss_bytes", "receive_bytes", "transmit_bytes", "reads",
                                           "writes",        "failures",  "cache",         "throttled",      "tasks"};
  const std::uint64_t pod = i / 50;
  const auto text = [](std::uint64_t v) { return std::to_string(v); };
  char hex[16];
  std::snprintf(hex, sizeof(hex), "%08x", static_cast<unsigned>(pod * 2654435761ULL));
  return Labels(std::vector<std::pair<std::string, std::string>>{
      {"__name__", std::string("container_") + kGroups[i % 50 / 10] + "_" + kKinds[i % 10] + "_total"},
      {"cluster", "prod-eu-" + text(pod % 2)},
      {"container", "c" + text(pod % 3)},
      {"image", "registry/app-" + text(pod % 60) + "@v1." + text(pod % 9)},
      {"instance", "10.1." + text(pod % 250) + "." + text(pod % 200) + "-9100"},
      {"job", "kubelet"},
      {"namespace", "ns-" + text(pod % 25)},
      {"node", "node-" + text(pod % 400)},
      {"pod", "svc-" + text(pod % 60) + "-" + hex},
  });
}

void Report::AddLatency(const std::string& name, const DurationHistogram& h) {
  Add(name + "_count", h.count);
  Add(name + "_p50_us", h.Quantile(0.5) * 1e6);
  Add(name + "_p90_us", h.Quantile(0.9) * 1e6);
  Add(name + "_p99_us", h.Quantile(0.99) * 1e6);
}

int Report::Print(bool json) const {
  Output out;
  JsonWriter writer(&out);
  Table table({"figure", "value"});
  if (json) writer.BeginObject();
  for (const auto& [name, value] : rows_) {
    if (const auto* number = std::get_if<double>(&value)) {
      if (json) {
        writer.Key(name).Double(*number);
      } else {
        table.Add({name, FixedPoint(*number, *number < 1000 ? 3 : 0)});
      }
    } else if (const auto* count = std::get_if<std::uint64_t>(&value)) {
      if (json) {
        writer.Key(name).Unsigned(*count);
      } else {
        table.Add({name, std::to_string(*count)});
      }
    } else {
      if (json) {
        writer.Key(name).String(std::get<std::string>(value));
      } else {
        table.Add({name, std::get<std::string>(value)});
      }
    }
  }
  if (json) {
    writer.EndObject().Newline();
  } else {
    table.Print(&out);
  }
  return Finish(&out);
}

double Latencies::Percentile(double q) {
  if (seconds_.empty()) return 0;
  std::sort(seconds_.begin(), seconds_.end());
  return seconds_[std::min(seconds_.size() - 1, static_cast<std::size_t>(q * static_cast<double>(seconds_.size())))];
}

double Latencies::Mean() const {
  double sum = 0;
  for (const double s : seconds_) sum += s;
  return seconds_.empty() ? 0 : sum / static_cast<double>(seconds_.size());
}

StatTotals Sum(const StorageStats& stats) {
  StatTotals t;
  for (const ShardStats& s : stats.shards) {
    t.wal_bytes += s.wal_bytes;
    t.wal_records += s.wal_records;
    t.groups += s.groups;
    t.group_records += s.group_records;
    t.ring_full_waits += s.ring_full_waits;
    t.chunk_payload_bytes += s.chunk_payload_bytes;
    t.chunk_samples += s.chunk_samples;
    t.series += s.series_total;
    for (const LockStats& lock : s.locks) {
      t.lock_acquisitions += lock.acquisitions;
      t.lock_wait.Add(lock.wait);
    }
    for (std::size_t i = 0; i < t.write_latency.size(); ++i) t.write_latency[i].Add(s.write_latency[i]);
  }
  return t;
}

const char* LevelName(AckLevel level) {
  return level == AckLevel::kQueued ? "queued" : level == AckLevel::kLogged ? "logged" : "synced";
}

}  // namespace chronolith::cli

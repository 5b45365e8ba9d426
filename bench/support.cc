#include "bench/support.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

namespace chronolith::bench {

void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "benchmark failed: %s\n", status.ToString().c_str());
  std::exit(1);
}

double ThreadCpuSeconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

Labels ContainerLabels(std::uint64_t i) {
  static constexpr const char* kGroups[] = {"cpu", "memory", "network", "fs", "blkio"};
  static constexpr const char* kKinds[] = {"usage_seconds", "rss_bytes", "receive_bytes", "transmit_bytes", "reads",
                                           "writes",        "failures",  "cache",         "throttled",      "tasks"};
  const std::uint64_t pod = i / 50;
  char hex[16];
  std::snprintf(hex, sizeof(hex), "%08x", static_cast<unsigned>(pod * 2654435761ULL));
  const auto n = [](std::uint64_t v) { return std::to_string(v); };
  std::string encoded;  // names are in order here
  Labels::AppendEncoded("__name__", std::string("container_") + kGroups[i % 50 / 10] + "_" + kKinds[i % 10] + "_total", &encoded);
  Labels::AppendEncoded("cluster", "prod-eu-" + n(pod % 2), &encoded);
  Labels::AppendEncoded("container", "c" + n(pod % 3), &encoded);
  Labels::AppendEncoded("image", "registry/app-" + n(pod % 60) + "@v1." + n(pod % 9), &encoded);
  Labels::AppendEncoded("instance", "10.1." + n(pod % 250) + "." + n(pod % 200) + "-9100", &encoded);
  Labels::AppendEncoded("job", "kubelet", &encoded);
  Labels::AppendEncoded("namespace", "ns-" + n(pod % 25), &encoded);
  Labels::AppendEncoded("node", "node-" + n(pod % 400), &encoded);
  Labels::AppendEncoded("pod", "svc-" + n(pod % 60) + "-" + hex, &encoded);
  return Labels::FromEncoded(std::move(encoded));
}

ScratchDirectory::ScratchDirectory(const std::string& parent) {
  path_ = (parent.empty() ? std::filesystem::temp_directory_path().string() : parent) + "/chronolith_bench.XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) Check(IoError("cannot make " + path_));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

// ---- Flags ----

Flags::Flags(int argc, char** argv, const char* usage, std::map<std::string, std::string> defaults)
    : usage_(usage), values_(std::move(defaults)) {
  values_.emplace("json", "0");
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto it = name.starts_with("--") ? values_.find(std::string(name.substr(2))) : values_.end();
    if (it == values_.end()) Usage(name == "--help" ? "" : "unknown argument " + std::string(name));
    if (it->first == "json") {
      it->second = "1";
      continue;
    }
    if (i + 1 == argc) Usage(std::string(name) + " needs a value");
    it->second = argv[++i];
  }
}

void Flags::Usage(const std::string& complaint) const {
  std::fprintf(stderr, "%s%s%s", complaint.c_str(), complaint.empty() ? "" : "\n", usage_);
  std::exit(complaint.empty() ? 0 : 2);
}

std::uint64_t Flags::Number(const std::string& name) const {
  char* end = nullptr;
  const std::uint64_t v = std::strtoull(Text(name).c_str(), &end, 10);
  if (*end != '\0' || end == Text(name).c_str()) Usage("--" + name + " takes a number");
  return v;
}

double Flags::Real(const std::string& name) const {
  char* end = nullptr;
  const double v = std::strtod(Text(name).c_str(), &end);
  if (*end != '\0' || end == Text(name).c_str()) Usage("--" + name + " takes a number");
  return v;
}

std::vector<std::uint64_t> Flags::Numbers(const std::string& name) const {
  std::vector<std::uint64_t> numbers;
  for (const char* at = Text(name).c_str(); *at != '\0';) {
    char* end = nullptr;
    numbers.push_back(std::strtoull(at, &end, 10));
    if (end == at || (*end != ',' && *end != '\0')) Usage("--" + name + " takes numbers separated by commas");
    at = *end == ',' ? end + 1 : end;
  }
  return numbers;
}

// ---- Tables ----

namespace {

std::string Text(const Cell& cell, bool json) {
  if (const auto* text = std::get_if<std::string>(&cell)) return json ? '"' + *text + '"' : *text;
  const double v = std::get<double>(cell);
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer),
                json                                                               ? "%.6g"
                : v >= 1000 || v == static_cast<double>(static_cast<long long>(v)) ? "%.0f"
                                                                                   : "%.3g",
                v);
  return buffer;
}

}  // namespace

std::string Table::Markdown() const {
  std::string out = "\n" + title_ + "\n\n|";
  for (const std::string& c : columns_) out += " " + c + " |";
  out += "\n|";
  for (std::size_t i = 0; i < columns_.size(); ++i) out += "---|";
  for (const auto& row : rows_) {
    out += "\n|";
    for (const Cell& cell : row) out += " " + Text(cell, false) + " |";
  }
  return out + "\n";
}

std::string Table::Json() const {
  std::string out = "[";
  for (const auto& row : rows_) {
    out += out.size() > 1 ? ",\n  {" : "{";
    for (std::size_t i = 0; i < row.size(); ++i) out += (i > 0 ? ", \"" : "\"") + columns_[i] + "\": " + Text(row[i], true);
    out += "}";
  }
  return out + "]";
}

void Print(const std::vector<Table>& tables, bool json) {
  if (!json) {
    for (const Table& t : tables) std::fputs(t.Markdown().c_str(), stdout);
    return;
  }
  const char* separator = "{\n";
  for (const Table& t : tables) {
    std::printf("%s \"%s\": %s", separator, t.title().c_str(), t.Json().c_str());
    separator = ",\n";
  }
  std::puts("\n}");
}

// ---- Locks ----

LockWait SumLocks(const std::vector<LockStats>& locks) {
  LockWait sum;
  for (const LockStats& lock : locks) {
    sum.acquisitions += lock.acquisitions;
    sum.wait.Add(lock.wait);
  }
  return sum;
}

LockWait SumLocks(const StorageStats& stats) {
  LockWait sum;
  for (const ShardStats& s : stats.shards) {
    const LockWait shard = SumLocks(s.locks);
    sum.acquisitions += shard.acquisitions;
    sum.wait.Add(shard.wait);
  }
  return sum;
}

void Subtract(const LockWait& before, LockWait* after) {
  after->acquisitions -= before.acquisitions;
  after->wait.count -= before.wait.count;
  after->wait.sum_seconds -= before.wait.sum_seconds;
  for (std::size_t i = 0; i < after->wait.counts.size(); ++i) after->wait.counts[i] -= before.wait.counts[i];
}

}  // namespace chronolith::bench

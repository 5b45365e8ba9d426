#include "server/process_metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "metrics/family_parts.h"

namespace chronolith::server {
namespace {

double Now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Since 1970. Of /proc/self/stat, whose 22nd word is ticks since the machine started.
std::optional<double> StartTime() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');  // the second word, which may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream words(text.substr(name_end + 1));
  std::string word;
  for (int i = 3; i < 22; ++i) words >> word;
  double ticks = 0;
  if (!(words >> ticks)) return std::nullopt;
  return Now(CLOCK_REALTIME) - Now(CLOCK_BOOTTIME) + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

void AddProcessMetrics(std::vector<prometheus::MetricFamily>* families) {
  using enum prometheus::MetricType;
  const auto add = [&](const char* name, const char* help, prometheus::MetricType type, double value) {
    families->push_back(family_parts::Family(name, help, type));
    family_parts::AddValue(&families->back(), {}, value);
  };
  add("process_cpu_seconds_total", "Seconds that processors spent on the process.", Counter, Now(CLOCK_PROCESS_CPUTIME_ID));
  std::uint64_t pages = 0, resident = 0;
  if (std::ifstream file("/proc/self/statm"); file >> pages >> resident) {
    const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
    add("process_resident_memory_bytes", "Memory of the process.", Gauge, static_cast<double>(resident) * page);
    add("process_virtual_memory_bytes", "Addresses of the process.", Gauge, static_cast<double>(pages) * page);
  }
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error), end;
  std::ptrdiff_t open = -1;  // without that of the directory itself
  for (; !error && files != end; files.increment(error)) ++open;
  if (!error) add("process_open_fds", "Open files and connections.", Gauge, static_cast<double>(open));
  if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add("process_max_fds", "As many files and connections as may be open.", Gauge, static_cast<double>(limit.rlim_cur));
  }
  static const std::optional<double> start = StartTime();  // once: the clock may be set
  if (start) add("process_start_time_seconds", "When the process started, in seconds since 1970.", Gauge, *start);
}

}  // namespace chronolith::server

#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>
#include <vector>

namespace chronolith {
namespace {

// Version 1 says "no limit" as the largest number of whole pages.
constexpr std::uint64_t kNoLimit = 1ULL << 60;

void Lower(const std::string& file, std::optional<std::uint64_t>* limit) {
  std::ifstream in(file);
  std::string text;
  if (!std::getline(in, text)) return;
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || end != text.data() + text.size() || bytes >= kNoLimit) return;  // "max", for one
  *limit = std::min(limit->value_or(bytes), bytes);
}

// The group and all around it, up to the mounted root. In a container the path may be that of the host, and the root the group.
void LowerUpwards(const std::string& root, std::string group, const char* file, std::optional<std::uint64_t>* limit) {
  for (;;) {
    Lower(root + group + "/" + file, limit);
    const std::size_t slash = group.rfind('/');
    if (slash == std::string::npos) return;
    group.resize(slash);
  }
}

}  // namespace

std::optional<std::uint64_t> CgroupMemoryLimit(const std::string& membership, const std::string& root) {
  std::optional<std::uint64_t> limit;
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {  // "4:memory:/a/b", and "0::/a/b" of version 2
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers.find(",memory,") != std::string::npos) LowerUpwards(root + "/memory", group, "memory.limit_in_bytes", &limit);
    if (controllers == ",,") {
      for (const char* mount : {"", "/unified"}) LowerUpwards(root + mount, group, "memory.max", &limit);
    }
  }
  return limit;
}

std::optional<std::uint64_t> CgroupMemoryLimit() { return CgroupMemoryLimit("/proc/self/cgroup", "/sys/fs/cgroup"); }

}  // namespace chronolith

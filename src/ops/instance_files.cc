#include "ops/instance_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>

#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

std::vector<std::pair<std::string, std::string>> Instances(const OfflineStore& store) {
  return {{"data", DataInstancePath(store.path())}, {"log", store.log_path()}};
}

std::string KindOf(const std::string& name) {
  if (name.ends_with(".sst")) return "table";
  if (name.ends_with(".log")) return "log";
  if (name.starts_with("MANIFEST-") || name == "CURRENT") return "manifest";
  if (name.starts_with("OPTIONS-")) return "options";
  return "other";
}

std::string NewestOptions(const std::string& directory) {
  std::string newest;
  std::uint64_t number = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("OPTIONS-") || name.ends_with(".dbtmp")) continue;
    const std::uint64_t n = std::strtoull(name.c_str() + 8, nullptr, 10);
    if (newest.empty() || n > number) {
      newest = entry.path();
      number = n;
    }
  }
  return newest;
}

std::string Trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

// "wal.3" is of the kind "wal.*"; "meta" is its own.
std::string KindOfFamily(const std::string& family) {
  const std::size_t dot = family.find('.');
  return dot == std::string::npos ? family : family.substr(0, dot) + ".*";
}

// Settings of sections such as [CFOptions "wal.3"]; those of the instance as a whole have no family.
std::vector<EngineSetting> ParseOptions(const std::string& instance, const std::string& path) {
  std::vector<EngineSetting> settings;
  std::ifstream in(path);
  std::string prefix;
  std::string family;
  bool wanted = false;
  for (std::string line; std::getline(in, line);) {
    line = Trimmed(line);
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      const std::size_t quote = line.find('"');
      family = quote == std::string::npos ? "" : line.substr(quote + 1, line.rfind('"') - quote - 1);
      const std::string section = line.substr(1, line.find_first_of(" ]") - 1);
      wanted = section != "Version";
      prefix = section.starts_with("TableOptions") ? "table." : "";
      continue;
    }
    const std::size_t equals = line.find('=');
    if (wanted && equals != std::string::npos)
      settings.push_back({instance, family, prefix + line.substr(0, equals), line.substr(equals + 1)});
  }
  return settings;
}

}  // namespace

std::vector<InstanceFile> ListInstanceFiles(const OfflineStore& store) {
  std::vector<InstanceFile> files;
  for (const auto& [instance, directory] : Instances(store)) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
      struct stat status {};
      if (stat(entry.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      const std::string name = entry.path().filename();
      files.push_back({instance, name, KindOf(name), static_cast<std::uint64_t>(status.st_size),
                       status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1'000'000});
    }
  }
  std::sort(files.begin(), files.end(), [](const InstanceFile& a, const InstanceFile& b) {
    return std::tie(a.instance, a.name) < std::tie(b.instance, b.name);
  });
  return files;
}

std::vector<EngineSetting> ReadEngineSettings(const OfflineStore& store) {
  std::vector<EngineSetting> result;
  for (const auto& [instance, directory] : Instances(store)) {
    const std::string path = NewestOptions(directory);
    if (path.empty()) continue;
    const std::vector<EngineSetting> settings = ParseOptions(instance, path);
    using Setting = std::pair<std::string, std::string>;  // kind of family, name
    std::map<Setting, std::set<std::string>> values;
    for (const EngineSetting& s : settings) values[{KindOfFamily(s.families), s.name}].insert(s.value);
    std::set<Setting> shown;
    for (const EngineSetting& s : settings) {
      const Setting setting{KindOfFamily(s.families), s.name};
      if (values[setting].size() > 1) {
        result.push_back(s);
      } else if (shown.insert(setting).second) {
        result.push_back({instance, setting.first, s.name, s.value});
      }
    }
  }
  return result;
}

}  // namespace chronolith::ops

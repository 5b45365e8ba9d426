#include "plugins/rocksdb/linked_tables.h"

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace chronolith {
namespace {

constexpr std::string_view kEnding = ".sst";

}  // namespace

LinkedTables::LinkedTables(const std::string& copy, const std::string& source) : copy_(copy + "/"), source_(source + "/") {
  std::error_code ignored;  // what cannot be listed cannot be opened
  for (std::filesystem::directory_iterator it(copy, ignored), end; !ignored && it != end; it.increment(ignored)) {
    std::error_code unknown;
    if (it->path().extension() == kEnding && it->is_symlink(unknown)) names_.insert(it->path().filename().string());
  }
}

Status LinkedTables::Naming(const Status& status) const {
  if (names_.empty()) return status;
  std::string message = status.message();
  for (std::size_t at = message.find(copy_); at != std::string::npos; at = message.find(copy_, at + 1)) {
    const std::size_t name = at + copy_.size();
    const std::size_t end = message.find(kEnding, name);
    if (end == std::string::npos || !names_.contains(message.substr(name, end + kEnding.size() - name))) continue;
    message.replace(at, copy_.size(), source_);
  }
  return Status(status.code(), std::move(message));
}

}  // namespace chronolith

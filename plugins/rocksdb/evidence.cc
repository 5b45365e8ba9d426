#include "plugins/rocksdb/evidence.h"

#include <ctime>
#include <filesystem>
#include <limits>
#include <system_error>

#include "plugins/rocksdb/file_sync.h"

namespace chronolith {

Result<std::string> MakeEvidenceDirectory(const std::string& path, const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), format, &utc);
  std::string directory = path + text;
  std::error_code error;
  for (int i = 2; !std::filesystem::create_directory(directory, error); ++i) {
    if (error) return IoError("creating '" + directory + "': " + error.message());
    directory = path + text + "." + std::to_string(i);
  }
  return directory;
}

Status KeepFile(rocksdb::Env* env, const std::string& path, const std::string& name, const std::string& kept) {
  if (env->LinkFile(path + "/" + name, kept + "/" + name).ok()) return Status::Ok();
  return CopySyncedFile(env, path + "/" + name, kept + "/" + name, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace chronolith

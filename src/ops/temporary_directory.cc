#include "ops/temporary_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/posix_file.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr char kUses[] = "keeps temporary files";
constexpr char kPrefix[] = "chronolith-";

// What cannot be looked at, locked or removed is left to the next.
void RemoveWhatTheDeadLeft(const std::string& directory, const std::string& prefix) {
  std::error_code error;
  std::vector<std::string> left;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    struct stat info {};
    const std::string path = it->path().string();
    const bool named = it->path().filename().string().starts_with(prefix);
    if (named && lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid()) left.push_back(path);
  }
  for (const std::string& path : left) {
    std::error_code ignored;
    if (const auto lock = PathLock::Take(path, true, kUses); lock.ok()) fs::remove_all(path, ignored);
  }
}

}  // namespace

void TemporaryDirectory::RemoveLeft(const std::string& parent) { RemoveWhatTheDeadLeft(parent, kPrefix); }

Result<std::unique_ptr<TemporaryDirectory>> TemporaryDirectory::Make(std::string_view purpose, const std::string& parent) {
  std::error_code error;
  const std::string directory = parent.empty() ? fs::temp_directory_path(error).string() : parent;
  if (error) return ErrnoStatus("no directory for temporary files (TMPDIR)", error);
  const std::string prefix = kPrefix + std::string(purpose) + "-";
  RemoveWhatTheDeadLeft(directory, prefix);
  std::string fresh = directory + "/" + kPrefix + "new-XXXXXX";
  if (mkdtemp(fresh.data()) == nullptr) return ErrnoStatus("cannot create " + fresh, errno);
  auto lock = PathLock::Take(fresh, true, kUses);
  const std::string path = directory + "/" + prefix + fresh.substr(fresh.size() - 6);
  if (lock.ok()) fs::rename(fresh, path, error);
  if (lock.ok() && !error)
    return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(path, !parent.empty(), std::move(*lock)));
  (void)rmdir(fresh.c_str());
  return lock.ok() ? ErrnoStatus("cannot create " + path, error) : lock.status();
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TemporaryDirectory::Remove() const {
  std::error_code ignored;
  for (int attempt = 0; attempt < 10 && fs::exists(path_, ignored); ++attempt) fs::remove_all(path_, ignored);
}

Status TemporaryDirectory::CheckRoom(std::uint64_t bytes_needed) const {
  std::error_code error;
  const std::uintmax_t free = fs::space(path_, error).available;
  if (error) return ErrnoStatus("cannot look at the disk of " + path_, error);
  if (free >= bytes_needed) return Status::Ok();
  return ResourceExhausted("this needs " + std::to_string(bytes_needed) + " bytes" + (placed_ ? "" : " among temporary files") +
                           ", and the disk of " + fs::path(path_).parent_path().string() + " has " + std::to_string(free) +
                           " left: free space" + (placed_ ? "" : ", or set TMPDIR to a directory on another one"));
}

}  // namespace chronolith::ops

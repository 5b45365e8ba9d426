#include "ops/target_path.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/posix_file.h"
#include "format/store_manifest.h"

namespace chronolith::ops {

namespace fs = std::filesystem;

namespace {

// Links and `..` resolved, as far as there is something.
fs::path Resolved(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  const fs::path resolved = fs::weakly_canonical(absolute, error);
  return error ? absolute.lexically_normal() : resolved;
}

}  // namespace

bool LiesWithin(const std::string& inner, const std::string& outer) {
  const fs::path o = Resolved(outer);
  const fs::path i = Resolved(inner);
  return std::mismatch(o.begin(), o.end(), i.begin(), i.end()).first == o.end();
}

Status CheckOutsideDatabases(const std::string& path) {
  fs::path above = Resolved(path);
  if (!above.has_filename()) above = above.parent_path();  // it ended in a slash
  while (above.has_relative_path()) {
    above = above.parent_path();
    std::error_code error;
    // An instance may lie apart from its STORE (Options::log_directory).
    if (fs::exists(above / kStoreFile, error) || (fs::exists(above / "CURRENT", error) && fs::exists(above / "IDENTITY", error))) {
      return InvalidArgument(path + " lies in the database " + above.string() +
                             ", where only its own files may be: name another place");
    }
  }
  return Status::Ok();
}

Status CheckFileTarget(const std::string& path, bool overwrite) {
  if (Status s = CheckOutsideDatabases(path); !s.ok()) return s;
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  if (!fs::exists(there)) return Status::Ok();
  if (!fs::is_regular_file(there)) return InvalidArgument(path + " is not a file: name one");
  return overwrite ? Status::Ok() : AlreadyExists(path + " exists; --overwrite replaces it");
}

Status WriteFileTarget(const std::string& path, bool overwrite, std::string_view bytes) {
  if (Status s = CheckFileTarget(path, overwrite); !s.ok()) return s;
  const fs::path file(path);
  return WriteSyncedFile(file.has_parent_path() ? file.parent_path().string() : ".", file.filename().string(), bytes);
}

Status WriteFileOrThrough(const std::string& path, std::string_view bytes) {
  if (Status s = CheckOutsideDatabases(path); !s.ok()) return s;
  std::error_code error;
  const fs::file_status there = fs::symlink_status(path, error);
  if (!fs::exists(there) || fs::is_regular_file(there)) return WriteFileTarget(path, /*overwrite=*/true, bytes);
  const Result<FileDescriptor> file = OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, "write");
  return file.ok() ? WriteFully(file->get(), bytes, path) : file.status();
}

}  // namespace chronolith::ops

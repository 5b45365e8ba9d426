#include "plugins/rocksdb/table_drop.h"

#include <ctime>
#include <filesystem>
#include <limits>
#include <system_error>

#include "base/coding.h"
#include "plugins/rocksdb/file_sync.h"
#include "plugins/rocksdb/log_rewrite.h"

namespace chronolith {
namespace {

// Tags of a MANIFEST's record, a VersionEdit: of which family it is; a table that is gone, by level and number.
constexpr std::uint64_t kTagFamily = 200;
constexpr std::uint64_t kTagDeletedFile = 6;

std::string EditWithout(const BadTable& table) {
  std::string edit;
  PutVarint(&edit, kTagDeletedFile);
  PutVarint(&edit, static_cast<std::uint64_t>(table.level));
  PutVarint(&edit, table.number);
  PutVarint(&edit, kTagFamily);
  PutVarint(&edit, table.family);
  return edit;
}

Status Failed(const std::string& what, const rocksdb::Status& s) { return IoError(what + ": " + s.ToString()); }

Result<std::string> CurrentManifest(rocksdb::Env* env, const std::string& path) {
  std::string name;
  const rocksdb::Status s = rocksdb::ReadFileToString(env, path + "/CURRENT", &name);
  if (!s.ok()) return Failed("reading '" + path + "/CURRENT'", s);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return path + "/" + name;
}

Result<std::string> MakeKeptDirectory(const std::string& path) {
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "/damaged-%Y%m%dT%H%M%SZ", &utc);
  std::string directory = path + text;
  std::error_code error;
  for (int i = 2; !std::filesystem::create_directory(directory, error); ++i) {
    if (error) return IoError("creating '" + directory + "': " + error.message());
    directory = path + text + "." + std::to_string(i);
  }
  return directory;
}

Status Keep(rocksdb::Env* env, const std::string& file, const std::string& kept) {
  if (env->LinkFile(file, kept).ok()) return Status::Ok();
  return CopySyncedFile(env, file, kept, std::numeric_limits<std::uint64_t>::max());
}

Status DropLocked(rocksdb::Env* env, const std::string& path, const std::vector<BadTable>& tables) {
  const Result<std::string> manifest = CurrentManifest(env, path);
  if (!manifest.ok()) return manifest.status();
  const Result<std::string> kept = MakeKeptDirectory(path);
  if (!kept.ok()) return kept.status();
  std::vector<std::string> edits;
  for (const BadTable& table : tables) {
    edits.push_back(EditWithout(table));
    if (!env->FileExists(path + "/" + table.file).ok()) continue;
    if (Status s = Keep(env, path + "/" + table.file, *kept + "/" + table.file); !s.ok()) return s;
  }
  if (Status s = SyncTree(env, *kept); !s.ok()) return s;
  const std::string shorter = *manifest + ".cut";  // there may be one of an attempt that was interrupted
  if (Status s = CopyWithRecords(env, *manifest, shorter, edits); !s.ok()) return s;
  if (rocksdb::Status s = env->RenameFile(shorter, *manifest); !s.ok()) return Failed("renaming '" + shorter + "'", s);
  return SyncDirectory(env, path);
}

}  // namespace

Status DropTables(rocksdb::Env* env, const std::string& path, const std::vector<BadTable>& tables) {
  if (tables.empty()) return Status::Ok();
  rocksdb::FileLock* lock = nullptr;
  if (const rocksdb::Status s = env->LockFile(path + "/LOCK", &lock); !s.ok()) {
    return FailedPrecondition("'" + path + "' is open already: " + s.ToString());
  }
  const Status dropped = DropLocked(env, path, tables);
  (void)env->UnlockFile(lock);
  return dropped;
}

}  // namespace chronolith

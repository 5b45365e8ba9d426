#include "plugins/rocksdb/table_drop.h"

#include "base/coding.h"
#include "plugins/rocksdb/evidence.h"
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

Status DropLocked(rocksdb::Env* env, const std::string& path, const std::vector<BadTable>& tables) {
  const Result<std::string> manifest = CurrentManifest(env, path);
  if (!manifest.ok()) return manifest.status();
  const Result<std::string> kept = MakeEvidenceDirectory(path, "/damaged-%Y%m%dT%H%M%SZ");
  if (!kept.ok()) return kept.status();
  std::vector<std::string> edits;
  for (const BadTable& table : tables) {
    edits.push_back(EditWithout(table));
    if (!env->FileExists(path + "/" + table.file).ok()) continue;
    if (Status s = KeepFile(env, path, table.file, *kept); !s.ok()) return s;
  }
  // Not the files: they were synced before the MANIFEST listed them, and where `path` is a copy they may be links to what must not
  // be opened for writing.
  if (Status s = SyncDirectory(env, *kept); !s.ok()) return s;
  if (Status s = SyncDirectory(env, path); !s.ok()) return s;
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

#include "plugins/rocksdb/file_sync.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <vector>

namespace chronolith {
namespace {

constexpr std::size_t kCopyBytes = 256 << 10;

Status Failed(const char* what, const std::string& path, const rocksdb::Status& s) {
  return IoError(std::string(what) + " '" + path + "': " + s.ToString());
}

// What was begun is ended in any case; the first error counts.
rocksdb::Status SyncAndClose(rocksdb::WritableFile* file, rocksdb::Status s) {
  if (s.ok()) s = file->Fsync();
  const rocksdb::Status closed = file->Close();
  return s.ok() ? closed : s;
}

}  // namespace

Status SyncFile(rocksdb::Env* env, const std::string& path) {
  // The one way to open a file that neither creates nor cuts it.
  std::unique_ptr<rocksdb::RandomRWFile> file;
  rocksdb::Status s = env->NewRandomRWFile(path, &file, rocksdb::EnvOptions());
  if (!s.ok()) return Failed("opening", path, s);
  s = file->Fsync();
  return s.ok() ? Status::Ok() : Failed("syncing", path, s);
}

Status SyncDirectory(rocksdb::Env* env, const std::string& path) {
  std::unique_ptr<rocksdb::Directory> directory;
  rocksdb::Status s = env->NewDirectory(path, &directory);
  if (!s.ok()) return Failed("opening", path, s);
  s = directory->Fsync();
  return s.ok() ? Status::Ok() : Failed("syncing", path, s);
}

Status SyncTree(rocksdb::Env* env, const std::string& path) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (!entry.is_regular_file()) continue;
    if (Status s = SyncFile(env, entry.path().string()); !s.ok()) return s;
  }
  if (error) return IoError("listing '" + path + "': " + error.message());
  if (Status s = SyncDirectory(env, path); !s.ok()) return s;
  return SyncDirectory(env, std::filesystem::absolute(path).parent_path().string());
}

Status WriteSyncedFile(rocksdb::Env* env, const std::string& path, std::string_view bytes) {
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status s = env->NewWritableFile(path, &file, rocksdb::EnvOptions());
  if (!s.ok()) return Failed("creating", path, s);
  s = SyncAndClose(file.get(), file->Append({bytes.data(), bytes.size()}));
  return s.ok() ? Status::Ok() : Failed("writing", path, s);
}

Status CopySyncedFile(rocksdb::Env* env, const std::string& from, const std::string& to, std::uint64_t bytes) {
  std::unique_ptr<rocksdb::SequentialFile> source;
  rocksdb::Status s = env->NewSequentialFile(from, &source, rocksdb::EnvOptions());
  if (!s.ok()) return Failed("opening", from, s);
  std::unique_ptr<rocksdb::WritableFile> copy;
  s = env->NewWritableFile(to, &copy, rocksdb::EnvOptions());
  if (!s.ok()) return Failed("creating", to, s);
  std::vector<char> buffer(kCopyBytes);
  while (s.ok() && bytes > 0) {
    rocksdb::Slice piece;
    s = source->Read(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, buffer.size())), &piece, buffer.data());
    if (!s.ok() || piece.empty()) break;
    bytes -= piece.size();
    s = copy->Append(piece);
  }
  s = SyncAndClose(copy.get(), s);
  return s.ok() ? Status::Ok() : Failed("copying", from, s);
}

Status RewriteSyncedFile(rocksdb::Env* env, const std::string& path) {
  const std::string copy = path + ".new";  // there may be one of an attempt that was interrupted
  if (Status s = CopySyncedFile(env, path, copy, std::numeric_limits<std::uint64_t>::max()); !s.ok()) return s;
  const rocksdb::Status s = env->RenameFile(copy, path);
  return s.ok() ? Status::Ok() : Failed("renaming", copy, s);
}

}  // namespace chronolith

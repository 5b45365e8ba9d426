// Files and directories onto stable storage.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_

#include <rocksdb/env.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

Status SyncFile(rocksdb::Env* env, const std::string& path);       // which must exist
Status SyncDirectory(rocksdb::Env* env, const std::string& path);  // its entries
Status SyncTree(rocksdb::Env* env, const std::string& path);       // every file in it, itself, and its entry in its parent
Status WriteSyncedFile(rocksdb::Env* env, const std::string& path, std::string_view bytes);
// The first `bytes` of a file, or all of it where it is shorter, as a new file, synced.
Status CopySyncedFile(rocksdb::Env* env, const std::string& from, const std::string& to, std::uint64_t bytes);

// The same bytes under the same name as a new file, synced; the name is not.
Status RewriteSyncedFile(rocksdb::Env* env, const std::string& path);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_

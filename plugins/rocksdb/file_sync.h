// Files and directories onto stable storage.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_

#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

Status SyncFile(const std::string& path);       // or a directory: its entries
Status SyncTree(const std::string& path);  // every file in it, itself, and its entry in its parent
Status WriteSyncedFile(const std::string& path, std::string_view bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_FILE_SYNC_H_

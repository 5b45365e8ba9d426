// Writes what is intact in a damaged log file of RocksDB as a log file of its own.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_

#include <rocksdb/env.h>

#include <string>
#include <vector>

#include "chronolith/status.h"

namespace chronolith {

// Every intact record of `from`, in order, in the format that log_scan.h describes; `to` is replaced, and synced. Memory: one
// record.
Status CopyIntactRecords(rocksdb::Env* env, const std::string& from, const std::string& to);
// All of `from`, which may be a MANIFEST, and `more` behind it. kDataLoss where anything but its end is damaged.
Status CopyWithRecords(rocksdb::Env* env, const std::string& from, const std::string& to, const std::vector<std::string>& more);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_

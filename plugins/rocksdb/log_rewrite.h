// Writes what is intact in a damaged log file of RocksDB as a log file of its own.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_

#include <rocksdb/env.h>

#include <string>

#include "chronolith/status.h"

namespace chronolith {

// Every intact record of `from`, in order, in the format that log_scan.h describes; `to` is replaced, and synced. Memory: one
// record.
Status CopyIntactRecords(rocksdb::Env* env, const std::string& from, const std::string& to);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LOG_REWRITE_H_

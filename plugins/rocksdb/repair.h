// Makes an instance of table files whose MANIFEST is lost or names some that are.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_REPAIR_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_REPAIR_H_

#include <rocksdb/env.h>

#include <string>

#include "chronolith/kv_engine.h"
#include "plugins/rocksdb/options_table.h"

namespace chronolith {

// Reads every table in the directory `path`, which must be a copy, and writes a MANIFEST of those that can be read to their end;
// the others are moved to `path`/lost. Log files become tables. RocksDB's own repair: it knows a family by what its tables say, so
// one without tables is not there afterwards, and tables that were replaced and not yet deleted come back.
Status RepairTables(rocksdb::Env* env, const std::string& path, const EngineOptions& options, const EngineSettings& settings);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_REPAIR_H_

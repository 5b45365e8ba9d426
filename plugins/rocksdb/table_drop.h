// Takes tables out of an instance that is not open: for a log, of which a table that cannot be read may hold nothing that is needed
// any more, while RocksDB refuses the whole instance for it.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_TABLE_DROP_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_TABLE_DROP_H_

#include <rocksdb/env.h>

#include <string>
#include <vector>

#include "chronolith/status.h"
#include "plugins/rocksdb/damage.h"

namespace chronolith {

// Keeps the files in a directory of their own, then lets the MANIFEST say that they are gone, as RocksDB says it of a table that it
// has replaced. Whenever it is interrupted, all of them are listed as before, or none. What they hid (deletes) may be there again.
// kFailedPrecondition: the instance is open. kDataLoss: the MANIFEST is damaged.
Status DropTables(rocksdb::Env* env, const std::string& path, const std::vector<BadTable>& tables);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_TABLE_DROP_H_

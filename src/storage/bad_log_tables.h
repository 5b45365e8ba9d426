// Tables of the log instance that cannot be read, and what they may have held.
#ifndef CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_
#define CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_

#include <string>
#include <vector>

#include "chronolith/kv_engine.h"
#include "format/series_id.h"

namespace chronolith {

struct BadLogTable {
  ShardId shard = 0;
  std::string file;
  Lsn last = 0;  // no row in it begins behind; kMaxLsn where its keys do not tell
};
inline constexpr Lsn kMaxLsn = ~Lsn{0};

// Of an instance that was opened around them (EngineOptions::quarantine); those of shards, not those of what shards share.
std::vector<BadLogTable> BadLogTables(const KvEngine* log, ShardId shards);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_

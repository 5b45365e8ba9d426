// Tables of the log instance that cannot be read, and what they may have held.
#ifndef CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_
#define CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_

#include <optional>
#include <string>
#include <vector>

#include "chronolith/kv_engine.h"
#include "format/series_id.h"

namespace chronolith {

struct BadLogTable {
  std::optional<ShardId> shard;  // none: of what shards share, epochs and the store's identity, which the data instance has as well
  std::string file;
  Lsn last = 0;             // no row in it begins behind; kMaxLsn where its keys do not tell
  bool unreadable = false;  // by an error of the device or the system: it may be whole
};
inline constexpr Lsn kMaxLsn = ~Lsn{0};

// Of an instance that was opened around them (EngineOptions::quarantine).
std::vector<BadLogTable> BadLogTables(const KvEngine* log, ShardId shards);
// For EngineOptions::extra["drop_damaged_tables"]: separated by commas.
std::string NamesOf(const std::vector<BadLogTable>& tables);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_BAD_LOG_TABLES_H_

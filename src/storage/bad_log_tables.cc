#include "storage/bad_log_tables.h"

#include "base/table_ranges.h"
#include "format/wal_record.h"
#include "storage/store_directory.h"

namespace chronolith {
namespace {

// The state row sorts behind the rows of records.
Lsn LastRow(const std::string& largest) {
  if (largest.size() != kWalKeyBytes || largest[0] != kWalRowPrefix) return kMaxLsn;
  Lsn lsn = 0;
  for (const char c : largest.substr(1)) lsn = lsn << 8 | static_cast<unsigned char>(c);
  return lsn;
}

}  // namespace

std::vector<BadLogTable> BadLogTables(const KvEngine* log, ShardId shards) {
  std::vector<BadLogTable> found;
  const auto* const ranges = dynamic_cast<const TableRanges*>(log);
  for (ShardId shard = 0; ranges != nullptr && shard < shards; ++shard) {
    for (TableRange& table : ranges->Tables(WalFamily(shard))) {
      if (table.bad) found.push_back({shard, std::move(table.file), LastRow(table.largest)});
    }
  }
  return found;
}

}  // namespace chronolith

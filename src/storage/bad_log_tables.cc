#include "storage/bad_log_tables.h"

#include "base/table_ranges.h"
#include "format/row_keys.h"
#include "storage/store_directory.h"

namespace chronolith {
namespace {

// The state row sorts behind the rows of records.
Lsn LastRow(const std::string& largest) {
  Lsn last = kMaxLsn;
  return ParseWalKey(largest, &last) ? last : kMaxLsn;
}

}  // namespace

std::vector<BadLogTable> BadLogTables(const KvEngine* log, ShardId shards) {
  std::vector<BadLogTable> found;
  const auto* const ranges = dynamic_cast<const TableRanges*>(log);
  if (ranges == nullptr) return found;
  const auto add = [&](FamilyId family, std::optional<ShardId> shard) {
    for (TableRange& table : ranges->Tables(family)) {
      if (table.state == TableState::kSound) continue;
      const Lsn last = shard ? LastRow(table.largest) : 0;
      found.push_back({shard, std::move(table.file), last, table.state == TableState::kUnreadable});
    }
  };
  add(kSharedFiles, std::nullopt);
  add(kMetaFamily, std::nullopt);
  for (ShardId shard = 0; shard < shards; ++shard) add(WalFamily(shard), shard);
  return found;
}

std::string NamesOf(const std::vector<BadLogTable>& tables) {
  std::string names;
  for (const BadLogTable& table : tables) names += (names.empty() ? "" : ",") + table.file;
  return names;
}

}  // namespace chronolith

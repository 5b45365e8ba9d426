// UNFINISHED: what an open gave up of shards' logs and had not come to its end with, so that the next open knows what the logs
// themselves do not show any more (data_loss.cc). The file's form: src/format/README.md.
#ifndef CHRONOLITH_STORAGE_UNFINISHED_H_
#define CHRONOLITH_STORAGE_UNFINISHED_H_

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "format/series_id.h"

namespace chronolith {

inline constexpr std::string_view kUnfinishedFile = "UNFINISHED";

// Thread safety: none of its own.
struct Unfinished {
  // Nothing shows what the end of their logs has lost.
  std::set<ShardId> ends;
  // Tables of their logs were taken out. A table is of one shard, so that a hole in these says nothing of other shards' logs.
  std::set<ShardId> tables;
  // Their logs have holes, and what is behind those is being stored: what is stored was so without a hole up to here only.
  std::map<ShardId, Lsn> stored_whole;

  bool empty() const { return ends.empty() && tables.empty() && stored_whole.empty(); }
  bool Contains(ShardId shard) const { return EndIsUnknown(shard) || stored_whole.contains(shard); }
  bool EndIsUnknown(ShardId shard) const { return ends.contains(shard) || tables.contains(shard); }
  void Erase(ShardId shard) {
    ends.erase(shard);
    tables.erase(shard);
    stored_whole.erase(shard);
  }
  // How far what is stored of a shard is whole, where it is stored up to `applied`.
  Lsn StoredWhole(ShardId shard, Lsn applied) const {
    const auto it = stored_whole.find(shard);
    return it == stored_whole.end() ? applied : std::min(applied, it->second);
  }
};

// Of the store in the directory `path`; empty where there is no file. Ends of all shards where the file does not read as one.
// kIoError names it.
Result<Unfinished> ReadUnfinished(const std::string& path, ShardId shards);
// Synced; removes the file where there is nothing to say.
Status WriteUnfinished(const std::string& path, const Unfinished& unfinished);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_UNFINISHED_H_

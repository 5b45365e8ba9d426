// UNFINISHED: what an open gave up of shards' logs and had not come to its end with, so that the next open knows what the logs
// themselves do not show any more (data_loss.cc). The file's form: src/format/README.md.
#ifndef CHRONOLITH_STORAGE_UNFINISHED_H_
#define CHRONOLITH_STORAGE_UNFINISHED_H_

#include <set>
#include <string>
#include <string_view>

#include "chronolith/result.h"
#include "format/series_id.h"

namespace chronolith {

inline constexpr std::string_view kUnfinishedFile = "UNFINISHED";

// Thread safety: none of its own.
struct Unfinished {
  // Nothing shows what the end of their logs has lost.
  std::set<ShardId> ends;
  // Tables of their logs were taken out. A table is of one shard, so that a hole in these says nothing of other shards' logs.
  std::set<ShardId> tables;

  bool empty() const { return ends.empty() && tables.empty(); }
  bool Contains(ShardId shard) const { return ends.contains(shard) || tables.contains(shard); }
  void Erase(ShardId shard) {
    ends.erase(shard);
    tables.erase(shard);
  }
};

// Of the store in the directory `path`; empty where there is no file. Ends of all shards where the file does not read as one.
// kIoError names it.
Result<Unfinished> ReadUnfinished(const std::string& path, ShardId shards);
// Synced; removes the file where there is nothing to say.
Status WriteUnfinished(const std::string& path, const Unfinished& unfinished);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_UNFINISHED_H_

#include "storage/unfinished.h"

#include <cerrno>
#include <charconv>
#include <fstream>

#include "base/posix_file.h"

namespace chronolith {
namespace {

constexpr char kTable = 't';

// "3", or "3t".
bool Take(std::string_view word, ShardId shards, Unfinished* found) {
  const bool table = word.ends_with(kTable);
  if (table) word.remove_suffix(1);
  ShardId shard = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), shard);
  if (error != std::errc() || end != word.data() + word.size() || shard >= shards) return false;
  (table ? found->tables : found->ends).insert(shard);
  return true;
}

}  // namespace

Result<Unfinished> ReadUnfinished(const std::string& path, ShardId shards) {
  Unfinished found;
  const std::string file = path + "/" + std::string(kUnfinishedFile);
  std::ifstream in(file);
  if (!in) {
    if (errno != ENOENT) return ErrnoStatus("cannot read " + file, errno);
    return found;
  }
  bool reads = true;
  for (std::string word; in >> word;) reads = Take(word, shards, &found) && reads;
  if (!reads || found.empty()) {
    for (ShardId shard = 0; shard < shards; ++shard) found.ends.insert(shard);
  }
  return found;
}

Status WriteUnfinished(const std::string& path, const Unfinished& unfinished) {
  if (unfinished.empty()) return RemoveSyncedFile(path, kUnfinishedFile);
  std::string text;
  for (const ShardId shard : unfinished.ends) text += std::to_string(shard) + " ";
  for (const ShardId shard : unfinished.tables) text += std::to_string(shard) + kTable + " ";
  return WriteSyncedFile(path, kUnfinishedFile, text + "\n");
}

}  // namespace chronolith

#include "storage/unfinished.h"

#include <cerrno>
#include <charconv>
#include <fstream>

#include "base/posix_file.h"

namespace chronolith {
namespace {

constexpr char kTable = 't';
constexpr char kWholeTo = '-';

template <typename Number>
bool TakeNumber(std::string_view digits, Number* number) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *number);
  return error == std::errc() && end == digits.data() + digits.size();
}

// "3", "3t", or "3-1000".
bool Take(std::string_view word, ShardId shards, Unfinished* found) {
  Lsn whole_to = 0;
  const std::size_t dash = word.find(kWholeTo);
  const bool whole = dash != std::string_view::npos;
  if (whole && !TakeNumber(word.substr(dash + 1), &whole_to)) return false;
  word = word.substr(0, dash);
  const bool table = !whole && word.ends_with(kTable);
  if (table) word.remove_suffix(1);
  ShardId shard = 0;
  if (!TakeNumber(word, &shard) || shard >= shards) return false;
  if (whole) return found->stored_whole.emplace(shard, whole_to).second;
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
  for (const auto& [shard, lsn] : unfinished.stored_whole) text += std::to_string(shard) + kWholeTo + std::to_string(lsn) + " ";
  return WriteSyncedFile(path, kUnfinishedFile, text + "\n");
}

}  // namespace chronolith

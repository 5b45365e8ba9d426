// Whether the figures of a shard are of all of it, or lower bounds, because parts of it could not be read.
#ifndef CHRONOLITH_OPS_SHARD_CONDITION_H_
#define CHRONOLITH_OPS_SHARD_CONDITION_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "format/series_id.h"

namespace chronolith::ops {

// Thread safety: none needed; a value.
struct ShardCondition {
  struct Unread {
    std::string part;  // "chunks", "index", "log"
    std::string why;
  };
  std::string quarantine;      // why nothing of its tables was read; "": they were
  std::vector<Unread> unread;  // in the order in which they were met; one part may stand several times

  bool complete() const { return quarantine.empty() && unread.empty(); }
  // "ok", "quarantined", "damaged: chunks, log"
  std::string State() const {
    if (!quarantine.empty()) return "quarantined";
    std::vector<std::string_view> parts;
    for (const Unread& u : unread) {
      if (std::find(parts.begin(), parts.end(), u.part) == parts.end()) parts.push_back(u.part);
    }
    std::string text;
    for (const std::string_view part : parts) text.append(text.empty() ? "damaged: " : ", ").append(part);
    return text.empty() ? "ok" : text;
  }
  // One each, with the shard's number.
  std::vector<std::string> Problems(ShardId shard) const {
    const std::string name = "shard " + std::to_string(shard);
    std::vector<std::string> all;
    if (!quarantine.empty()) all.push_back(name + " is quarantined: " + quarantine);
    for (const Unread& u : unread) all.push_back(name + ", " + u.part + ": " + u.why);
    return all;
  }
};

// Of several shards' reports, each with members `shard` and `condition`.
template <typename Shards>
bool AllComplete(const Shards& shards) {
  return std::all_of(shards.begin(), shards.end(), [](const auto& shard) { return shard.condition.complete(); });
}
template <typename Shards>
std::vector<std::string> ProblemsOf(const Shards& shards) {
  std::vector<std::string> all;
  for (const auto& shard : shards) {
    for (std::string& problem : shard.condition.Problems(shard.shard)) all.push_back(std::move(problem));
  }
  return all;
}

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SHARD_CONDITION_H_

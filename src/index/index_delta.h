// IndexDelta: the changes of a shard's index that are not in the rows yet.
#ifndef CHRONOLITH_INDEX_INDEX_DELTA_H_
#define CHRONOLITH_INDEX_INDEX_DELTA_H_

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <optional>

#include "base/ordinal_set.h"
#include "chronolith/types.h"
#include "format/series_id.h"
#include "index/postings_delta.h"

namespace chronolith {

// A shard has at most two: the one being built, and the one that a checkpoint writes. Thread safety: as std::vector.
struct IndexDelta {
  struct MetadataChange {
    Metadata metadata;
    Lsn lsn = 0;
  };

  PostingsDelta postings;  // of new series; the pair Symbols::kAll lists them
  OrdinalSet removed;
  absl::flat_hash_map<Ordinal, Lsn> removals;  // LSN of each of `removed`
  absl::flat_hash_map<Ordinal, MetadataChange> metadata;
  std::optional<Lsn> oldest_lsn;

  bool empty() const { return postings.empty() && removals.empty() && metadata.empty(); }
  void Note(Lsn lsn) { oldest_lsn = oldest_lsn.has_value() ? std::min(*oldest_lsn, lsn) : lsn; }
  // Takes over the changes of `newer`.
  void Merge(const IndexDelta& newer) {
    postings.Merge(newer.postings);
    removed.UnionWith(newer.removed);
    for (const auto& [ordinal, lsn] : newer.removals) removals.insert_or_assign(ordinal, lsn);
    for (const auto& [ordinal, change] : newer.metadata) metadata.insert_or_assign(ordinal, change);
    if (newer.oldest_lsn.has_value()) Note(*newer.oldest_lsn);
  }
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_INDEX_DELTA_H_

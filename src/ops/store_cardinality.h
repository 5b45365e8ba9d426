// Which labels make how many series of an open store: counted from the labels of its series, one after the other.
// (ops/cardinality.h counts a store that is closed, from its rows.)
#ifndef CHRONOLITH_OPS_STORE_CARDINALITY_H_
#define CHRONOLITH_OPS_STORE_CARDINALITY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "ops/cardinality.h"

namespace chronolith::ops {

struct StoreCardinalityOptions {
  std::size_t top = 10;
  // Different pairs of a name and a value in memory together, 35 to 100 bytes each. Where there are more, the series are gone over
  // once for each part of them.
  std::size_t pairs_at_once = 900'000;
  std::size_t names_max = 100'000;  // further names are not counted
  Deadline deadline = kNoDeadline;
  const std::atomic<bool>* cancelled = nullptr;  // kCancelled once it is set
};

struct LabelBytes {
  std::string name;
  std::uint64_t bytes = 0;
};

struct StoreCardinality {
  std::uint64_t series = 0;
  std::uint64_t label_names = 0;
  std::uint64_t label_pairs = 0;  // (name, value)
  // The largest first, equal ones by name and value; of pairs that have equally many at the end of a list, any.
  std::vector<PairCount> metrics;  // the values of __name__
  std::vector<PairCount> pairs;
  std::vector<NameCount> names_by_values;
  std::vector<LabelBytes> names_by_bytes;  // of all its different values
  // What is in memory of shards that serve: chunks, and the times of their first and last sample (kMaxTimestamp, kMinTimestamp:
  // none).
  std::uint64_t head_chunks = 0;
  Timestamp head_min_time = kMaxTimestamp;
  Timestamp head_max_time = kMinTimestamp;
  bool partial = false;  // damaged shards, or such as are still being replayed, were left out
  bool complete = true;  // false: the deadline or names_max left some out
};

// Exact, but where it says otherwise; of what is written meanwhile some may be counted. About 0.5 us a series of nine labels, 5 us
// where each has two labels of its own. kUnavailable: the store's log failed, and so did Storage::Reopen.
Result<StoreCardinality> CountStoreCardinality(Storage* storage, const StoreCardinalityOptions& options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_STORE_CARDINALITY_H_

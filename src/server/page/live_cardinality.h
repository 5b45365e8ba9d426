// LiveCardinality: which metrics make the most series of an open store, and which labels have the most values.
#ifndef CHRONOLITH_SERVER_PAGE_LIVE_CARDINALITY_H_
#define CHRONOLITH_SERVER_PAGE_LIVE_CARDINALITY_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "chronolith/storage.h"

namespace chronolith::server {

struct CardinalityTop {
  struct Entry {
    std::string name;
    std::uint64_t count = 0;
  };
  std::vector<Entry> metrics;  // series of each, the most first
  std::vector<Entry> labels;   // values of each, the most first
  std::uint64_t metrics_counted = 0;
  bool truncated = false;  // by the bounds below: there are more names than were counted
};

// Counting reads postings, not series. At most names_max metrics and labels are looked at, for `budget` at most; one count's ids
// are in memory at a time, 8 bytes each. What was counted is given out for max_age before it is counted anew.
struct LiveCardinalityOptions {
  std::size_t top = 10;
  std::uint64_t names_max = 10'000;
  std::chrono::milliseconds budget{2000};
  std::chrono::seconds max_age{60};
};

// Thread safety: safe; one count at a time, others wait for it.
class LiveCardinality {
 public:
  LiveCardinality(Storage* storage, const LiveCardinalityOptions& options) : storage_(storage), options_(options) {}

  // kDataLoss: a shard is quarantined; kResourceExhausted: one is still replayed.
  Result<CardinalityTop> Get();

 private:
  Result<CardinalityTop> Count() const;

  Storage* const storage_;
  const LiveCardinalityOptions options_;
  Mutex mu_;
  CardinalityTop counted_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point counted_at_ ABSL_GUARDED_BY(mu_);  // the epoch: never
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_LIVE_CARDINALITY_H_

// LiveCardinality: which labels make how many series of an open store, counted when somebody asks, and kept for a while.
#ifndef CHRONOLITH_SERVER_LIVE_CARDINALITY_H_
#define CHRONOLITH_SERVER_LIVE_CARDINALITY_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "chronolith/env.h"
#include "chronolith/storage.h"
#include "ops/store_cardinality.h"

namespace chronolith::server {

struct LiveCardinalityOptions {
  std::chrono::milliseconds budget{10'000};  // of one count; what it has by then is told, as incomplete
  MemoryBudget* in_flight = nullptr;         // a third of it at most is taken for a count; null: what counting takes is not counted
  std::chrono::seconds max_age{60};          // what was counted is given out for so long before it is counted anew
};

// Thread safety: safe. One count at a time; who asks meanwhile gets the one before, and where there is none, is told to come again.
class LiveCardinality {
 public:
  using Count = std::function<Result<ops::StoreCardinality>(const ops::StoreCardinalityOptions&)>;
  LiveCardinality(Count count, const LiveCardinalityOptions& options) : count_(std::move(count)), options_(options) {}
  LiveCardinality(Storage* storage, const LiveCardinalityOptions& options)
      : LiveCardinality([storage](const auto& how) { return ops::CountStoreCardinality(storage, how); }, options) {}

  // The `top` largest of each list, perhaps more. kResourceExhausted: they are being counted, or others have the memory;
  // kCancelled, kUnavailable.
  Result<std::shared_ptr<const ops::StoreCardinality>> Get(std::size_t top, const std::atomic<bool>* cancelled = nullptr);

 private:
  const Count count_;
  const LiveCardinalityOptions options_;
  Mutex mu_;
  bool counting_ ABSL_GUARDED_BY(mu_) = false;
  std::size_t top_ ABSL_GUARDED_BY(mu_) = 0;  // the largest that was asked for
  std::size_t counted_top_ ABSL_GUARDED_BY(mu_) = 0;
  std::shared_ptr<const ops::StoreCardinality> counted_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point counted_at_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_LIVE_CARDINALITY_H_

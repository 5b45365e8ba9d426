#include "server/live_cardinality.h"

#include <absl/cleanup/cleanup.h>

#include <algorithm>
#include <utility>

namespace chronolith::server {

Result<std::shared_ptr<const ops::StoreCardinality>> LiveCardinality::Get(std::size_t top) {
  ops::StoreCardinalityOptions how;
  {
    MutexLock lock(&mu_);
    const bool enough = counted_ != nullptr && counted_top_ >= top;
    if (enough && (counting_ || std::chrono::steady_clock::now() - counted_at_ < options_.max_age)) return counted_;
    if (counting_) return ResourceExhausted("the series are being counted; ask again in some seconds");
    counting_ = true;
    top_ = std::max(top_, top);
    how.top = top_;
  }
  const absl::Cleanup end = [this] {
    MutexLock lock(&mu_);
    counting_ = false;
  };
  how.deadline = std::chrono::steady_clock::now() + options_.budget;
  Result<ops::StoreCardinality> counted = count_(how);
  if (!counted.ok()) return counted.status();
  MutexLock lock(&mu_);
  counted_ = std::make_shared<const ops::StoreCardinality>(std::move(*counted));
  counted_top_ = how.top;
  counted_at_ = std::chrono::steady_clock::now();
  return counted_;
}

}  // namespace chronolith::server

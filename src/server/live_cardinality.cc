#include "server/live_cardinality.h"

#include <absl/cleanup/cleanup.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/memory_share.h"

namespace chronolith::server {
namespace {

constexpr std::uint64_t kPairBytes = 100, kNameBytes = 256;
constexpr std::uint64_t kCountBytesMax = 120 << 20;

}  // namespace

Result<std::shared_ptr<const ops::StoreCardinality>> LiveCardinality::Get(std::size_t top, const std::atomic<bool>* cancelled) {
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
  std::optional<MemoryShare> share;
  if (options_.in_flight != nullptr) {
    share.emplace(options_.in_flight);
    const std::uint64_t bytes = std::min(options_.in_flight->limit_bytes() / 3, kCountBytesMax);
    if (!share->Grow(bytes)) return share->refusal();
    how.names_max = std::min<std::size_t>(how.names_max, bytes / 4 / kNameBytes);
    how.pairs_at_once = std::min<std::size_t>(how.pairs_at_once, bytes / 4 * 3 / kPairBytes);
  }
  how.cancelled = cancelled;
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

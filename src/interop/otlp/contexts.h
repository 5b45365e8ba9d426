// What stands above the points of an OTLP request (resource, scope, metric), translated once and then found by its raw bytes.
#ifndef CHRONOLITH_INTEROP_OTLP_CONTEXTS_H_
#define CHRONOLITH_INTEROP_OTLP_CONTEXTS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/storage.h"
#include "interop/otlp/attributes.h"
#include "interop/otlp/identity_cache.h"
#include "interop/otlp/names.h"

namespace chronolith::interop::otlp {

struct ResourceContext {
  std::uint64_t id = 0;
  std::string refusal;  // not empty: why no point of it is taken
  Pairs labels;         // job, instance
  std::optional<Labels> target_info;
};

struct ScopeContext {
  std::uint64_t id = 0;
  std::string refusal;
  Pairs labels;  // of the resource, and otel_scope_*
};

// Bytes as the request has them.
struct MetricHeader {
  std::string_view name, description, unit;
  MetricKind kind = MetricKind::kGauge;
};

struct MetricContext {
  std::uint64_t id = 0;
  std::string refusal;
  std::string name;  // Prometheus'
  Pairs labels;      // of the scope
  Metadata metadata;
};

// What identifies a number point, a histogram or a summary -> its series: one, or those of its buckets or quantiles, then count and
// sum.
using SeriesRefs = std::shared_ptr<const std::vector<SeriesRef>>;

// Thread safety: all methods may be called concurrently.
class Contexts {
 public:
  explicit Contexts(std::size_t cache_bytes);

  // kInvalidArgument: malformed bytes; anything else that is wrong is in `refusal`.
  Result<std::shared_ptr<const ResourceContext>> Resource(std::string_view bytes);
  // `schema_url` is that of the ScopeMetrics.
  Result<std::shared_ptr<const ScopeContext>> Scope(const ResourceContext& resource, std::string_view bytes,
                                                    std::string_view schema_url);
  Result<std::shared_ptr<const MetricContext>> Metric(const ScopeContext& scope, const MetricHeader& header);

  IdentityCache<SeriesRef>& series() { return series_; }
  IdentityCache<SeriesRefs>& groups() { return groups_; }

  void Clear();

 private:
  std::uint64_t NewId() { return next_id_.fetch_add(1, std::memory_order_relaxed); }

  std::atomic<std::uint64_t> next_id_{1};
  IdentityCache<std::shared_ptr<const ResourceContext>> resources_;
  IdentityCache<std::shared_ptr<const ScopeContext>> scopes_;
  IdentityCache<std::shared_ptr<const MetricContext>> metrics_;
  IdentityCache<SeriesRef> series_;
  IdentityCache<SeriesRefs> groups_;
};

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_CONTEXTS_H_

#include "server/page/refused_items.h"

#include <prometheus/metric_family.h>

#include <algorithm>

namespace chronolith::server {

std::uint64_t RefusedItems(const prometheus::Collectable& registry) {
  double refused = 0;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    const bool otlp = family.name == "chronolith_otlp_points_total";
    if (!otlp && family.name != "chronolith_remote_write_refused_total") continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      const bool written = std::any_of(metric.label.begin(), metric.label.end(),
                                       [](const auto& label) { return label.name == "result" && label.value == "written"; });
      if (!written) refused += metric.counter.value;
    }
  }
  return static_cast<std::uint64_t>(refused);
}

}  // namespace chronolith::server

#include "server/page/live_cardinality.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace chronolith::server {
namespace {

void KeepTop(std::vector<CardinalityTop::Entry>* entries, std::size_t top) {
  std::sort(entries->begin(), entries->end(),
            [](const auto& a, const auto& b) { return std::tuple(b.count, a.name) < std::tuple(a.count, b.name); });
  if (entries->size() > top) entries->resize(top);
}

}  // namespace

Result<CardinalityTop> LiveCardinality::Get() {
  MutexLock lock(&mu_);
  const auto now = std::chrono::steady_clock::now();
  if (counted_at_ != std::chrono::steady_clock::time_point() && now - counted_at_ < options_.max_age) return counted_;
  Result<CardinalityTop> top = Count();
  if (!top.ok()) return top;
  counted_ = *top;
  counted_at_ = std::chrono::steady_clock::now();
  return counted_;
}

Result<CardinalityTop> LiveCardinality::Count() const {
  // SeriesIds waits for shards that are being replayed: not here.
  const Deadline deadline = std::chrono::steady_clock::now() + options_.budget;
  if (Status s = storage_->WaitReady(deadline); !s.ok()) return s;
  const LookupOptions lookup{.limit = options_.names_max, .deadline = deadline};
  CardinalityTop top;
  auto metrics = storage_->LabelValues("__name__", {}, lookup);
  if (!metrics.ok()) return metrics.status();
  auto labels = storage_->LabelNames({}, lookup);
  if (!labels.ok()) return labels.status();
  top.truncated = metrics->truncated || labels->truncated;
  const auto late = [&] {
    if (std::chrono::steady_clock::now() < deadline) return false;
    return top.truncated = true;
  };
  for (std::string& name : labels->values) {
    if (late()) break;
    auto values = storage_->LabelValues(name, {}, lookup);
    if (!values.ok()) return values.status();
    top.truncated |= values->truncated;
    top.labels.push_back({std::move(name), values->values.size()});
  }
  for (std::string& name : metrics->values) {
    if (late()) break;
    auto ids = storage_->SeriesIds({{.type = Matcher::Type::kEqual, .name = "__name__", .value = name}});
    if (!ids.ok()) return ids.status();
    ++top.metrics_counted;
    top.metrics.push_back({std::move(name), ids->size()});
  }
  KeepTop(&top.metrics, options_.top);
  KeepTop(&top.labels, options_.top);
  return top;
}

}  // namespace chronolith::server

#include "ops/metric_metadata.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kMetadataAtOnce = 256;  // of one series at most 16 KiB
constexpr std::size_t kMetricBytes = 256;     // in both maps

using SeriesByMetric = std::map<std::string, std::vector<SeriesRef>, std::less<>>;

Status Gather(StorageImpl* storage, const MetricMetadataOptions& options, SeriesByMetric* series, MetricMetadata* found) {
  const std::size_t looked_at = options.metric.empty() ? options.series_looked_at : std::numeric_limits<std::size_t>::max();
  StepTaker taker(options.bounds);
  const Result<bool> all = storage->VisitLabels(options.deadline, options.bounds.cancelled, [&](auto refs, auto labels) {
    for (std::size_t i = 0; i < refs.size() && taker.ok(); ++i) {
      const std::string_view metric = labels[i].Get(kMetricName);
      if (metric.empty() || (!options.metric.empty() && metric != options.metric)) continue;
      auto it = series->find(metric);
      if (it == series->end()) {
        if (series->size() >= options.metrics_max) {
          found->complete = false;
          continue;
        }
        if (!taker.Take(kMetricBytes + metric.size())) return;
        it = series->emplace(metric, std::vector<SeriesRef>()).first;
      }
      if (it->second.size() < looked_at && taker.Take(2 * sizeof(SeriesRef))) it->second.push_back(refs[i]);
    }
  });
  if (!taker.ok()) return taker.status();
  if (all.ok()) {
    found->partial = !*all;
  } else if (all.status().code() == StatusCode::kDeadlineExceeded) {
    found->complete = false;
  } else {
    return all.status();
  }
  return Status::Ok();
}

// Reads what is kept of the series, a metric at a time.
class Reading {
 public:
  Reading(StorageImpl* storage, const MetricMetadataOptions& options)
      : storage_(storage), options_(options), taker_(options.bounds) {}

  // Adds those that differ to *of_metric, as many as there may be.
  Status Add(std::span<const SeriesRef> refs, std::vector<Metadata>* of_metric) {
    for (std::size_t begin = 0; begin < refs.size() && !stopped_ && !Full(*of_metric); begin += kMetadataAtOnce) {
      const auto some = refs.subspan(begin, std::min(kMetadataAtOnce, refs.size() - begin));
      if (Status s = options_.bounds.Check(); !s.ok()) return s;
      if (Status s = storage_->MetadataOf(some, &read_); !s.ok()) return s;
      for (std::optional<Metadata>& one : read_) {
        if (!one || std::find(of_metric->begin(), of_metric->end(), *one) != of_metric->end()) continue;
        const std::uint64_t bytes = one->help.size() + one->unit.size();
        if (!taker_.Take(bytes + 2 * sizeof(Metadata))) return taker_.status();
        bytes_ += bytes;
        stopped_ = bytes_ > options_.bytes_max;
        if (stopped_ || Full(*of_metric)) break;
        of_metric->push_back(std::move(*one));
      }
      stopped_ |= options_.deadline != kNoDeadline && std::chrono::steady_clock::now() >= options_.deadline;
    }
    return Status::Ok();
  }
  bool stopped() const { return stopped_; }  // by its bounds

 private:
  bool Full(const std::vector<Metadata>& of_metric) const {
    return options_.limit_per_metric != 0 && of_metric.size() >= options_.limit_per_metric;
  }

  StorageImpl* const storage_;
  const MetricMetadataOptions& options_;
  std::vector<std::optional<Metadata>> read_;
  StepTaker taker_;
  std::uint64_t bytes_ = 0;
  bool stopped_ = false;
};

}  // namespace

Result<MetricMetadata> CollectMetricMetadata(Storage* storage, const MetricMetadataOptions& options) {
  // What reads metadata waits for replay: not here.
  StorageImpl* const store = StorageImpl::Of(storage);
  if (Status s = store->WaitReady(options.deadline, options.bounds.cancelled); !s.ok()) return s;
  MetricMetadata found;
  SeriesByMetric series;
  if (Status s = Gather(store, options, &series, &found); !s.ok()) return s;
  Reading reading(store, options);
  for (const auto& [metric, refs] : series) {
    std::vector<Metadata> of_metric;
    if (Status s = reading.Add(refs, &of_metric); !s.ok()) return s;
    if (of_metric.empty()) continue;
    if (options.limit != 0 && found.metrics.size() >= options.limit) {
      found.limited = true;
      break;
    }
    found.metrics.emplace(metric, std::move(of_metric));
  }
  found.complete &= !reading.stopped();
  return found;
}

}  // namespace chronolith::ops

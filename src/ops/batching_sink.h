// A sink that collects what it is given, series by series, until it is flushed: for targets that write text.
#ifndef CHRONOLITH_OPS_BATCHING_SINK_H_
#define CHRONOLITH_OPS_BATCHING_SINK_H_

#include <absl/container/flat_hash_map.h>

#include <span>
#include <vector>

#include "ops/record_sink.h"

namespace chronolith::ops {

// Thread safety: one thread at a time.
class BatchingSink : public RecordSink {
 public:
  Status OnSeries(const RecordPlace& place, std::span<const SeriesEntry> series) override;
  void OnForgetSeries() override { labels_.clear(); }
  Status OnSamples(const RecordPlace& place, std::span<const SampleEntry> samples) override;
  Status OnHistograms(const RecordPlace& place, std::span<const HistogramEntry> histograms) override;
  Status OnExemplars(const RecordPlace& place, std::span<const ExemplarEntry> exemplars) override;
  Status OnMetadata(const RecordPlace& place, std::span<const MetadataEntry> metadata) override;
  Status Flush(Delivered* delivered) override;

 protected:
  // In the order of the log: the items of a series as they came, an entry of its own where it changes between floats and
  // histograms, or gets other metadata, so that the later of two with one time stands behind the earlier.
  virtual Status Deliver(std::span<const TimeSeries> batch, Delivered* delivered) = 0;

 private:
  TimeSeries* Entry(Ordinal ordinal);
  TimeSeries* NewEntry(Ordinal ordinal);

  absl::flat_hash_map<Ordinal, Labels> labels_;
  std::vector<TimeSeries> batch_;
  absl::flat_hash_map<Ordinal, std::size_t> index_;  // of the last entry of a series
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_BATCHING_SINK_H_

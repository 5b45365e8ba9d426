#include "ops/batching_sink.h"

#include <cstdlib>

namespace chronolith::ops {

Status BatchingSink::OnSeries(const RecordPlace&, std::span<const SeriesEntry> series) {
  for (const SeriesEntry& s : series) labels_.insert_or_assign(s.ordinal, *s.labels);
  return Status::Ok();
}

TimeSeries* BatchingSink::NewEntry(Ordinal ordinal) {
  const auto labels = labels_.find(ordinal);
  if (labels == labels_.end()) std::abort();  // OnSeries comes first
  index_.insert_or_assign(ordinal, batch_.size());
  batch_.push_back({.labels = labels->second});
  return &batch_.back();
}

TimeSeries* BatchingSink::Entry(Ordinal ordinal) {
  const auto at = index_.find(ordinal);
  return at == index_.end() ? NewEntry(ordinal) : &batch_[at->second];
}

Status BatchingSink::OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) {
  for (const SampleEntry& s : samples) {
    TimeSeries* entry = Entry(s.ordinal);
    if (!entry->histograms.empty()) entry = NewEntry(s.ordinal);
    entry->samples.push_back({s.timestamp, s.value});
  }
  return Status::Ok();
}

Status BatchingSink::OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) {
  for (const HistogramEntry& h : histograms) {
    TimeSeries* entry = Entry(h.ordinal);
    if (!entry->samples.empty()) entry = NewEntry(h.ordinal);
    entry->histograms.push_back(*h.sample);
  }
  return Status::Ok();
}

Status BatchingSink::OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) {
  for (const ExemplarEntry& e : exemplars) Entry(e.ordinal)->exemplars.push_back(*e.exemplar);
  return Status::Ok();
}

Status BatchingSink::OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) {
  for (const MetadataEntry& m : metadata) {
    TimeSeries* entry = Entry(m.ordinal);
    if (!entry->metadata.empty()) entry = NewEntry(m.ordinal);
    entry->metadata.push_back(*m.metadata);
  }
  return Status::Ok();
}

Status BatchingSink::Flush(Delivered* delivered) {
  if (batch_.empty()) return Status::Ok();
  if (Status s = Deliver(batch_, delivered); !s.ok()) return s;
  batch_.clear();
  index_.clear();
  return Status::Ok();
}

}  // namespace chronolith::ops

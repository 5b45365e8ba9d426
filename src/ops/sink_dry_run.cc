#include "ops/sink_dry_run.h"

#include <algorithm>
#include <utility>

#include "base/ordinal_set.h"

namespace chronolith::ops {
namespace {

class CountingSink final : public RecordSink {
 public:
  explicit CountingSink(Foreseen* foreseen) : foreseen_(foreseen) {}
  ~CountingSink() override { foreseen_->series = series_.size(); }

  Status OnSeries(const RecordPlace&, std::span<const SeriesEntry>) override { return Status::Ok(); }
  void OnForgetSeries() override {}
  Status OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) override {
    for (const SampleEntry& sample : samples) Note(sample.ordinal, sample.timestamp);
    return Count(samples.size(), &Foreseen::samples);
  }
  Status OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) override {
    for (const HistogramEntry& entry : histograms) Note(entry.ordinal, entry.sample->timestamp);
    return Count(histograms.size(), &Foreseen::histograms);
  }
  Status OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) override {
    for (const ExemplarEntry& entry : exemplars) Note(entry.ordinal, entry.exemplar->timestamp);
    return Count(exemplars.size(), &Foreseen::exemplars);
  }
  Status OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) override {
    for (const MetadataEntry& entry : metadata) series_.Add(entry.ordinal);
    return Count(metadata.size(), &Foreseen::metadata);
  }
  // A record comes in pieces.
  Status OnDelete(const RecordPlace& place, TimeRange, std::span<const SeriesEntry>) override {
    const bool same = std::exchange(last_delete_, place.lsn) == place.lsn;
    return Count(same ? 0 : 1, &Foreseen::deletes);
  }
  Status Flush(Delivered* delivered) override {
    delivered->sent += std::exchange(unflushed_, 0);
    return Status::Ok();
  }

 private:
  void Note(Ordinal ordinal, Timestamp t) {
    series_.Add(ordinal);
    foreseen_->first = std::min(foreseen_->first, t);
    foreseen_->last = std::max(foreseen_->last, t);
  }
  Status Count(std::uint64_t n, std::uint64_t Foreseen::*field) {
    foreseen_->*field += n;
    unflushed_ += n;
    return Status::Ok();
  }

  Foreseen* const foreseen_;
  OrdinalSet series_;
  Lsn last_delete_ = 0;
  std::uint64_t unflushed_ = 0;
};

class DryRunTarget final : public RecordTarget {
 public:
  DryRunTarget(std::unique_ptr<RecordTarget> target, std::map<ShardId, Foreseen>* foreseen)
      : target_(std::move(target)), foreseen_(foreseen) {}
  std::string name() const override { return target_->name(); }
  bool needs_labels() const override { return target_->needs_labels(); }
  bool applies_deletes() const override { return target_->applies_deletes(); }
  Status Open(std::string_view) override { return Status::Ok(); }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId shard) override {
    return std::unique_ptr<RecordSink>(std::make_unique<CountingSink>(&(*foreseen_)[shard]));
  }
  Status Sync(std::string*) override { return Status::Ok(); }
  Status Close() override { return Status::Ok(); }

 private:
  const std::unique_ptr<RecordTarget> target_;
  std::map<ShardId, Foreseen>* const foreseen_;
};

}  // namespace

std::unique_ptr<RecordTarget> NewDryRunTarget(std::unique_ptr<RecordTarget> target, std::map<ShardId, Foreseen>* foreseen) {
  return std::make_unique<DryRunTarget>(std::move(target), foreseen);
}

}  // namespace chronolith::ops

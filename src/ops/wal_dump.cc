#include "ops/wal_dump.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <utility>

namespace chronolith::ops {
namespace {

class Dump : public RecordReceiver {
 public:
  Dump(ShardId shard, const DumpOptions& options, LogLabels* labels, DumpReport* report,
       const std::function<Status(const DumpedRecord&, const LabelsIn&)>& take)
      : shard_(shard), options_(options), labels_(labels), report_(report), take_(take) {}

  Status OnRecord(const ScannedRecord& record) override {
    if (options_.limit > 0 && report_->records == options_.limit) {
      report_->limited = true;
      return Cancelled("the limit is reached");
    }
    ++report_->records;
    known_.clear();
    if (options_.labels) {
      if (Status s = LookUp(record); !s.ok()) return s;
    }
    return take_({.record = &record, .shard = shard_}, [this](Ordinal ordinal) -> const Labels* {
      const auto at = known_.find(ordinal);
      return at == known_.end() ? nullptr : &at->second;
    });
  }
  // Series that a record names, whose labels are not known, and that were not removed since.
  std::uint64_t unnamed() const { return unnamed_.size(); }

  Status OnLoss(const WalLoss& loss) override {
    report_->problems.push_back("shard " + std::to_string(shard_) + ": " + loss.why.message());
    return take_({.loss = &loss, .shard = shard_}, [](Ordinal) -> const Labels* { return nullptr; });
  }

 private:
  Status LookUp(const ScannedRecord& record) {
    ordinals_.assign(record.ordinals.begin(), record.ordinals.end());
    const auto add = [this](const auto& entries) {
      for (const auto& entry : entries) ordinals_.push_back(entry.ordinal);
    };
    add(record.samples);
    add(record.histograms);
    add(record.exemplars);
    add(record.metadata);
    std::sort(ordinals_.begin(), ordinals_.end());
    ordinals_.erase(std::unique(ordinals_.begin(), ordinals_.end()), ordinals_.end());
    const Status s = labels_->LookUp(ordinals_, [this](Ordinal ordinal, const Labels& labels) {
      if (std::binary_search(ordinals_.begin(), ordinals_.end(), ordinal)) known_.insert_or_assign(ordinal, labels);
    });
    for (const Ordinal ordinal : ordinals_) {
      if (!known_.contains(ordinal) && !labels_->Removed(ordinal)) unnamed_.Add(ordinal);
    }
    return s;
  }

  const ShardId shard_;
  const DumpOptions& options_;
  LogLabels* const labels_;
  DumpReport* const report_;
  const std::function<Status(const DumpedRecord&, const LabelsIn&)>& take_;
  std::vector<Ordinal> ordinals_;
  absl::flat_hash_map<Ordinal, Labels> known_;
  OrdinalSet unnamed_;
};

// Calls `see` with the time of each item that has one.
template <typename See>
void EachTime(const ScannedRecord& record, const See& see) {
  for (const SampleEntry& s : record.samples) see(s.timestamp);
  for (const HistogramEntry& h : record.histograms) see(h.sample->timestamp);
  for (const ExemplarEntry& e : record.exemplars) see(e.exemplar->timestamp);
}

}  // namespace

Timestamp DumpedRecord::min_time() const {
  Timestamp min = kMaxTimestamp;
  if (record != nullptr) EachTime(*record, [&](Timestamp t) { min = std::min(min, t); });
  return min;
}

Timestamp DumpedRecord::max_time() const {
  Timestamp max = kMinTimestamp;
  if (record != nullptr) EachTime(*record, [&](Timestamp t) { max = std::max(max, t); });
  return max;
}

std::string_view NameOf(RecordType type) {
  switch (type) {
    case RecordType::kEpoch:
      return "epoch";
    case RecordType::kSeries:
      return "series";
    case RecordType::kSamples:
      return "samples";
    case RecordType::kItems:
      return "items";
    case RecordType::kDelete:
      return "delete";
    case RecordType::kFloor:
      return "floor";
    case RecordType::kRemoveSeries:
      return "remove-series";
  }
  return "unknown";
}

Result<DumpReport> DumpLog(const OfflineStore& store, const DumpOptions& options, const OpsContext& context,
                           const std::function<Status(const DumpedRecord&, const LabelsIn&)>& take) {
  if (Status s = options.selection.Check(store.shards()); !s.ok()) return s;
  DumpReport report;
  if (std::string problem = WithoutData(store); !problem.empty()) report.problems.push_back(std::move(problem));
  std::uint64_t records = 0;
  const std::vector<ShardId> shards = options.selection.ShardsOf(store.shards());
  for (const ShardId shard : shards) records += LogRecordsOf(store, shard);
  context.Begin("reading the log", records, "records");
  for (const ShardId shard : shards) {
    LogLabels labels(store, shard);
    if (Status s = labels.Open(); !s.ok()) return s;
    Dump dump(shard, options, &labels, &report, take);
    ScanTotals totals;
    const Status s = ScanLog(store, shard, options.selection, &labels, context, &dump, &totals);
    if (dump.unnamed() > 0) {
      report.problems.push_back("shard " + std::to_string(shard) + ": of " + std::to_string(dump.unnamed()) +
                                " series that its records name the labels are not known");
    }
    if (report.limited) return report;
    if (s.code() == StatusCode::kDataLoss) {
      report.problems.push_back("shard " + std::to_string(shard) + ": " + s.message());
    } else if (!s.ok()) {
      return s.WithContext("shard " + std::to_string(shard));
    }
    if (store.unfinished().Contains(shard))
      report.problems.push_back("shard " + std::to_string(shard) + ": " + std::string(kLogGivenUp));
    if (totals.unlabelled > 0) {
      report.problems.push_back("shard " + std::to_string(shard) + ": " + std::to_string(totals.unlabelled) +
                                " items are of series whose labels are lost: nobody can tell whether they match");
    }
  }
  return report;
}

}  // namespace chronolith::ops

#include "ops/wal_scan.h"

#include <algorithm>
#include <utility>

#include "base/ordinal_set.h"
#include "index/compiled_matcher.h"
#include "storage/items.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

using Selector = std::vector<CompiledMatcher>;

Status CompileSelectors(const std::vector<std::vector<Matcher>>& selectors, std::vector<Selector>* compiled) {
  for (const auto& matchers : selectors) {
    if (Status s = CompiledMatcher::CompileAll(matchers, &compiled->emplace_back()); !s.ok()) return s;
  }
  return Status::Ok();
}

// Which series the selectors match; each is asked once.
class SeriesFilter {
 public:
  SeriesFilter(LogLabels* labels, std::vector<Selector> selectors) : labels_(labels), selectors_(std::move(selectors)) {}

  bool active() const { return !selectors_.empty(); }
  bool Matches(Ordinal ordinal) const { return matching_.Contains(ordinal); }
  bool Unlabelled(Ordinal ordinal) const { return unlabelled_.Contains(ordinal); }

  void Decide(Ordinal ordinal, const Labels& labels) {
    decided_.Add(ordinal);
    const bool matches = std::any_of(selectors_.begin(), selectors_.end(), [&](const Selector& selector) {
      return std::all_of(selector.begin(), selector.end(),
                         [&](const CompiledMatcher& m) { return m.Matches(labels.Get(m.name())); });
    });
    if (matches) matching_.Add(ordinal);
  }
  // Of entries with a member `ordinal`, or of ordinals.
  template <typename Entries>
  Status Decide(const Entries& entries) {
    ask_.clear();
    for (const auto& entry : entries) {
      if (!decided_.Contains(OrdinalIn(entry))) ask_.push_back(OrdinalIn(entry));
    }
    if (ask_.empty()) return Status::Ok();
    std::sort(ask_.begin(), ask_.end());
    ask_.erase(std::unique(ask_.begin(), ask_.end()), ask_.end());
    if (Status s = labels_->LookUp(ask_, [this](Ordinal o, const Labels& labels) { Decide(o, labels); }); !s.ok()) return s;
    for (const Ordinal ordinal : ask_) {
      if (decided_.Contains(ordinal)) continue;
      decided_.Add(ordinal);
      unlabelled_.Add(ordinal);
    }
    return Status::Ok();
  }

 private:
  static Ordinal OrdinalIn(Ordinal ordinal) { return ordinal; }
  template <typename Entry>
  static Ordinal OrdinalIn(const Entry& entry) {
    return entry.ordinal;
  }

  LogLabels* const labels_;
  const std::vector<Selector> selectors_;
  OrdinalSet decided_;
  OrdinalSet matching_;
  OrdinalSet unlabelled_;
  std::vector<Ordinal> ask_;
};

class Scan : public WalVisitor {
 public:
  Scan(ShardId shard, const LogSelection& selection, LogLabels* labels, SeriesFilter filter, const OpsContext& context,
       RecordReceiver* receiver, ScanTotals* totals)
      : selection_(selection),
        from_(Bound(selection.from, shard, 0)),
        to_(Bound(selection.to, shard, ~Lsn{0})),
        all_times_(selection.samples == TimeRange{}),
        labels_(labels),
        filter_(std::move(filter)),
        context_(context),
        receiver_(receiver),
        totals_(totals) {}

  // Not ok: why the reading was ended, if it was not the log's fault.
  const Status& failure() const { return failure_; }
  bool past_end() const { return past_end_; }

  Status OnRow(ShardId, const WalRowHeader& row, std::string_view value) override {
    past_end_ = row.first_lsn > to_;
    if (past_end_) return Cancelled("all that is selected has been read");
    const Lsn last = row.first_lsn + row.records - 1;
    row_selected_ = last >= from_ && selection_.written.Contains(row.write_time_ms);
    if (row_selected_) {
      ++totals_->rows;
      totals_->bytes += value.size();
    }
    context_.Add(row.records);
    return Status::Ok();
  }

  Status OnRecord(ShardId shard, Lsn lsn, const WalRowHeader& row, const RecordView& view) override {
    if (view.type == RecordType::kSeries) {
      if (Status s = DecodeSeries(view.body, &series_); !s.ok()) return s;
      if (!series_.empty()) labels_->Note(row.first_lsn, series_[0].ordinal);
    }
    if (!row_selected_ || lsn < from_ || lsn > to_) return Status::Ok();
    if (totals_->first_lsn == 0) totals_->first_lsn = lsn;
    totals_->last_lsn = lsn;
    ScannedRecord record;
    record.place = {shard, lsn, row.epoch, row.group, row.write_time_ms};
    record.type = view.type;
    record.bytes = view.body.size() + kRecordHeaderBytes;
    Result<bool> wanted = Decode(view, &record);
    if (!wanted.ok()) return wanted.status();
    if (!failure_.ok()) return Cancelled("the labels cannot be read");
    if (!*wanted) return Status::Ok();
    Count(record);
    failure_ = receiver_->OnRecord(record);
    return failure_.ok() ? failure_ : Cancelled("the receiver has ended it");
  }

  Status OnLoss(ShardId, const WalLoss& loss) override {
    if (loss.last != 0 && (loss.last < from_ || loss.first > to_)) return Status::Ok();
    failure_ = receiver_->OnLoss(loss);
    return failure_.ok() ? failure_ : Cancelled("the receiver has ended it");
  }

  void OnProgress(ShardId, const WalEnd& end) override {
    if (failure_.ok()) failure_ = receiver_->OnRowEnd(std::min(end.last_lsn, to_));
  }

 private:
  static Lsn Bound(const std::map<ShardId, Lsn>& bounds, ShardId shard, Lsn otherwise) {
    const auto bound = bounds.find(shard);
    return bound == bounds.end() ? otherwise : bound->second;
  }

  void Count(const ScannedRecord& record) {
    ++totals_->records;
    totals_->series += record.series.size();
    totals_->samples += record.samples.size();
    totals_->histograms += record.histograms.size();
    totals_->exemplars += record.exemplars.size();
    totals_->metadata += record.metadata.size();
    totals_->deletes += record.type == RecordType::kDelete ? 1 : 0;
    totals_->removed += record.type == RecordType::kRemoveSeries ? record.ordinals.size() : 0;
  }

  // Whether anything of it is selected. An error is of the record's bytes.
  Result<bool> Decode(const RecordView& view, ScannedRecord* record) {
    switch (view.type) {
      case RecordType::kSeries:
        return DecodeNewSeries(record);
      case RecordType::kSamples:
        if (Status s = DecodeSamples(view.body, &samples_); !s.ok()) return s;
        if (filter_.active()) failure_ = filter_.Decide(samples_);
        KeepSelected(&samples_, [](const SampleEntry& s) { return s.timestamp; });
        record->samples = samples_;
        return !samples_.empty();
      case RecordType::kItems:
        return DecodeAllItems(view, record);
      case RecordType::kDelete:
        return DecodeDeleted(view, record);
      case RecordType::kRemoveSeries:
        if (Status s = DecodeRemoveSeries(view.body, &ordinals_); !s.ok()) return s;
        return KeepOrdinals(record);
      case RecordType::kFloor:
        if (Status s = DecodeFloor(view.body, &record->floor); !s.ok()) return s;
        return !filter_.active();
      case RecordType::kEpoch:
        if (Status s = DecodeEpoch(view.body, &record->epoch); !s.ok()) return s;
        return !filter_.active();
    }
    return DataLoss("unknown record type");
  }

  Result<bool> DecodeNewSeries(ScannedRecord* record) {
    if (filter_.active()) {
      for (const SeriesRecordEntry& entry : series_) {
        filter_.Decide(entry.ordinal, Labels::FromEncoded(std::string(entry.labels)));
      }
      std::erase_if(series_, [this](const SeriesRecordEntry& entry) { return !filter_.Matches(entry.ordinal); });
    }
    record->series = series_;
    return !series_.empty();
  }

  Result<bool> DecodeDeleted(const RecordView& view, ScannedRecord* record) {
    DeleteRecord deleted;
    OrdinalSet set;
    if (Status s = DecodeDelete(view.body, &deleted); !s.ok()) return s;
    if (Status s = DecodeOrdinals(deleted.bitmap, &set); !s.ok()) return s;
    ordinals_ = set.ToVector();
    record->range = {std::max(deleted.range.start, selection_.samples.start), std::min(deleted.range.end, selection_.samples.end)};
    if (record->range.empty()) return false;
    return KeepOrdinals(record);
  }

  bool KeepOrdinals(ScannedRecord* record) {
    if (filter_.active()) {
      failure_ = filter_.Decide(ordinals_);
      std::erase_if(ordinals_, [this](Ordinal o) { return !filter_.Matches(o); });
    }
    record->ordinals = ordinals_;
    return !ordinals_.empty();
  }

  Result<bool> DecodeAllItems(const RecordView& view, ScannedRecord* record) {
    if (Status s = DecodeItems(view.body, &items_); !s.ok()) return s;
    if (filter_.active()) failure_ = filter_.Decide(items_);
    decoded_.resize(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (Status s = DecodeItem(items_[i].type, items_[i].bytes, &decoded_[i]); !s.ok()) return s;
    }
    histograms_.clear();
    exemplars_.clear();
    metadata_.clear();
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Ordinal ordinal = items_[i].ordinal;
      if (const auto* h = std::get_if<HistogramSample>(&decoded_[i])) {
        histograms_.push_back({ordinal, h});
      } else if (const auto* e = std::get_if<Exemplar>(&decoded_[i])) {
        exemplars_.push_back({ordinal, e});
      } else {
        metadata_.push_back({ordinal, &std::get<Metadata>(decoded_[i])});
      }
    }
    KeepSelected(&histograms_, [](const HistogramEntry& h) { return h.sample->timestamp; });
    KeepSelected(&exemplars_, [](const ExemplarEntry& e) { return e.exemplar->timestamp; });
    KeepSelected(&metadata_, [this](const MetadataEntry&) { return selection_.samples.start; });  // has no time
    record->histograms = histograms_;
    record->exemplars = exemplars_;
    record->metadata = metadata_;
    return !histograms_.empty() || !exemplars_.empty() || !metadata_.empty();
  }

  template <typename Entry, typename TimeOf>
  void KeepSelected(std::vector<Entry>* entries, const TimeOf& time_of) {
    if (all_times_ && !filter_.active()) return;
    totals_->left_out += std::erase_if(*entries, [&](const Entry& entry) {
      if (!selection_.samples.Contains(time_of(entry))) return true;
      if (!filter_.active() || filter_.Matches(entry.ordinal)) return false;
      if (filter_.Unlabelled(entry.ordinal)) {
        ++(labels_->Removed(entry.ordinal) ? totals_->removed_series : totals_->unlabelled);
      }
      return true;
    });
  }

  const LogSelection& selection_;
  const Lsn from_;
  const Lsn to_;
  const bool all_times_;
  LogLabels* const labels_;
  SeriesFilter filter_;
  const OpsContext& context_;
  RecordReceiver* const receiver_;
  ScanTotals* const totals_;
  bool row_selected_ = false;
  bool past_end_ = false;
  Status failure_;

  std::vector<SeriesRecordEntry> series_;
  std::vector<SampleEntry> samples_;
  std::vector<ItemEntry> items_;
  std::vector<Item> decoded_;
  std::vector<HistogramEntry> histograms_;
  std::vector<ExemplarEntry> exemplars_;
  std::vector<MetadataEntry> metadata_;
  std::vector<Ordinal> ordinals_;
};

}  // namespace

Status LogSelection::Check(ShardId shards_of_store) const {
  const auto check = [&](ShardId shard) {
    if (shard < shards_of_store) return Status::Ok();
    return InvalidArgument("there is no shard " + std::to_string(shard) + ": the database has " + std::to_string(shards_of_store) +
                           ", counted from 0");
  };
  for (const ShardId shard : shards) {
    if (Status s = check(shard); !s.ok()) return s;
  }
  for (const auto* bounds : {&from, &to}) {
    for (const auto& [shard, lsn] : *bounds) {
      if (Status s = check(shard); !s.ok()) return s;
    }
  }
  if (samples.start > samples.end) return InvalidArgument("the range of sample times is reversed");
  if (written.start > written.end) return InvalidArgument("the range of write times is reversed");
  std::vector<Selector> compiled;
  return CompileSelectors(selectors, &compiled);
}

std::vector<ShardId> LogSelection::ShardsOf(ShardId shards_of_store) const {
  std::vector<ShardId> chosen = shards;
  for (ShardId i = 0; shards.empty() && i < shards_of_store; ++i) chosen.push_back(i);
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

std::string LogSelection::ToString() const {
  std::string text;
  for (const ShardId shard : ShardsOf(0)) text += "shard=" + std::to_string(shard) + " ";
  for (const auto& [shard, lsn] : from) text += "from=" + std::to_string(shard) + ":" + std::to_string(lsn) + " ";
  for (const auto& [shard, lsn] : to) text += "to=" + std::to_string(shard) + ":" + std::to_string(lsn) + " ";
  const auto add_range = [&](const char* name, TimeRange range) {
    if (range == TimeRange{}) return;
    text += std::string(name) + "=" + std::to_string(range.start) + ".." + std::to_string(range.end) + " ";
  };
  add_range("samples", samples);
  add_range("written", written);
  for (const auto& matchers : selectors) {
    text += "{";
    for (const Matcher& m : matchers) text += m.ToString() + ",";
    text += "} ";
  }
  if (!text.empty()) text.pop_back();
  return text;
}

Status ScanLog(const OfflineStore& store, ShardId shard, const LogSelection& selection, LogLabels* labels,
               const OpsContext& context, RecordReceiver* receiver, ScanTotals* totals) {
  std::vector<Selector> selectors;
  if (Status s = CompileSelectors(selection.selectors, &selectors); !s.ok()) return s;
  Scan scan(shard, selection, labels, SeriesFilter(labels, std::move(selectors)), context, receiver, totals);
  WalEnd end;
  const Status s = ReadWal(store.log(), WalFamily(shard), shard, 0, context.cancelled, &scan, nullptr, &end);
  totals->trimmed_to = end.trimmed_to;
  totals->log_end = std::max(end.last_lsn, end.trimmed_to);
  if (!scan.failure().ok()) return scan.failure();
  return scan.past_end() ? Status::Ok() : s;
}

std::uint64_t LogRecordsOf(const OfflineStore& store, ShardId shard) {
  if (store.log() == nullptr) return 0;
  std::string state;
  Lsn trimmed_to = 0;
  if (!store.log()->Get(WalFamily(shard), kWalStateKey, &state).ok()) state.clear();
  if (!state.empty() && !DecodeWalState(shard, state, &trimmed_to).ok()) return 0;
  const Result<Lsn> last = LastWalRow(store.log(), WalFamily(shard), trimmed_to);
  return last.ok() ? *last - trimmed_to : 0;
}

}  // namespace chronolith::ops

#include "ops/replay_shard.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <utility>

#include "format/chunk_rows.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kTellBytes = 96;               // what a sink keeps of a series beside its labels, about
constexpr std::uint64_t kUnflushedBytesMax = 4 << 20;  // of records

// Finds the highest floor of a log.
class FloorReader : public WalVisitor {
 public:
  explicit FloorReader(Timestamp* floor) : floor_(floor) {}
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView& record) override {
    Timestamp floor = kMinTimestamp;
    if (record.type != RecordType::kFloor) return Status::Ok();
    if (Status s = DecodeFloor(record.body, &floor); !s.ok()) return s;
    *floor_ = std::max(*floor_, floor);
    return Status::Ok();
  }
  Status OnLoss(ShardId, const WalLoss&) override { return Status::Ok(); }  // the replay itself tells

 private:
  Timestamp* const floor_;
};

template <typename Entry>
Timestamp TimeOf(const Entry& entry) {
  if constexpr (requires { entry.timestamp; }) {
    return entry.timestamp;
  } else if constexpr (requires { entry.sample->timestamp; }) {
    return entry.sample->timestamp;
  } else if constexpr (requires { entry.exemplar->timestamp; }) {
    return entry.exemplar->timestamp;
  } else {
    return kMaxTimestamp;
  }
}

}  // namespace

void ReplayGate::FindFloor(const OfflineStore& store, const RecordTarget& target) {
  if (!target.applies_deletes()) return;
  for (ShardId i = 0; i < store.shards(); ++i) {
    std::string value;
    ChunkState chunks;
    if (store.data() != nullptr && store.data()->Damage(ChunkFamily(i)).ok() &&
        store.data()->Get(ChunkFamily(i), kChunkStateKey, &value).ok() && DecodeChunkState(kChunkStateKey, value, &chunks).ok()) {
      floor_ = std::max(floor_, chunks.floor);
    }
    FloorReader reader(&floor_);
    WalEnd end;
    // What cannot be read, and an interruption, the replay itself tells.
    (void)ReadWal(store.log(), WalFamily(i), i, 0, context_.cancelled, &reader, nullptr, &end);
  }
}

ShardReplayer::ShardReplayer(const OfflineStore& store, const RecordTarget& target, const ReplayOptions& options,
                             const OpsContext& context, std::unique_ptr<RecordSink> sink, ReplayGate* gate, CursorKeeper* keeper,
                             std::uint64_t label_bytes, ShardReplay* report)
    : store_(store),
      needs_labels_(target.needs_labels()),
      applies_deletes_(target.applies_deletes()),
      pass_damage_(options.pass_damage),
      selection_(options.selection),
      context_(context),
      sink_(std::move(sink)),
      gate_(gate),
      keeper_(keeper),
      label_bytes_max_(label_bytes),
      report_(report),
      labels_(store, report->shard) {}

void ShardReplayer::Run() {
  flushed_at_ = std::chrono::steady_clock::now();
  if (const auto after = keeper_->After(report_->shard); after.has_value()) {
    report_->resumed_after = report_->delivered_lsn = passed_ = *after;
    Lsn& from = selection_.from[report_->shard];
    from = std::max(from, *after + 1);
  }
  Status s = labels_.Open();
  if (s.ok()) s = ScanLog(store_, report_->shard, selection_, &labels_, context_, this, &report_->read);
  // What came before the end is with the sink, and is delivered also where the log ends in damage.
  if (target_failure_.ok()) (void)Flush();
  sink_.reset();
  if (!target_failure_.ok()) {
    report_->failure = target_failure_;
  } else if (s.code() == StatusCode::kCancelled) {
    report_->failure = s;
  } else if (!s.ok()) {
    report_->problems.push_back(s.message());
  }
  if (s.ok() && report_->read.log_end < report_->resumed_after) {
    report_->problems.push_back("the cursor stands at LSN " + std::to_string(report_->resumed_after) + ", but the log ends at " +
                                std::to_string(report_->read.log_end) + ": it has lost its end");
  }
  if (store_.unfinished().Contains(report_->shard)) {
    report_->problems.emplace_back(kLogGivenUp);
  }
  if (const std::uint64_t n = report_->read.unlabelled; n > 0) {
    report_->problems.push_back(std::to_string(n) +
                                " items are of series whose labels are lost: nobody can tell whether they match");
  }
}

Status ShardReplayer::OnLoss(const WalLoss& loss) {
  if (pass_damage_) {
    report_->problems.push_back(loss.why.message());
    return Status::Ok();
  }
  return DataLoss(loss.why.message() + "; what lies behind it was left out (--skip-damaged goes on)");
}

Status ShardReplayer::OnRowEnd(Lsn last) {
  passed_ = last;
  return unflushed_ > 0 && keeper_->Due(flushed_at_) ? Flush() : Status::Ok();
}

Status ShardReplayer::OnRecord(const ScannedRecord& record) {
  passed_ = record.place.lsn - 1;
  if (Status s = MakeRoom(); !s.ok()) return s;
  if (Status s = Send(record); !s.ok()) return s;
  passed_ = record.place.lsn;
  unflushed_bytes_ += record.bytes;
  const bool full = unflushed_ >= RecordSink::kBatchItems / 2 || unflushed_bytes_ >= kUnflushedBytesMax;
  return full || (unflushed_ > 0 && keeper_->Due(flushed_at_)) ? Flush() : Status::Ok();
}

Status ShardReplayer::Target(Status status) {
  if (!status.ok()) target_failure_ = status;
  return status;
}

Status ShardReplayer::Send(const ScannedRecord& record) {
  if (needs_labels_ && !record.series.empty()) {
    if (Status s = TellNew(record); !s.ok()) return s;
  }
  if (record.type == RecordType::kDelete) return SendDelete(record);
  const std::size_t items = record.samples.size() + record.histograms.size() + record.exemplars.size() + record.metadata.size();
  if (items == 0) return Status::Ok();
  if (Status s = Target(gate_->Pass(items)); !s.ok()) return s;
  const auto give = [&](auto entries, auto* copy, auto call) -> Status {
    if (entries.empty()) return Status::Ok();
    if (needs_labels_) {
      copy->assign(entries.begin(), entries.end());
      if (gate_->floor() != kMinTimestamp) {
        skipped_ += std::erase_if(*copy, [&](const auto& entry) { return TimeOf(entry) < gate_->floor(); });
      }
      if (Status s = Tell(record.place, copy); !s.ok()) return s;
      entries = *copy;
    }
    unflushed_ += entries.size();
    return entries.empty() ? Status::Ok() : Target((sink_.get()->*call)(record.place, entries));
  };
  if (Status s = give(record.samples, &samples_, &RecordSink::OnSamples); !s.ok()) return s;
  if (Status s = give(record.histograms, &histograms_, &RecordSink::OnHistograms); !s.ok()) return s;
  if (Status s = give(record.exemplars, &exemplars_, &RecordSink::OnExemplars); !s.ok()) return s;
  return give(record.metadata, &metadata_, &RecordSink::OnMetadata);
}

Status ShardReplayer::SendDelete(const ScannedRecord& record) {
  if (!applies_deletes_) {
    ++skipped_;
    return Status::Ok();
  }
  // In pieces: a delete may name every series of the shard. Applying one piece after the other comes to the same.
  constexpr std::size_t kSeriesOfPiece = 1024;
  std::vector<SeriesEntry> piece;
  std::vector<Labels> labels;
  for (std::size_t begin = 0; begin < record.ordinals.size(); begin += kSeriesOfPiece) {
    const auto ordinals = record.ordinals.subspan(begin, std::min(kSeriesOfPiece, record.ordinals.size() - begin));
    absl::flat_hash_map<Ordinal, Labels> found;
    const Status s = labels_.LookUp(ordinals, [&](Ordinal o, const Labels& l) {
      if (std::binary_search(ordinals.begin(), ordinals.end(), o)) found.insert_or_assign(o, l);
    });
    if (!s.ok()) return s;
    piece.clear();
    for (const Ordinal ordinal : ordinals) {
      const auto at = found.find(ordinal);
      if (at != found.end()) piece.push_back({ordinal, &at->second});
      if (at == found.end() && !labels_.Removed(ordinal)) RefuseUnlabelled(1, ordinal);
    }
    if (piece.empty()) continue;
    if (Status t = Target(sink_->OnDelete(record.place, record.range, piece)); !t.ok()) return t;
  }
  ++unflushed_;
  return Status::Ok();
}

Status ShardReplayer::TellNew(const ScannedRecord& record) {
  for (const SeriesRecordEntry& entry : record.series) {
    if (Status s = TellOne(record.place, entry.ordinal, Labels::FromEncoded(std::string(entry.labels))); !s.ok()) return s;
  }
  return Status::Ok();
}

Status ShardReplayer::TellOne(const RecordPlace& place, Ordinal ordinal, const Labels& labels) {
  told_.Add(ordinal);
  label_bytes_ += labels.encoded().size() + kTellBytes;
  const SeriesEntry entry{ordinal, &labels};
  return Target(sink_->OnSeries(place, {&entry, 1}));
}

template <typename Entry>
Status ShardReplayer::Tell(const RecordPlace& place, std::vector<Entry>* entries) {
  ask_.clear();
  bool gaps = !unlabelled_.empty();
  Ordinal last_told = 0;
  bool any = false;
  for (const Entry& entry : *entries) {
    if (any && entry.ordinal == last_told) continue;
    if (told_.Contains(entry.ordinal)) {
      last_told = entry.ordinal;
      any = true;
    } else if (!unlabelled_.Contains(entry.ordinal)) {
      ask_.push_back(entry.ordinal);
    }
  }
  if (!ask_.empty()) {
    std::sort(ask_.begin(), ask_.end());
    ask_.erase(std::unique(ask_.begin(), ask_.end()), ask_.end());
    Status told;
    const Status s = labels_.LookUp(ask_, [&](Ordinal ordinal, const Labels& labels) {
      if (told.ok() && !told_.Contains(ordinal)) told = TellOne(place, ordinal, labels);
    });
    if (!s.ok()) return s;
    if (!told.ok()) return told;
    for (const Ordinal ordinal : ask_) {
      if (told_.Contains(ordinal)) continue;
      unlabelled_.Add(ordinal);
      gaps = true;
    }
  }
  if (!gaps) return Status::Ok();
  std::erase_if(*entries, [this](const Entry& entry) {
    if (!unlabelled_.Contains(entry.ordinal)) return false;
    if (labels_.Removed(entry.ordinal)) {
      ++skipped_;
    } else {
      RefuseUnlabelled(1, entry.ordinal);
    }
    return true;
  });
  return Status::Ok();
}

void ShardReplayer::RefuseUnlabelled(std::uint64_t items, Ordinal example) {
  const std::string name = "series " + std::to_string(report_->shard) + "/" + std::to_string(example);
  if (labels_.damage().ok()) {
    report_->delivered.Refuse(items, name + ": the record of its creation is lost, so its labels are not known");
  } else {
    report_->delivered.Refuse(
        items, name + ": its creation is not in the log, and the stored index, which may have its labels, cannot be read" +
                   (store_.data() == nullptr ? "" : " (" + labels_.damage().message() + ")"));
  }
}

// Between records: what a record before has named may be forgotten.
Status ShardReplayer::MakeRoom() {
  if (label_bytes_ < label_bytes_max_) return Status::Ok();
  if (Status s = Flush(); !s.ok()) return s;
  sink_->OnForgetSeries();
  told_ = OrdinalSet();
  label_bytes_ = 0;
  return Status::Ok();
}

Status ShardReplayer::Flush() {
  Delivered delivered;
  const Status s = keeper_->Flush(report_->shard, passed_, unflushed_, [&] { return sink_->Flush(&delivered); });
  if (!s.ok()) return Target(s);
  flushed_at_ = std::chrono::steady_clock::now();
  report_->delivered.sent += delivered.sent;
  report_->delivered.skipped += delivered.skipped + std::exchange(skipped_, 0);
  report_->delivered.refused += delivered.refused;
  for (const std::string& why : delivered.reasons) report_->delivered.Refuse(0, why);
  report_->delivered_lsn = std::max(report_->delivered_lsn, passed_);
  unflushed_ = 0;
  unflushed_bytes_ = 0;
  return Status::Ok();
}

}  // namespace chronolith::ops

// salvage: one shard. The log's records that are stored already go first, then stored chunks, then the log's records beyond: so
// that of two samples of one time the later one stays, and what a damaged chunk has lost may still come from the log.
#include <absl/container/btree_map.h>

#include <algorithm>
#include <map>
#include <set>
#include <variant>

#include "base/coding.h"
#include "block/tombstones.h"
#include "ops/offline_store.h"
#include "ops/salvage_chunks.h"
#include "ops/salvage_deletes.h"
#include "ops/salvage_labels.h"
#include "ops/salvage_parts.h"
#include "ops/salvage_survey.h"
#include "ops/salvage_tell.h"
#include "ops/work_share.h"
#include "storage/items.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {
namespace {

class ShardSalvage : public WalVisitor {
 public:
  ShardSalvage(const SalvageSource& source, ShardId shard, const SalvageOptions& options, const OpsContext& context,
               SalvageTarget* target, SalvageReport* report, LossList* losses)
      : source_(source),
        shard_(shard),
        options_(options),
        context_(context),
        target_(target),
        report_(report),
        losses_(losses),
        chunks_(source.DataOf(ChunkFamily(shard))),
        labels_(source.DataOf(IndexFamily(shard)), source.log.get(), shard, report, source.IsDamaged(IndexFamily(shard))),
        teller_(shard, source.manifest.window_ms, &labels_, losses) {}

  Status Run() {
    Tombstones tombstones;
    ReadChunkState(&tombstones);
    if (Status s = SurveyLog(&tombstones); !s.ok()) return s;
    for (const LostTable& table : source_.lost_tables) {
      teller_.Table(table);
      if (table.family == ChunkFamily(shard_)) deletes_.AddLostTable(table);
    }
    deletes_.Settle(trimmed_to_, shard_, &tombstones, &teller_, losses_);
    hidden_ = tombstones.View();
    stored_ = true;
    // Without a table the log may have again what was trimmed from it, and what deletes hid whose records were trimmed as well.
    const bool again = LacksLogTable();
    const bool needed = source_.IsDamaged(ChunkFamily(shard_));
    if (again && needed) {
      losses_->Add({.kind = LossKind::kDeletes,
                    .shard = shard_,
                    .what = "a table of the log is lost: what deletes hid of records that were trimmed before may be there again"});
    }
    if (!again || needed) {
      if (Status s = ReadLog(); !s.ok()) return s;
    }
    if (Status s = TakeChunks(); !s.ok()) return s;
    stored_ = false;
    if (Status s = ReadLog(); !s.ok()) return s;
    if (Status s = TakeMetadata(); !s.ok()) return s;
    TellUnlabelled();
    report_->series += taken_.size();
    return Status::Ok();
  }

  // ---- The log, second reading ----

  Status OnRow(ShardId, const WalRowHeader&, std::string_view value) override {
    share_->Add(value.size());
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView& record) override {
    if ((lsn <= applied_) != stored_) return Status::Ok();
    if (record.type == RecordType::kSamples) {
      if (Status s = DecodeSamples(record.body, &samples_); !s.ok()) return Status::Ok();  // the survey has told
      for (const SampleEntry& sample : samples_) {
        if (IsHidden(sample.ordinal, lsn, sample.timestamp)) continue;
        TimeSeries series;
        if (!LabelsOf(sample.ordinal, 1, sample.timestamp, sample.timestamp, &series.labels)) continue;
        series.samples.push_back({sample.timestamp, sample.value});
        failure_ = Write(sample.ordinal, std::move(series));
        if (!failure_.ok()) return failure_;
      }
    } else if (record.type == RecordType::kItems) {
      if (Status s = DecodeItems(record.body, &items_); !s.ok()) return Status::Ok();
      for (const ItemEntry& entry : items_) {
        if (failure_ = TakeItem(lsn, entry); !failure_.ok()) return failure_;
      }
    }
    return Status::Ok();
  }
  Status OnLoss(ShardId, const WalLoss&) override { return failure_; }

 private:
  Status Write(Ordinal ordinal, TimeSeries series) {
    taken_.Add(ordinal);
    return target_->Write(shard_, std::move(series));
  }

  void ReadChunkState(Tombstones* tombstones) {
    // Each shard stores it: the highest is the store's.
    if (source_.floor) tombstones->RaiseFloor(*source_.floor);
    if (chunks_ == nullptr) return;
    const FamilyId family = ChunkFamily(shard_);
    std::string value;
    ChunkState state;
    Status s = chunks_->Get(family, kChunkStateKey, &value);
    if (s.ok()) s = DecodeChunkState(kChunkStateKey, value, &state);
    if (s.ok()) {
      applied_ = state.applied_lsn;
      applied_known_ = true;
    } else if (s.code() != StatusCode::kNotFound) {
      losses_->Note("shard " + std::to_string(shard_) + ": how far its chunks are stored cannot be read: " + s.message());
    }
    deletes_.Read(chunks_, family, tombstones);
  }

  Status SurveyLog(Tombstones* tombstones) {
    if (source_.log == nullptr) {
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = applied_ + 1,
                    .what = "all that was logged behind what is stored"});
      return Status::Ok();
    }
    WorkShare share(context_, LogBytesOf(source_, shard_));
    LogSurvey survey(&labels_, tombstones, &share);
    WalEnd end;
    const Status s = ReadWal(source_.log.get(), WalFamily(shard_), shard_, 0, context_.cancelled, &survey, nullptr, &end);
    if (s.code() == StatusCode::kCancelled) return s;
    if (!applied_known_ && chunks_ != nullptr) applied_ = end.trimmed_to;  // only what is stored is trimmed
    if (!LacksLogTable()) trimmed_to_ = end.trimmed_to;
    const Lsn stored_whole = source_.unfinished.StoredWhole(shard_, applied_);
    bool seen = false;  // what was given up, where that is noted
    for (const WalLoss& loss : survey.losses()) {
      if (loss.last != 0 && loss.last <= stored_whole) continue;  // it is stored
      seen = seen || loss.first <= applied_ || applied_ <= stored_whole;
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = std::max(loss.first, stored_whole + 1),
                    .last_lsn = loss.last,
                    .what = loss.why.message()});
    }
    if (source_.unfinished.stored_whole.contains(shard_) && (!seen || end.trimmed_to > stored_whole)) {
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = stored_whole + 1,
                    .what = "records behind this were given up: which, the recovery told that did not come to its end"});
    }
    if (!s.ok()) {
      const Lsn from = std::max(std::max(end.last_lsn, end.trimmed_to), applied_) + 1;
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = from,
                    .what = "the log cannot be read from there on: " + s.message()});
    }
    TellLostEnd(std::max(end.last_lsn, end.trimmed_to));
    if (end.trimmed_to > applied_ && chunks_ != nullptr) {
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = applied_ + 1,
                    .last_lsn = end.trimmed_to,
                    .what = "trimmed from the log as stored, but the chunks that can be read do not go so far"});
    }
    return Status::Ok();
  }

  bool LacksLogTable() const {
    return source_.unfinished.tables.contains(shard_) ||
           std::any_of(source_.lost_log_tables.begin(), source_.lost_log_tables.end(),
                       [this](const BadLogTable& table) { return table.shard == shard_; });
  }

  // Holes were told; what was lost at the end shows nowhere but in the keys of the tables, and in UNFINISHED where an open has
  // given up part of the log.
  void TellLostEnd(Lsn log_end) {
    const Lsn first = std::max(applied_, log_end) + 1;
    if (source_.unfinished.EndIsUnknown(shard_)) {
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = first,
                    .what = "what was behind the end of its log may be lost: " + std::string(kLogGivenUp)});
      return;
    }
    for (const BadLogTable& table : source_.lost_log_tables) {
      // The last row may begin in front of what is stored and end behind it; only whole rows are trimmed.
      if (table.shard != shard_ || table.last <= log_end) continue;
      losses_->Add({.kind = LossKind::kLog,
                    .shard = shard_,
                    .first_lsn = first,
                    .what = "a table of the log, " + table.file + ", cannot be read, and may have held records from there on"});
    }
  }

  Status ReadLog() {
    if (source_.log == nullptr) return Status::Ok();
    WalEnd end;
    WorkShare share(context_, LogBytesOf(source_, shard_));
    share_ = &share;
    failure_ = Status::Ok();
    const Status s = ReadWal(source_.log.get(), WalFamily(shard_), shard_, 0, context_.cancelled, this, nullptr, &end);
    if (!failure_.ok()) return failure_;
    return s.code() == StatusCode::kCancelled ? s : Status::Ok();  // the survey has told
  }

  bool IsHidden(Ordinal ordinal, Lsn lsn, Timestamp t) {
    if (hidden_.list().empty() && hidden_.floor() == kMinTimestamp) return false;
    ChunkMeta meta;
    meta.ordinal = ordinal;
    meta.creation_lsn = lsn;
    meta.min_time = meta.max_time = t;
    hidden_.HiddenIn(meta, {}, &scratch_);
    return !scratch_.empty();
  }

  Status TakeItem(Lsn lsn, const ItemEntry& entry) {
    Item item;
    if (Status s = DecodeItem(entry.type, entry.bytes, &item); !s.ok()) return Status::Ok();
    TimeSeries series;
    Timestamp t = 0;
    if (auto* metadata = std::get_if<Metadata>(&item)) {
      if (!labels_.Find(entry.ordinal, &series.labels)) return Status::Ok();
      series.metadata.push_back(std::move(*metadata));
      return Write(entry.ordinal, std::move(series));
    }
    if (auto* histogram = std::get_if<HistogramSample>(&item)) {
      t = histogram->timestamp;
      series.histograms.push_back(std::move(*histogram));
    } else {
      t = std::get<Exemplar>(item).timestamp;
      series.exemplars.push_back(std::move(std::get<Exemplar>(item)));
    }
    if (IsHidden(entry.ordinal, lsn, t) || !LabelsOf(entry.ordinal, 1, t, t, &series.labels)) return Status::Ok();
    return Write(entry.ordinal, std::move(series));
  }

  // ---- Labels ----

  // False: not known, and not to be kept without.
  bool LabelsOf(Ordinal ordinal, std::uint64_t samples, Timestamp first, Timestamp last, Labels* labels) {
    if (labels_.Find(ordinal, labels)) return true;
    Unlabelled& unlabelled = unlabelled_[ordinal];
    unlabelled.samples += samples;
    unlabelled.first = std::min(unlabelled.first, first);
    unlabelled.last = std::max(unlabelled.last, last);
    if (options_.keep_unlabelled) *labels = {{"__salvaged__", std::to_string(shard_) + "-" + std::to_string(ordinal)}};
    return options_.keep_unlabelled;
  }

  void TellUnlabelled() {
    for (const auto& [ordinal, u] : unlabelled_) {
      losses_->Add({.kind = LossKind::kLabels,
                    .shard = shard_,
                    .first_ordinal = ordinal,
                    .last_ordinal = ordinal,
                    .start = u.first,
                    .end = u.last == kMaxTimestamp ? u.last : u.last + 1,
                    .samples = u.samples,
                    .what = options_.keep_unlabelled ? "its labels are lost; its samples are kept under __salvaged__"
                                                     : "its labels are lost"});
      report_->unlabelled_kept += options_.keep_unlabelled ? 1 : 0;
    }
  }

  // ---- Chunks ----

  Status TakeChunks() {
    if (chunks_ == nullptr) return Status::Ok();
    const FamilyId family = ChunkFamily(shard_);
    const std::uint64_t file_bytes = chunks_->Stats().families[family].file_bytes;
    WorkShare share(context_, file_bytes);
    const auto row = [&](std::string_view key, std::string_view value) {
      share.Add(key.size() + value.size());
      return TakeChunkRow(key, value);
    };
    const auto gap = [&](const ChunkGap& lost) {
      teller_.Gap(lost, "a block of rows cannot be read, in which such samples may have been: " + lost.why.message());
      return EndGroup();
    };
    Status s = ScanAroundDamage(chunks_, family, source_.manifest.window_ms, context_.cancelled, row, gap);
    return s.ok() ? EndGroup() : s;
  }

  Status TakeChunkRow(std::string_view key, std::string_view value) {
    Chunk chunk;
    std::string_view payload;
    if (!DecodeChunkKey(key, &chunk.meta)) {
      losses_->Add({.kind = LossKind::kSamples, .shard = shard_, .what = BadChunkKey(key).message()});
      return Status::Ok();
    }
    if (!group_.empty() && (group_[0].meta.window != chunk.meta.window || group_[0].meta.ordinal != chunk.meta.ordinal)) {
      if (Status s = EndGroup(); !s.ok()) return s;
    }
    if (Status s = DecodeChunkValue(key, value, &chunk.meta, &payload, &buffer_); !s.ok()) {
      teller_.Chunk(chunk.meta, s);
      return Status::Ok();
    }
    chunk.data.assign(payload);
    group_.push_back(std::move(chunk));
    return Status::Ok();
  }

  // The chunks of one series in one window, merged as a reader merges them: at equal times the one that supersedes wins.
  Status EndGroup() {
    if (group_.empty()) return Status::Ok();
    std::vector<Chunk> group = std::move(group_);
    group_.clear();
    TimeSeries series;
    const std::size_t n = MergeChunks(
        &group, hidden_, [this](const ChunkMeta& meta, const Status& why) { teller_.Chunk(meta, why); }, &series);
    if (n == 0) return Status::Ok();
    Timestamp first = kMaxTimestamp;
    Timestamp last = kMinTimestamp;
    const auto note = [&](const auto& items) {
      for (const auto& item : items) {
        first = std::min(first, item.timestamp);
        last = std::max(last, item.timestamp);
      }
    };
    note(series.samples);
    note(series.histograms);
    note(series.exemplars);
    if (!LabelsOf(group[0].meta.ordinal, n, first, last, &series.labels)) return Status::Ok();
    return Write(group[0].meta.ordinal, std::move(series));
  }

  // ---- Metadata ----

  Status TakeMetadata() {
    return labels_.ForEachMetadata(
        context_.cancelled,
        [&](Ordinal ordinal, const Metadata& metadata) {
          TimeSeries series;
          if (!labels_.Find(ordinal, &series.labels)) return Status::Ok();
          series.metadata.push_back(metadata);
          return Write(ordinal, std::move(series));
        },
        [&](std::optional<Ordinal> ordinal, const Status& why) {
          SalvageLoss loss{.kind = LossKind::kMetadata, .shard = shard_, .what = why.message()};
          loss.first_ordinal = loss.last_ordinal = ordinal;
          losses_->Add(std::move(loss));
        });
  }

  struct Unlabelled {
    std::uint64_t samples = 0;
    Timestamp first = kMaxTimestamp;
    Timestamp last = kMinTimestamp;
  };

  const SalvageSource& source_;
  const ShardId shard_;
  const SalvageOptions& options_;
  const OpsContext& context_;
  SalvageTarget* const target_;
  SalvageReport* const report_;
  LossList* const losses_;
  KvEngine* const chunks_;
  SalvageLabels labels_;
  LossTeller teller_;
  SalvageDeletes deletes_;
  TombstoneView hidden_;
  Lsn applied_ = 0;
  bool applied_known_ = false;
  std::optional<Lsn> trimmed_to_;  // none: the log is lost, or a table of it
  bool stored_ = false;            // the second reading takes what is stored, the third the rest
  WorkShare* share_ = nullptr;     // while the log is read
  Status failure_;
  std::vector<Chunk> group_;
  absl::btree_map<Ordinal, Unlabelled> unlabelled_;
  OrdinalSet taken_;  // series of which something was written
  std::vector<TimeRange> scratch_;
  std::string buffer_;
  std::vector<SampleEntry> samples_;
  std::vector<ItemEntry> items_;
};

}  // namespace

std::uint64_t LogBytesOf(const SalvageSource& source, ShardId shard) {
  if (source.log == nullptr) return 0;
  const EngineStats stats = source.log->Stats();
  const FamilyId family = WalFamily(shard);
  return family < stats.families.size() ? stats.families[family].file_bytes + stats.families[family].buffered_bytes : 0;
}

Status SalvageShard(const SalvageSource& source, ShardId shard, const SalvageOptions& options, const OpsContext& context,
                    SalvageTarget* target, SalvageReport* report, LossList* losses) {
  return ShardSalvage(source, shard, options, context, target, report, losses).Run();
}

}  // namespace chronolith::ops

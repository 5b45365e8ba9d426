#include "ops/log_archive_scan.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "chronolith/engine_registry.h"
#include "format/wal_record.h"
#include "interop/time_text.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr WalPlace kBehindAll{std::numeric_limits<std::uint64_t>::max(), 0};

class LastRow : public WalVisitor {
 public:
  Status OnRow(ShardId, const WalRowHeader& row, std::string_view) override {
    write_time_ms = row.write_time_ms;
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView&) override { return Status::Ok(); }
  std::optional<std::int64_t> write_time_ms;
};

std::string Lsns(ShardId shard, Lsn first, Lsn last) {
  return "LSN " + std::to_string(first) + (first == last ? "" : " to " + std::to_string(last)) + " of shard " +
         std::to_string(shard);
}

// Header and payload of a row; kDataLoss.
class RowDecoder {
 public:
  Status Decode(const ArchivedRow& row) {
    StoreWalKey(row.first_lsn, key_);
    if (Status s = DecodeWalRow(row.shard, {key_, sizeof(key_)}, row.value, &header, &payload, &scratch_); !s.ok()) return s;
    const bool same = header.epoch == row.epoch && header.write_time_ms == row.write_time_ms &&
                      header.first_lsn + header.records == row.last_lsn + 1;
    return same ? Status::Ok()
                : DataLoss("a row of " + Lsns(row.shard, row.first_lsn, row.last_lsn) + " is not what its block says");
  }
  // Whether it begins an epoch, and says that the one before ended at `lsn` or before.
  bool OpensEpochBehind(Lsn lsn) const {
    std::string_view rest = payload;
    RecordView record;
    EpochRecord epoch;
    return NextRecord(&rest, &record).ok() && record.type == RecordType::kEpoch && DecodeEpoch(record.body, &epoch).ok() &&
           epoch.previous_end <= lsn;
  }
  WalRowHeader header;
  std::string_view payload;

 private:
  char key_[kWalKeyBytes];
  std::string scratch_;
};

// Blocks of several segments, one after the other.
class ArchiveScan {
 public:
  ArchiveScan(const std::vector<ArchiveSegment>& segments, const OpsContext& context) : segments_(segments), context_(context) {}
  // False: at the end.
  Result<bool> Next(ArchiveBlock* block) {
    while (true) {
      if (Status s = context_.CheckCancelled(); !s.ok()) return s;
      if (reader_ == nullptr) {
        if (next_ == segments_.size()) return false;
        Result<std::unique_ptr<ArchiveReader>> reader = ArchiveReader::Open(segments_[next_++].path);
        if (!reader.ok()) return reader.status();
        reader_ = std::move(*reader);
        counted_ = 0;
      }
      const bool more = reader_->Next(block);
      context_.Add(reader_->offset() - counted_);
      counted_ = reader_->offset();
      if (more) return true;
      // An end that a crash tore off, or a block that is being written: what it held is given again. Else the LSNs show it.
      if (!reader_->status().ok()) {
        if (reader_->status().code() != StatusCode::kDataLoss) return reader_->status();
        const Result<bool> torn = reader_->IsTornEnd();
        if (!torn.ok()) return torn.status();
        if (!*torn) return reader_->status();
        damage_ = reader_->status().message();
      }
      reader_.reset();
    }
  }
  // What was passed over; "": nothing.
  const std::string& damage() const { return damage_; }

 private:
  const std::vector<ArchiveSegment>& segments_;
  const OpsContext& context_;
  std::size_t next_ = 0;
  std::unique_ptr<ArchiveReader> reader_;
  std::uint64_t counted_ = 0;
  std::string damage_;
};

std::uint64_t TotalBytes(const std::vector<ArchiveSegment>& segments) {
  std::uint64_t bytes = 0;
  for (const ArchiveSegment& segment : segments) bytes += segment.bytes;
  return bytes;
}

class Planning {
 public:
  Planning(const LogEnds& from, std::optional<std::int64_t> to_ms, ArchivePlan* plan) : to_ms_(to_ms), plan_(plan) {
    plan_->from = from;
    for (const LogEnds::Shard& shard : from.shards) {
      last_.push_back(shard.last_lsn);
      base_times_.push_back(shard.write_time_ms);
    }
  }

  // Of the first segment: the last row of each shard in front of it.
  void Begin(const ArchiveHeader& header) {
    for (const ArchiveShardState& state : header.shards) {
      if (state.shard < last_.size() && state.last_lsn == last_[state.shard]) base_times_[state.shard] = state.write_time_ms;
    }
  }

  // Not ok: this backup and this archive do not fit each other.
  Status Run(ArchiveScan* scan) {
    ArchiveBlock block;
    while (!done_) {
      const Result<bool> more = scan->Next(&block);
      if (!more.ok()) {
        if (more.status().code() != StatusCode::kDataLoss) return more.status();
        trouble_ = more.status();
        break;
      }
      if (!*more) break;
      if (block.type == ArchiveBlockType::kRows) {
        for (const ArchivedRow& row : block.rows) {
          if (Status s = OnRow(row); !s.ok()) return s;
        }
      } else if (block.type == ArchiveBlockType::kMark) {
        OnMark(block.mark);
      }
      if (!trouble_.ok()) break;
    }
    if (!trouble_.ok() && !scan->damage().empty()) trouble_ = trouble_.WithContext("behind damage (" + scan->damage() + ")");
    return Status::Ok();
  }

  void Finish(std::int64_t base_taken_ms) {
    plan_->base_ms = std::numeric_limits<std::int64_t>::min();
    for (const auto& time : base_times_) plan_->base_ms = std::max(plan_->base_ms, time.value_or(base_taken_ms));
    plan_->cut = mark_ ? WalPlace{mark_->epoch, mark_->group + 1} : WalPlace{};
    if (done_ && later_) plan_->cut = std::min(plan_->cut, *later_);
    plan_->reached_ms = std::max(plan_->base_ms, mark_ ? mark_->time_ms : plan_->base_ms);
    if (done_) plan_->reached_ms = *to_ms_;
    if (!trouble_.ok()) plan_->complete = trouble_;
    if (trouble_.ok() && to_ms_ && !done_) {
      plan_->complete =
          FailedPrecondition("the archive " + plan_->directory + " does not go as far as " + interop::FormatTime(*to_ms_));
    }
  }

 private:
  Status OnRow(const ArchivedRow& row) {
    if (row.shard >= last_.size()) {
      return DataLoss("the archive has rows of shard " + std::to_string(row.shard) + ", the store has " +
                      std::to_string(last_.size()) + " shards");
    }
    const LogEnds::Shard& base = plan_->from.shards[row.shard];
    Lsn& last = last_[row.shard];
    if (row.first_lsn <= base.last_lsn && (row.epoch > base.epoch || row.last_lsn > base.last_lsn)) {
      return FailedPrecondition("the backup holds records from " + Lsns(row.shard, row.first_lsn, row.first_lsn) +
                                " on that the store lost afterwards, as in a power failure, and wrote others in their place: "
                                "name another backup");
    }
    if (row.last_lsn == base.last_lsn) base_times_[row.shard] = row.write_time_ms;
    if (row.last_lsn <= last) return Status::Ok();
    const bool is_later = to_ms_ && row.write_time_ms > *to_ms_;
    if (row.first_lsn != last + 1 || (is_later && !later_in_.contains(row.shard))) {
      if (trouble_ = row_.Decode(row); !trouble_.ok()) return Status::Ok();
      if (row.first_lsn != last + 1 && !row_.OpensEpochBehind(last)) return Lacks(row.shard, last + 1, row.first_lsn - 1);
    }
    if (is_later && later_in_.insert(row.shard).second) {
      const WalPlace place{row_.header.epoch, row_.header.group};
      later_ = std::min(later_.value_or(kBehindAll), place);
    }
    last = row.last_lsn;
    return Status::Ok();
  }

  void OnMark(const ArchiveMark& mark) {
    for (ShardId k = 0; k < last_.size() && k < mark.archived_to.size(); ++k) {
      if (mark.archived_to[k] > last_[k]) {
        (void)Lacks(k, last_[k] + 1, mark.archived_to[k]);
        return;
      }
    }
    mark_ = mark;
    if (!to_ms_ || mark.archived_to.size() != last_.size()) return;
    for (ShardId k = 0; k < last_.size(); ++k) {
      if (mark.archived_to[k] < plan_->from.shards[k].last_lsn) return;  // it lies in front of the backup's end
    }
    done_ = (later_ && *later_ <= WalPlace{mark.epoch, mark.group}) || mark.time_ms > *to_ms_;
  }

  Status Lacks(ShardId shard, Lsn first, Lsn last) {
    trouble_ = DataLoss("the archive " + plan_->directory + " lacks " + Lsns(shard, first, last) +
                        (last_[shard] == plan_->from.shards[shard].last_lsn ? ", which follow the backup" : ""));
    return Status::Ok();
  }

  const std::optional<std::int64_t> to_ms_;
  ArchivePlan* const plan_;
  std::vector<Lsn> last_;
  std::vector<std::optional<std::int64_t>> base_times_;
  RowDecoder row_;
  std::set<ShardId> later_in_;
  std::optional<WalPlace> later_;    // the first group that is later than asked for
  std::optional<ArchiveMark> mark_;  // the last one in front of which nothing lacks
  bool done_ = false;                // all that was asked for lies in front of mark_
  Status trouble_;
};

}  // namespace

Result<LogEnds> ReadLogEnds(const std::string& path, const StoreManifest& manifest, const OpsContext& context) {
  const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(manifest.engine);
  if (!factory.ok()) return factory.status();
  EngineOptions options = LogInstanceOptions(manifest);
  options.create_if_missing = false;
  options.read_only = true;
  options.logger = context.logger;
  Result<std::unique_ptr<KvEngine>> engine = (*factory)->Open(path, options);
  if (!engine.ok()) return engine.status();
  LogEnds ends;
  for (ShardId shard = 0; shard < manifest.shards; ++shard) {
    LastRow last;
    WalEnd end;
    if (Status s = ReadWal(engine->get(), WalFamily(shard), shard, std::numeric_limits<Lsn>::max(), context.cancelled, &last,
                           nullptr, &end);
        !s.ok()) {
      return s.WithContext(path);
    }
    const Result<Epoch> epoch = (*engine)->CurrentEpoch(WalFamily(shard));
    if (!epoch.ok()) return epoch.status();
    ends.shards.push_back({std::max(end.last_lsn, end.trimmed_to), *epoch, last.write_time_ms});
  }
  if (Status s = (*engine)->Close(); !s.ok()) return s;
  return ends;
}

Result<ArchivePlan> PlanArchive(const std::string& directory, const StoreManifest& manifest, const LogEnds& from,
                                std::int64_t base_taken_ms, std::optional<std::int64_t> to_ms, const OpsContext& context) {
  ArchivePlan plan;
  plan.directory = directory;
  Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory);
  if (!segments.ok()) return segments.status();
  ArchiveHeader first;
  std::size_t begin = 0;  // the last segment in front of which there is nothing that the backup lacks
  for (std::size_t i = 0; i < segments->size(); ++i) {
    const Result<std::unique_ptr<ArchiveReader>> reader = ArchiveReader::Open((*segments)[i].path);
    if (!reader.ok() && reader.status().code() != StatusCode::kDataLoss) return reader.status();
    if (!reader.ok()) continue;  // found again where it is in the way
    const ArchiveHeader& header = (*reader)->header();
    if (header.uuid != manifest.uuid || header.incarnation != manifest.incarnation) {
      StoreManifest other;
      other.uuid = header.uuid;
      return FailedPrecondition("the archive " + directory + " is of store " + other.UuidHex() + " incarnation " +
                                std::to_string(header.incarnation) + ", the backup of " + manifest.UuidHex() + " incarnation " +
                                std::to_string(manifest.incarnation));
    }
    const auto has = [&](const ArchiveShardState& state) {
      return state.shard < from.shards.size() && state.last_lsn <= from.shards[state.shard].last_lsn;
    };
    if (i > 0 && !std::all_of(header.shards.begin(), header.shards.end(), has)) continue;
    begin = i;
    first = header;
  }
  plan.segments.assign(segments->begin() + static_cast<std::ptrdiff_t>(begin), segments->end());
  context.Begin("reading the archive", TotalBytes(plan.segments), "bytes");
  Planning planning(from, to_ms, &plan);
  planning.Begin(first);
  ArchiveScan scan(plan.segments, context);
  if (Status s = planning.Run(&scan); !s.ok()) return s;
  planning.Finish(base_taken_ms);
  if (plan.cut == WalPlace{}) return plan;
  OpsContext silent = context;
  silent.progress = nullptr;
  const Status counted = ReadArchive(plan, silent, [&](const ArchivedRow& row, const WalRowHeader&) {
    ++plan.rows;
    plan.bytes += row.value.size();
    plan.epoch_max = std::max(plan.epoch_max, row.epoch);
    return Status::Ok();
  });
  if (!counted.ok()) return counted;
  return plan;
}

Status ReadArchive(const ArchivePlan& plan, const OpsContext& context, const ArchivedRowSink& sink) {
  ArchiveScan scan(plan.segments, context);
  std::vector<Lsn> last;
  for (const LogEnds::Shard& shard : plan.from.shards) last.push_back(shard.last_lsn);
  RowDecoder decoder;
  ArchiveBlock block;
  // A mark at or behind the cut: no row in front of the cut comes any more.
  const auto is_end = [&] {
    return block.type == ArchiveBlockType::kMark && WalPlace{block.mark.epoch, block.mark.group + 1} >= plan.cut;
  };
  while (true) {
    const Result<bool> more = scan.Next(&block);
    if (!more.ok()) return more.status();
    if (!*more || is_end()) return Status::Ok();
    for (const ArchivedRow& row : block.rows) {
      if (row.last_lsn <= last[row.shard]) continue;
      if (Status s = decoder.Decode(row); !s.ok()) return s.WithContext("the archive " + plan.directory);
      if (WalPlace{decoder.header.epoch, decoder.header.group} >= plan.cut) continue;
      if (Status s = sink(row, decoder.header); !s.ok()) return s;
      last[row.shard] = row.last_lsn;
    }
  }
}

}  // namespace chronolith::ops

// Recovery: what a shard's families and its log bring back, and the checks that make loss loud.
//
//   1. State rows: index.<k> and chunk.<k> each say up to which LSN they are complete (applied_lsn).
//   2. The log is read behind the smaller of the two; every checksum, the density of LSNs and the chain of epochs are checked.
//   3. Each record goes to the layers that lack it. Applying one twice changes nothing: rows and head chunks are idempotent.
//   4. The next LSN is past the end of the log, trimmed_to and every applied_lsn; a new epoch begins, synced, and names where the
//      old one ended.
//
// What quarantines the shard (quarantine.cc): damaged rows of the data instance or of its log; a hole in the log; a log that ends
// before what the data instance holds (it was removed or cut: its LSNs and ordinals would be used twice); a log trimmed beyond what
// the data instance holds.
#include <algorithm>
#include <limits>

#include "base/failpoint.h"
#include "base/hash.h"
#include "query/damage_policy.h"
#include "storage/core.h"
#include "storage/items.h"

namespace chronolith {

namespace {

constexpr std::uint64_t kProgressBytes = 4 << 20;      // between two calls of Options::on_replay, at most
constexpr std::uint64_t kProgressNanos = 100'000'000;  // the same
constexpr std::uint64_t kMemoryLookBytes = 256 << 10;  // of log, between two looks at what replay holds

// `status` is of a read of the shard's rows.
Status Damaged(Status status, Status* damage) {
  if (IsDamage(status)) *damage = status;
  return status;
}

std::string Lacks(ShardId shard, Lsn first, Lsn last) {
  return "the log of shard " + std::to_string(shard) + " lacks LSN " + std::to_string(first) +
         (first == last ? "" : " to " + std::to_string(last));
}

Status LogFilesLost(ShardId shard, Lsn log_end, Lsn applied) {
  return DataLoss(Lacks(shard, log_end + 1, applied) + ": it ends at LSN " + std::to_string(log_end) +
                  ", but the data instance holds records up to " + std::to_string(applied) + ": log files were lost");
}

}  // namespace

// Applies the records of one shard's log; used by one thread a shard.
class ReplayVisitor : public WalVisitor {
 public:
  // The states as they were found, but for the epoch, which is the new one. `noted`: Core::NotedWhole.
  ReplayVisitor(Core* core, Shard* shard, const IndexState& index, const ChunkState& chunks, std::optional<Lsn> noted)
      : core_(core),
        shard_(shard),
        accept_(core->options().accept_data_loss),
        index_(index),
        epoch_(chunks.epoch),
        index_applied_(index.applied_lsn),
        chunk_applied_(chunks.applied_lsn),
        stored_whole_(std::min({index.applied_lsn, chunks.applied_lsn, noted.value_or(chunks.applied_lsn)})),
        dropped_told_to_(std::min(chunks.applied_lsn, noted.value_or(chunks.applied_lsn))),
        on_replay_(core->options().on_replay) {}

  // Before a row: what the rows before it have filled goes to the data instance where it is more than the shard's share.
  Status OnRow(ShardId, const WalRowHeader&, std::string_view value) override {
    end_unknown_ = false;
    bytes_to_look_ += value.size();
    const bool read_only = core_->options().read_only;
    if (bytes_to_look_ < (read_only ? kMemoryLookBytes / core_->size() : kMemoryLookBytes)) return Status::Ok();
    bytes_to_look_ = 0;
    if (read_only) return CheckHeld();
    // A log that was trimmed beyond the data is refused when it has been read: no row may claim to cover the hole.
    const bool trimmed_beyond = end_.trimmed_to > std::min(index_applied_, chunk_applied_);
    if (trimmed_beyond && !accept_) return Status::Ok();
    // What a checkpoint leaves in memory would make the next look checkpoint again.
    const auto room =
        std::max(static_cast<std::int64_t>(core_->replay_share_) - kept_bytes_, static_cast<std::int64_t>(kReplayShareMin));
    if (MemoryBytes() - kept_bytes_ <= room) return Status::Ok();
    // A row is about to claim to cover what is lost.
    if (met_loss_ || trimmed_beyond) failure_ = core_->NoteStoredWhole({{shard_->id, stored_whole_}});
    if (!failure_.ok()) return failure_;
    failure_ = core_->CheckpointReplay(
        shard_,
        {.applied_lsn = std::max(index_applied_, end_.last_lsn),
         .next_ordinal = std::max(index_.next_ordinal, next_ordinal_),
         .series = index_.series + static_cast<std::uint64_t>(series_gained_)},
        {.applied_lsn = std::max(chunk_applied_, end_.last_lsn), .floor = shard_->chunks->tombstones().floor(), .epoch = epoch_},
        &damage_);
    if (failure_.ok()) {
      stored_to_ = end_.last_lsn;
      kept_bytes_ = MemoryBytes();
    }
    return failure_.WithContext("checkpoint of what was replayed");
  }

  // Before the first record: how many there are behind `after`, as far as the keys of rows tell.
  void Begin(Lsn after, Lsn last_row) {
    start_ns_ = told_ns_ = NowNanos();
    after_ = after;
    last_row_ = last_row;
    shard_->replay_records_expected.store(last_row - after, std::memory_order_relaxed);
  }
  void OnProgress(ShardId, const WalEnd& end) override {
    end_ = end;
    shard_->replayed_records.store(end.records, std::memory_order_relaxed);
    shard_->replayed_bytes.store(end.bytes, std::memory_order_relaxed);
    const std::uint64_t now = NowNanos();
    if (end.last_lsn > after_) {
      const double left = end.last_lsn < last_row_ ? static_cast<double>(last_row_ - end.last_lsn) : 0;
      const double each = static_cast<double>(now - start_ns_) * 1e-9 / static_cast<double>(end.last_lsn - after_);
      shard_->replay_seconds_left.store(left * each, std::memory_order_relaxed);
    }
    if (end.bytes - told_bytes_ >= kProgressBytes || now - told_ns_ >= kProgressNanos) Tell(false);
  }
  Status OnLoss(ShardId, const WalLoss& loss) override {
    if (!accept_ || !damage_.ok()) {
      if (damage_.ok()) shard_->log_damaged = true;
      if (loss.behind.epoch != 0) shard_->lost_before = loss.behind;
      return loss.why;
    }
    met_loss_ = true;
    const Lsn applied_most = std::max(index_applied_, chunk_applied_);
    const bool covered = loss.first <= applied_most || applied_most <= stored_whole_;
    met_noted_ = met_noted_ || loss.last == 0 || (loss.last > stored_whole_ && covered);
    // A hole where rows did not decode is not one of missing bytes; that of a table says nothing of other shards.
    if (loss.behind.epoch != 0 && !end_unknown_ && !core_->unfinished_.tables.contains(shard_->id))
      shard_->lost_before = std::max(shard_->lost_before.value_or(WalPlace{}), loss.behind);
    end_unknown_ = loss.last == 0;
    if (loss.last != 0) Lose(loss.first, loss.last);
    return Status::Ok();
  }
  // Gives up records, but for those that the data instance holds.
  void Lose(Lsn first, Lsn last) {
    shard_->has_loss = true;
    first = std::max(first, stored_whole_ + 1);
    if (first > last) return;
    auto& lost = shard_->loss.lost;
    if (!lost.empty() && lost.back().last + 1 >= first) {
      lost.back().last = std::max(lost.back().last, last);
    } else {
      lost.push_back({first, last});
    }
  }
  // The last row does not decode: how many records it held is not known.
  bool end_unknown() const { return end_unknown_; }
  // Where one is noted (UNFINISHED): a hole that what was stored since then claims to cover, or was about to.
  bool met_noted() const { return met_noted_; }
  void End() {
    shard_->replay_records_expected.store(std::max(shard_->replay_records_expected.load(), end_.records));
    shard_->replay_seconds_left.store(0, std::memory_order_relaxed);
    Tell(true);
  }

  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView& record) override {
    switch (record.type) {
      case RecordType::kEpoch:
        return Status::Ok();
      case RecordType::kSeries:
        return OnSeries(lsn, record.body);
      case RecordType::kSamples:
        return OnSamples(lsn, record.body);
      case RecordType::kItems:
        return OnItems(lsn, record.body);
      case RecordType::kDelete:
        return OnDelete(lsn, record.body);
      case RecordType::kFloor:
        return OnFloor(record.body);
      case RecordType::kRemoveSeries:
        return OnRemoveSeries(lsn, record.body);
    }
    return DataLoss("unknown record type");
  }

  std::uint64_t next_ordinal() const { return next_ordinal_; }
  // All up to here is durable in the data instance because replay has put it there.
  Lsn stored_to() const { return stored_to_; }
  // Not ok: a row of the data instance was damaged.
  const Status& damage() const { return damage_; }
  // Not ok: storing what was replayed failed, or CheckHeld; the log is not to blame.
  const Status& failure() const { return failure_; }
  // There is no way but back for a store that is only read: what it holds of its log it can store nowhere.
  Status CheckHeld() {
    const std::int64_t more = MemoryBytes() - held_bytes_;
    held_bytes_ += more;
    const std::int64_t held = core_->held_bytes_.fetch_add(more) + more;
    if (held > 0 && static_cast<std::uint64_t>(held) > core_->held_bytes_max_) {
      failure_ = ResourceExhausted("what only the log holds takes more than " + std::to_string(core_->held_bytes_max_ >> 20) +
                                   " MiB of memory");
    }
    return failure_;
  }
  // With Options::accept_data_loss: what the log has behind what the index had stored.
  const ReplayedSeries& replayed() const { return replayed_; }
  // Series that the index gained by the records, less those it lost.
  std::int64_t series_gained() const { return series_gained_; }

 private:
  void Tell(bool done) {
    told_bytes_ = end_.bytes;
    told_ns_ = NowNanos();
    if (!on_replay_) return;
    on_replay_({shard_->id, end_.records, shard_->replay_records_expected.load(std::memory_order_relaxed), end_.bytes,
                shard_->replay_seconds_left.load(std::memory_order_relaxed), done});
  }
  std::int64_t MemoryBytes() const {
    return static_cast<std::int64_t>(shard_->head->memory_bytes() + shard_->index->memory_bytes());
  }

  Status OnSeries(Lsn lsn, std::string_view body) {
    if (Status status = DecodeSeries(body, &series_); !status.ok()) return status;
    for (const SeriesRecordEntry& entry : series_) {
      next_ordinal_ = std::max<std::uint64_t>(next_ordinal_, entry.ordinal + std::uint64_t{1});
      if (lsn <= index_applied_) continue;
      ++series_gained_;
      if (accept_) {
        replayed_.created.Add(entry.ordinal);
        if (Status status = RemoveFormer(entry, lsn); !status.ok()) return Damaged(status, &damage_);
        shard_->index->Evict({&entry.ordinal, 1});  // which the look-up has found: Insert would take it for stored whole
      }
      if (!shard_->index->Insert(entry.ordinal, {StableHash(entry.labels), entry.labels}, lsn)) {
        return DataLoss("series " + std::to_string(entry.ordinal) + " is recorded with two label sets");
      }
    }
    return Status::Ok();
  }

  // Nothing is appended later to a store that is only read: it needs no room for the series that are stored whole.
  void Ensure(Ordinal ordinal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard_->head->mu()) {
    next_ordinal_ = std::max<std::uint64_t>(next_ordinal_, ordinal + std::uint64_t{1});
    if (core_->options().read_only) {
      shard_->head->EnsureOrdinal(ordinal);
    } else if (next_ordinal_ > ensured_) {
      ensured_ = next_ordinal_;
      shard_->head->EnsureOrdinals(ensured_);
    }
  }

  Status OnSamples(Lsn lsn, std::string_view body) {
    if (lsn <= dropped_told_to_) return Status::Ok();
    if (Status status = DecodeSamples(body, &samples_); !status.ok()) return status;
    if (accept_) {
      ordinals_.clear();
      for (const SampleEntry& s : samples_) ordinals_.push_back(s.ordinal);
      if (Status status = LookUp(); !status.ok()) return status;
      shard_->loss.dropped_samples +=
          std::erase_if(samples_, [this](const SampleEntry& s) { return unknown_.Contains(s.ordinal); });
      if (samples_.empty() || lsn <= chunk_applied_) return Status::Ok();
    }
    MeasuredLock lock(&shard_->head->mu());
    for (const SampleEntry& s : samples_) Ensure(s.ordinal);
    shard_->head->Append(samples_, lsn);
    return Status::Ok();
  }

  Status OnItems(Lsn lsn, std::string_view body) {
    if (Status status = DecodeItems(body, &items_); !status.ok()) return status;
    if (accept_) {
      ordinals_.clear();
      for (const ItemEntry& entry : items_) ordinals_.push_back(entry.ordinal);
      if (Status status = LookUp(); !status.ok()) return status;
    }
    for (const ItemEntry& entry : items_) {
      if (accept_ && unknown_.Contains(entry.ordinal)) {
        if (lsn > dropped_told_to_)
          ++(entry.type == ItemType::kHistogram ? shard_->loss.dropped_samples : shard_->loss.dropped_items);
        continue;
      }
      Item item;
      if (Status status = DecodeItem(entry.type, entry.bytes, &item); !status.ok()) return status;
      if (const auto* metadata = std::get_if<Metadata>(&item)) {
        if (lsn > index_applied_) shard_->index->SetMetadata(entry.ordinal, *metadata, lsn);
        continue;
      }
      if (lsn <= chunk_applied_) continue;
      MeasuredLock lock(&shard_->head->mu());
      Ensure(entry.ordinal);
      if (const auto* histogram = std::get_if<HistogramSample>(&item)) {
        shard_->head->AppendHistogram(entry.ordinal, *histogram, lsn);
      } else {
        shard_->head->AppendExemplar(entry.ordinal, std::get<Exemplar>(item), lsn);
      }
    }
    return Status::Ok();
  }

  Status OnDelete(Lsn lsn, std::string_view body) {
    if (lsn <= dropped_told_to_) return Status::Ok();
    DeleteRecord record;
    if (Status status = DecodeDelete(body, &record); !status.ok()) return status;
    Tombstone tombstone;
    tombstone.lsn = lsn;
    tombstone.range = record.range;
    if (Status status = DecodeOrdinals(record.bitmap, &tombstone.ordinals); !status.ok()) return status;
    if (lsn <= chunk_applied_) return Status::Ok();
    MeasuredLock lock(&shard_->head->mu());
    shard_->head->Cut(tombstone.ordinals, tombstone.range);
    shard_->chunks->tombstones().Add(std::move(tombstone));
    return Status::Ok();
  }

  Status OnFloor(std::string_view body) {
    Timestamp floor = kMinTimestamp;
    if (Status status = DecodeFloor(body, &floor); !status.ok()) return status;
    shard_->chunks->tombstones().RaiseFloor(floor);
    return Status::Ok();
  }

  Status OnRemoveSeries(Lsn lsn, std::string_view body) {
    if (Status status = DecodeRemoveSeries(body, &ordinals_); !status.ok()) return status;
    if (accept_) {
      const std::vector<Ordinal> removed = ordinals_;
      if (Status status = LookUp(); !status.ok()) return status;
      for (const Ordinal ordinal : removed) {
        if (!unknown_.Contains(ordinal)) ordinals_.push_back(ordinal);
      }
    }
    for (const Ordinal ordinal : ordinals_) {
      if (lsn > index_applied_) {
        --series_gained_;
        if (accept_) replayed_.removed.Add(ordinal);
        if (Status status = shard_->index->Remove(ordinal, lsn); !status.ok() && status.code() != StatusCode::kNotFound) {
          return Damaged(status, &damage_);
        }
      }
      MutexLock lock(&shard_->removed_mu);
      shard_->removed.Add(ordinal);
      shard_->removals.fetch_add(1);
    }
    return Status::Ok();
  }

  // ---- With Options::accept_data_loss ----
  // Which of ordinals_ (then empty) are of no series: the record of its creation was lost. What was removed is known.
  Status LookUp() {
    std::sort(ordinals_.begin(), ordinals_.end());
    ordinals_.erase(std::unique(ordinals_.begin(), ordinals_.end()), ordinals_.end());
    std::erase_if(ordinals_, [this](Ordinal o) { return known_.Contains(o) || unknown_.Contains(o); });
    std::vector<Labels> labels;
    if (Status status = shard_->index->LabelsOf(ordinals_, &labels, true); !status.ok()) return Damaged(status, &damage_);
    for (std::size_t i = 0; i < ordinals_.size(); ++i) {
      (labels[i].empty() ? unknown_ : known_).Add(ordinals_[i]);
      next_ordinal_ = std::max<std::uint64_t>(next_ordinal_, ordinals_[i] + std::uint64_t{1});
    }
    ordinals_.clear();
    return Status::Ok();
  }
  // A series that is created again was removed before, by a record that may be lost.
  Status RemoveFormer(const SeriesRecordEntry& entry, Lsn lsn) {
    const SeriesKey key{StableHash(entry.labels), entry.labels};
    std::optional<Ordinal> former = shard_->index->FindResident(key);
    if (!former) {
      std::vector<std::optional<Ordinal>> stored;
      if (Status status = shard_->index->FindStored({&key, 1}, &stored); !status.ok()) return status;
      former = stored[0];
    }
    if (!former || *former >= entry.ordinal) return Status::Ok();
    --series_gained_;
    replayed_.removed.Add(*former);
    return shard_->index->Remove(*former, lsn);
  }

  Core* const core_;
  Shard* const shard_;
  const bool accept_;
  bool met_loss_ = false;
  bool met_noted_ = false;
  bool end_unknown_ = false;
  OrdinalSet known_;
  OrdinalSet unknown_;
  ReplayedSeries replayed_;
  const IndexState index_;
  const std::uint64_t epoch_;
  const Lsn index_applied_;
  const Lsn chunk_applied_;
  // An open that was cut short may have stored what is behind holes. Behind here they are told, and behind the other what is
  // dropped since its series is not known.
  const Lsn stored_whole_;
  const Lsn dropped_told_to_;
  const std::function<void(const ReplayProgress&)>& on_replay_;
  std::uint64_t start_ns_ = 0;
  Lsn after_ = 0;
  Lsn last_row_ = 0;
  std::uint64_t told_bytes_ = 0;
  std::uint64_t told_ns_ = 0;
  std::uint64_t bytes_to_look_ = 0;
  std::int64_t kept_bytes_ = 0;  // what the last checkpoint of replay left in memory
  std::int64_t held_bytes_ = 0;  // as CheckHeld last counted them
  WalEnd end_;
  Lsn stored_to_ = 0;
  Status damage_;
  Status failure_;
  std::uint64_t next_ordinal_ = 0;
  std::int64_t series_gained_ = 0;
  std::uint64_t ensured_ = 0;
  std::vector<SeriesRecordEntry> series_;
  std::vector<SampleEntry> samples_;
  std::vector<ItemEntry> items_;
  std::vector<Ordinal> ordinals_;
};

// So that places in the logs of different shards can be compared (WalPlace).
Status Core::FindEpochs() {
  for (const auto& shard : shards_) {
    const std::pair<KvEngine*, FamilyId> families[] = {{log_engine_.get(), shard->wal_family},
                                                       {data_engine_.get(), shard->index_family},
                                                       {data_engine_.get(), shard->chunk_family}};
    for (const auto& [engine, family] : families) {
      Result<Epoch> epoch = engine->CurrentEpoch(family);
      if (!epoch.ok()) return epoch.status();
      epoch_before_ = std::max(epoch_before_, *epoch);
    }
  }
  return Status::Ok();
}

Status Core::AcquireEpochs(Shard* shard, std::uint64_t* epoch) {
  *epoch = 0;
  const std::pair<KvEngine*, FamilyId> families[] = {
      {log_engine_.get(), shard->wal_family}, {data_engine_.get(), shard->index_family}, {data_engine_.get(), shard->chunk_family}};
  for (const auto& [engine, family] : families) {
    Result<Epoch> current = engine->CurrentEpoch(family);
    if (!current.ok()) return current.status();
    *epoch = std::max(*epoch, *current);
  }
  *epoch = std::max(*epoch, epoch_before_) + 1;
  if (options_.read_only) return Status::Ok();
  for (const auto& [engine, family] : families) {
    if (Status status = engine->AcquireEpoch(family, *epoch); !status.ok()) return status;
  }
  return Status::Ok();
}

Status Core::RecoverShard(Shard* shard, const HandedOut* earlier, Status* damage) {
  std::uint64_t epoch = 0;
  if (Status status = AcquireEpochs(shard, &epoch); !status.ok()) return status;
  CHRONOLITH_FAILPOINT("open.epochs_acquired");
  const Epoch write_epoch = options_.read_only ? 0 : epoch;

  shard->index = std::make_unique<IndexShard>(
      data_engine_.get(),
      IndexShardOptions{.shard = shard->id, .family = shard->index_family, .epoch = write_epoch, .cache = cache_.get()});
  Result<IndexState> index_state = shard->index->Load();
  if (!index_state.ok()) return Damaged(index_state.status(), damage);
  shard->chunks =
      std::make_unique<ChunkStore>(data_engine_.get(), ChunkStoreOptions{.shard = shard->id,
                                                                         .family = shard->chunk_family,
                                                                         .epoch = write_epoch,
                                                                         .window_ms = manifest_.window_ms,
                                                                         .max_samples_per_chunk = options_.max_samples_per_chunk,
                                                                         .duplicate_policy = options_.duplicate_policy,
                                                                         .expiry = shard->expiry});
  Result<ChunkState> chunk_state = shard->chunks->Load();
  if (!chunk_state.ok()) return Damaged(chunk_state.status(), damage);
  shard->head = std::make_unique<HeadShard>(HeadOptions{.epoch = epoch,
                                                        .window_ms = manifest_.window_ms,
                                                        .max_samples_per_chunk = options_.max_samples_per_chunk,
                                                        .duplicate_policy = options_.duplicate_policy});

  const Lsn applied = std::min(index_state->applied_lsn, chunk_state->applied_lsn);
  const std::optional<Lsn> noted = NotedWhole(shard->id);
  ReplayVisitor visitor(this, shard, *index_state, {chunk_state->applied_lsn, chunk_state->floor, epoch}, noted);
  // Where an open that gave up records was cut short what it stored is read again, for what is to be told of it. Without acceptance
  // the shard is refused whatever its records are: only its holes are looked for.
  const bool refused = noted && !options_.accept_data_loss;
  const Lsn after = refused ? std::numeric_limits<Lsn>::max() : std::min(applied, noted.value_or(applied));
  shard->stored_whole = after;
  const Result<Lsn> last_row = LastWalRow(log_engine_.get(), shard->wal_family, after);
  if (!last_row.ok()) return WithAffected(last_row.status(), InstanceRole::kLog);
  visitor.Begin(after, *last_row);
  WalEnd end;
  std::vector<std::pair<Lsn, std::uint64_t>> rows;
  const auto log_damaged = [&](const Status& status) {
    *damage = status.WithContext("family wal." + std::to_string(shard->id) + " of " + LogInstancePath(path_, manifest_));
    return *damage;
  };
  if (Status status = ReadWal(log_engine_.get(), shard->wal_family, shard->id, after, &stop_replay_, &visitor, &rows, &end);
      !status.ok()) {
    // A table of the log instance: it could not be flushed or trimmed beside the shard either.
    if (end.unreadable) return WithAffected(status, InstanceRole::kLog);
    *damage = visitor.damage();
    return damage->ok() && visitor.failure().ok() && IsDamage(status) ? log_damaged(status) : status;
  }
  if (options_.read_only) {
    if (Status status = visitor.CheckHeld(); !status.ok()) return status;
  }
  shard->log_end = {end.last_epoch, end.last_group};
  visitor.End();
  CHRONOLITH_FAILPOINT("open.replayed");
  Lsn log_end = std::max(end.last_lsn, end.trimmed_to);
  const Lsn applied_most = std::max(index_state->applied_lsn, chunk_state->applied_lsn);
  bool end_unknown = visitor.end_unknown() || unfinished_.ends.contains(shard->id);
  if (log_end < applied_most && options_.accept_data_loss) {
    visitor.Lose(log_end + 1, applied_most);
    if (!unfinished_.tables.contains(shard->id)) shard->lost_before = WalPlace{std::numeric_limits<std::uint64_t>::max(), 0};
    end_unknown = true;
    log_end = applied_most;
  }
  if (log_end < applied_most) {
    if (!options_.read_only) {
      // What was lost is no newer than the state row of the chunks; that of the index does not tell.
      const bool told = index_state->applied_lsn <= chunk_state->applied_lsn;
      shard->lost_before = told ? WalPlace{chunk_state->epoch + 1, 0} : WalPlace{std::numeric_limits<std::uint64_t>::max(), 0};
      shard->log_damaged = true;
      return log_damaged(LogFilesLost(shard->id, log_end, applied_most));
    }
    shard->data_past_log = applied_most;
    log_end = applied_most;
  }
  if (refused) {
    shard->log_damaged = true;
    return log_damaged(DataLoss("part of it was given up as lost, by an open that did not come to its end"));
  }
  if (end.trimmed_to > applied && options_.accept_data_loss) {
    const auto behind = std::move(shard->loss.lost);
    shard->loss.lost.clear();
    visitor.Lose(applied + 1, end.trimmed_to);
    for (const ShardLoss::Range& range : behind) visitor.Lose(range.first, range.last);
  } else if (end.trimmed_to > applied) {
    shard->log_damaged = true;
    return log_damaged(DataLoss(Lacks(shard->id, applied + 1, end.trimmed_to) + ": it was trimmed up to LSN " +
                                std::to_string(end.trimmed_to) + ", but the data instance holds records only up to " +
                                std::to_string(applied) + ": data files were lost"));
  }
  // What an open that was cut short gave up shows no more, where that had trimmed the log or files were put back meanwhile.
  const bool unseen = noted && (!visitor.met_noted() || end.trimmed_to > after);
  std::uint64_t next_ordinal = std::max(index_state->next_ordinal, visitor.next_ordinal());
  SetSeries(shard, index_state->series + static_cast<std::uint64_t>(visitor.series_gained()));
  // Whatever was met: what another shard has lost may have held records of this one.
  bool stored_more = false;
  if (options_.accept_data_loss) {
    const IndexState whole = noted ? IndexState() : *index_state;
    const Status status = AdoptStored(shard, whole, visitor.replayed(), log_end + 1, &next_ordinal, &stored_more);
    if (!status.ok()) return Damaged(status, damage);
  }
  // A part is stored of records that nothing else shows to be lost.
  end_unknown = end_unknown || (stored_more && !noted && !shard->has_loss);
  if (earlier != nullptr) {
    // References from before the reopening: to a series whose record was lost, or that was removed, nothing may be appended. Unless
    // it was the removal's record that was lost.
    OrdinalSet gone = earlier->gone;
    if (!gone.empty()) {
      const Result<OrdinalSet> live = shard->index->Select({});
      if (!live.ok()) return Damaged(live.status(), damage);
      gone.Subtract(*live);
    }
    MutexLock lock(&shard->removed_mu);
    shard->removed.UnionWith(gone);
    shard->kept_labels = earlier->kept_labels;
    if (next_ordinal < earlier->next_ordinal) {
      shard->removed.AddRange(static_cast<Ordinal>(next_ordinal), static_cast<Ordinal>(earlier->next_ordinal - 1));
      next_ordinal = earlier->next_ordinal;
    }
    if (!shard->removed.empty()) shard->removals.fetch_add(1);
  }
  shard->next_ordinal.store(next_ordinal);
  if (!options_.read_only) {
    MeasuredLock lock(&shard->head->mu());
    shard->head->EnsureOrdinals(next_ordinal);
  }
  shard->applied_lsn.store(std::max(applied, visitor.stored_to()));
  wal_->Restore(shard->id, end, log_end + 1, epoch, rows);
  shard->wal = &wal_->shard(shard->id);
  shard->expiry->RaiseFloor(chunk_state->floor);
  shard->opened_behind = log_end;
  if (shard->has_loss) SkipOrdinals(shard);
  if (end_unknown || unseen) SkipUnknownEnd(shard);
  if (unseen) shard->loss.uncertain_from = after + 1;
  ReportLoss(*shard);
  return Status::Ok();
}

// The reader's log was opened before its data, which may go further: then the log as it is now must go at least as far.
Status Core::CheckLogAgain() {
  if (std::all_of(shards_.begin(), shards_.end(), [](const auto& shard) { return shard->data_past_log == 0; })) return Status::Ok();
  Result<std::unique_ptr<KvEngine>> log = OpenLog();
  if (!log.ok()) return log.status();
  for (const auto& shard : shards_) {
    if (shard->data_past_log == 0) continue;
    WalEnd end;
    Status status = ReadWal(log->get(), shard->wal_family, shard->id, 0, nullptr, nullptr, nullptr, &end);
    const Lsn log_end = std::max(end.last_lsn, end.trimmed_to);
    if (status.ok() && log_end < shard->data_past_log) status = LogFilesLost(shard->id, log_end, shard->data_past_log);
    if (status.code() == StatusCode::kDataLoss) {
      status = DataLoss(
          "family wal." + std::to_string(shard->id) + " of " + LogInstancePath(path_, manifest_) + ": " + status.message() +
          ". Put the log back, or restore a snapshot or a backup of the store, or give up what the log has lost: " + LossCommand());
    }
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

// The first record of this epoch: it says where the one before ended.
Status Core::BeginEpoch(Shard* shard) {
  std::string record;
  AppendEpochRecord(shard->wal->epoch(), shard->wal->last_lsn(), &record);
  if (Status status = wal_->Reserve(shard->id, record.size(), kNoDeadline); !status.ok()) return status;
  MeasuredLock lock(&shard->head->mu());
  shard->wal->Append(record, 1);
  CHRONOLITH_FAILPOINT("open.epoch_published");
  return Status::Ok();
}

}  // namespace chronolith

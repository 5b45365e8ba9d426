// Upkeep of an open store: checkpoints, retention, and the thread that does them, and compaction, in the background.
//
// A checkpoint, numbered as the invariants need it:
//   1. cut      per shard, under its series and append locks: LSN c; what the head holds of it is marked
//   2. sync     the log past everything that may be copied (log before data)
//   3. index    rows of new series, postings, metadata; flushed: durable before any chunk row that uses their ordinals
//   4. chunks   changed open chunks, then closed ones, in slices, each after a sync past what it may hold; state row; flushed
//   5. trim     log rows up to c, now that both families have persisted applied_lsn = c
// Writers go on all the while; what they add after the cut may be stored too, and is replayed on top after a crash: the same
// samples again, with a later epoch.
#include "base/failpoint.h"
#include "base/heap.h"
#include "query/damage_policy.h"
#include "storage/core.h"

namespace chronolith {
namespace {

constexpr std::int64_t kRetryMs = 1000;
constexpr std::chrono::seconds kMarkPatience{5};   // for a log that has no room; the next checkpoint has a mark of its own
constexpr std::chrono::minutes kFailuresApart{1};  // of one kind, in the log
// Packing chunks costs some 25 ns a sample (bench/chunk_bench). Where checkpoints follow each other faster than this, the writers
// need the cores.
constexpr std::chrono::seconds kUnhurried{20};
constexpr std::chrono::milliseconds kStopLook{50};  // how often a thread that waits for its place looks whether the store closes

}  // namespace

Status Core::CheckpointIndex() {
  std::vector<FamilyId> families;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    if (!shard.quarantine.ok()) continue;
    const IndexState state{cuts_[i], cut_ordinals_[i], cut_series_[i]};
    if (Status status = shard.index->Checkpoint(state); !status.ok()) return status;
    families.push_back(shard.index_family);
  }
  CHRONOLITH_FAILPOINT("checkpoint.index_written");
  return data_engine_->Flush(families);
}

// Each slice is stored after a sync past what it may hold. Slices of several shards share one.
Status Core::CheckpointChunks(Packing closed_chunks, Packing open_chunks) {
  const std::uint64_t slice_bytes = std::min(kCheckpointSliceBytes, options_.memory_budget->limit_bytes() / 64);
  std::vector<std::pair<Shard*, CheckpointSlice>> slices;
  std::uint64_t bytes = 0;
  const auto store = [&] {
    if (slices.empty()) return Status::Ok();
    Status status = SyncLog();
    CHRONOLITH_FAILPOINT("checkpoint.slices_synced");
    for (auto& [shard, slice] : slices) {
      if (status.ok()) {
        status = shard->chunks->Write(std::move(slice.chunks), slice.open ? open_chunks : closed_chunks);
      }
      CHRONOLITH_FAILPOINT("checkpoint.slice_written");
    }
    slices.clear();
    bytes = 0;
    return status;
  };
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    CheckpointSlice slice;
    while (shard->head->TakeSlice(slice_bytes, &slice)) {
      if (slice.chunks.empty()) continue;
      bytes += slice.bytes;
      slices.emplace_back(shard.get(), std::move(slice));
      if (bytes < 2 * slice_bytes) continue;
      if (Status status = store(); !status.ok()) return status;
    }
  }
  if (Status status = store(); !status.ok()) return status;
  std::vector<FamilyId> families;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    if (!shard.quarantine.ok()) continue;
    const ChunkState state{cuts_[i], shard.chunks->tombstones().floor(), shard.wal->epoch()};
    if (Status status = shard.chunks->Finish(state); !status.ok()) return status;
    families.push_back(shard.chunk_family);
  }
  CHRONOLITH_FAILPOINT("checkpoint.state_written");
  return data_engine_->Flush(families);
}

Status Core::Checkpoint() {
  if (options_.read_only) return FailedPrecondition("the store is open read-only");
  MutexLock upkeep(&upkeep_mu_);
  return CheckpointLocked(Haste::kNone);
}

// The upkeep that waits here for room in the log is what makes some: again and again, since others may take it.
Status Core::SyncLog() {
  const Deadline patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.backpressure_wait_ms);
  while (true) {
    Status status = wal_->SyncAll(std::chrono::milliseconds(kRetryMs));
    if (status.code() != StatusCode::kResourceExhausted || std::chrono::steady_clock::now() >= patience) return status;
    if (Status room = wal_->FlushTrimmed(); !room.ok()) return room;
  }
}

Status Core::CheckpointLocked(Haste haste) {
  const Status status = StoreHeads(haste);
  NoteRoom(status);
  return status;
}

Status Core::StoreHeads(Haste haste) {
  if (wal_->failed()) return wal_->failure();  // the head may hold what the log lost: it is never stored
  if (wal_->stalled()) {                       // nothing can be synced before there is room for it
    if (Status status = wal_->FlushTrimmed(); !status.ok()) return status;
  }
  ScopedTimer timer(&checkpoint_duration_);
  const auto now = std::chrono::steady_clock::now();
  const bool unhurried = now - std::exchange(checkpoint_began_, now) >= kUnhurried;
  const Packing closed_chunks = haste == Haste::kNone || unhurried ? Packing::kFloats : Packing::kNone;
  const Packing open_chunks = haste == Haste::kNone ? Packing::kFloats : Packing::kNone;
  std::optional<ArchiveMark> mark = MarkOfNow();
  const std::uint64_t bytes = bytes_since_checkpoint_.exchange(0, std::memory_order_relaxed);
  cuts_.resize(shards_.size());
  cut_ordinals_.resize(shards_.size());
  cut_series_.resize(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    if (!shard.quarantine.ok()) continue;
    MeasuredLock series_lock(&shard.series_mu);
    MeasuredLock append_lock(&shard.head->mu());
    cuts_[i] = shard.wal->last_lsn();
    cut_ordinals_[i] = shard.next_ordinal.load();
    cut_series_[i] = shard.series_total.load();
    shard.head->BeginCheckpoint(cut_ordinals_[i]);
    shard.index->Cut();
    CHRONOLITH_FAILPOINT("checkpoint.cut");
  }
  Status status = SyncLog();
  CHRONOLITH_FAILPOINT("checkpoint.synced");
  if (status.ok()) status = CheckpointIndex();
  CHRONOLITH_FAILPOINT("checkpoint.index_flushed");
  if (status.ok()) status = CheckpointChunks(closed_chunks, open_chunks);
  CHRONOLITH_FAILPOINT("checkpoint.chunks_flushed");
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    if (!shard.quarantine.ok()) continue;
    if (!status.ok()) {
      shard.head->AbortCheckpoint();
      continue;
    }
    shard.head->FinishCheckpoint();
    shard.applied_lsn.store(cuts_[i]);
  }
  CHRONOLITH_FAILPOINT("checkpoint.finished");
  if (status.ok()) {
    archive_mark_ = std::move(mark);
    status = TrimLog();
  }
  CHRONOLITH_FAILPOINT("trim.flushed");
  if (!status.ok()) {
    bytes_since_checkpoint_.fetch_add(bytes, std::memory_order_relaxed);  // still to be done
    return status.WithContext("checkpoint");
  }

  // Series that have been silent for two windows give their memory back.
  Timestamp newest = kMinTimestamp;
  for (const auto& shard : shards_) newest = std::max(newest, shard->head->newest());
  if (newest > kMinTimestamp + 3 * manifest_.window_ms && newest - manifest_.window_ms > released_before_) {
    released_before_ = newest - 2 * manifest_.window_ms;
    for (const auto& shard : shards_) shard->index->Evict(shard->head->ReleaseIdle(released_before_));
  }
  checkpoints_.Add();
  last_checkpoint_ms_.store(options_.clock->NowMs());
  (void)SettleMemory();
  ReleaseWhereScarce();
  over_budget_.store(false);  // whoever else fills the budget: some writes are admitted before the next look
  WakeAdmitted();
  ReturnFreedMemory(options_.memory_budget->limit_bytes());
  return Status::Ok();
}

// What the data instance holds leaves the log, past the archiver if there is one.
Status Core::TrimLog() {
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    if (Status status = wal_->Trim(shard->id, shard->applied_lsn.load()); !status.ok()) {
      if (status.code() != StatusCode::kResourceExhausted) wal_->Fail(status);  // else it was not written, and can be later
      return status;
    }
  }
  TellMark();
  return wal_->FlushTrimmed();
}

// Before the cuts of a checkpoint, which then hold all rows up to the mark whole.
std::optional<ArchiveMark> Core::MarkOfNow() const {
  if (dynamic_cast<ArchiveMarks*>(options_.log_archiver.get()) == nullptr || !quarantine_.ok()) return std::nullopt;
  ArchiveMark mark;
  mark.time_ms = options_.clock->NowMs();  // before the ticket: groups that it does not stand for begin later
  const CommitToken ticket = wal_->Ticket();
  if (!wal_->WaitLogged(ticket, std::chrono::steady_clock::now() + kMarkPatience).ok()) return std::nullopt;
  mark.epoch = shards_.front()->wal->epoch();
  mark.group = ticket.generation;
  return mark;
}

// What the last checkpoint cut has left the log, in all shards: says so, once.
void Core::TellMark() {
  if (!archive_mark_ || wal_->HasArchiveBacklog()) return;
  for (const auto& shard : shards_) archive_mark_->archived_to.push_back(shard->wal->trimmed_to());
  dynamic_cast<ArchiveMarks*>(options_.log_archiver.get())->OnMark(*archive_mark_);
  archive_mark_.reset();
}

// ---- Retention ----

Status Core::LogFloor(Shard* shard, Timestamp floor) {
  std::string record;
  AppendFloorRecord(floor, &record);
  if (Status status = wal_->Reserve(shard->id, record.size(), kNoDeadline); !status.ok()) return status;
  MeasuredLock lock(&shard->head->mu());
  shard->wal->Append(record, 1);
  shard->chunks->tombstones().RaiseFloor(floor);
  return Status::Ok();
}

// The floor is the store's, but each shard logs it for itself: a crash or an error half-way leaves some behind. The highest counts,
// also for a reader, which only cannot log it.
Status Core::AgreeOnFloor() {
  Timestamp floor = kMinTimestamp;
  for (const auto& shard : shards_) floor = std::max(floor, shard->chunks->tombstones().floor());
  if (floor == kMinTimestamp) return Status::Ok();
  bool logged = false;
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok() || shard->chunks->tombstones().floor() == floor) continue;
    if (options_.read_only) {
      shard->chunks->tombstones().RaiseFloor(floor);
      continue;
    }
    if (Status status = LogFloor(shard.get(), floor); !status.ok()) return status;
    logged = true;
  }
  return logged ? SyncLog() : Status::Ok();
}

// The start of the newest window that has a stored chunk; kMinTimestamp: there is none.
Result<Timestamp> Core::NewestStoredWindow() const {
  Timestamp newest = kMinTimestamp;
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    Result<std::vector<ChunkStore::WindowSize>> sizes = shard->chunks->Windows();
    if (IsDamage(sizes.status())) continue;
    if (!sizes.ok()) return sizes.status();
    if (!sizes->empty()) newest = std::max(newest, sizes->back().window);
  }
  return newest;
}

Result<Timestamp> Core::WantedFloor() const {
  Timestamp newest = kMinTimestamp;
  Timestamp floor = kMinTimestamp;
  for (const auto& shard : shards_) {
    newest = std::max(newest, shard->head->newest());
    floor = std::max(floor, shard->chunks->tombstones().floor());
  }
  Timestamp wanted = floor;
  if (newest == kMinTimestamp && options_.retention_ms > 0) {  // opened with all of the log trimmed, and nothing written since
    Result<Timestamp> stored = NewestStoredWindow();
    if (!stored.ok()) return stored.status();
    newest = *stored;
  }
  // One sample from the future expires nothing: the earlier of now and the newest sample counts.
  newest = std::min<Timestamp>(newest, options_.clock->NowMs());
  if (options_.retention_ms > 0 && newest > kMinTimestamp + options_.retention_ms)
    wanted = std::max(wanted, newest - options_.retention_ms);
  if (options_.retention_bytes > 0) {
    std::map<Timestamp, std::uint64_t> windows;
    std::uint64_t total = 0;
    for (const auto& shard : shards_) {
      if (!shard->quarantine.ok()) continue;
      Result<std::vector<ChunkStore::WindowSize>> sizes = shard->chunks->Windows();
      if (IsDamage(sizes.status())) {  // it must not keep the others from expiring
        Log(LogLevel::kError, "retention by size without shard " + std::to_string(shard->id) + ": " + sizes.status().message());
        continue;
      }
      if (!sizes.ok()) return sizes.status();
      for (const ChunkStore::WindowSize& w : *sizes) {
        if (w.window + manifest_.window_ms <= floor) continue;
        windows[w.window] += w.bytes;
        total += w.bytes;
      }
    }
    for (auto it = windows.begin(); it != windows.end() && total > options_.retention_bytes && std::next(it) != windows.end();
         ++it) {
      total -= it->second;
      wanted = std::max(wanted, it->first + manifest_.window_ms);
    }
  }
  // Raised in steps of a sixteenth of a window: a floor record a checkpoint would be noise.
  if (wanted == floor || (floor != kMinTimestamp && wanted - floor < manifest_.window_ms / 16)) return floor;
  return wanted;
}

Status Core::ApplyRetention() {
  if (options_.read_only || (options_.retention_ms == 0 && options_.retention_bytes == 0)) return Status::Ok();
  if (Status status = AgreeOnFloor(); !status.ok()) return status;
  Timestamp floor = kMinTimestamp;
  for (const auto& shard : shards_) floor = std::max(floor, shard->chunks->tombstones().floor());
  const Result<Timestamp> raised = WantedFloor();
  if (!raised.ok()) return raised.status();
  const Timestamp wanted = *raised;
  return wanted <= floor ? Status::Ok() : RaiseFloor(wanted);
}

Status Core::RaiseFloor(Timestamp floor) {
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok() || shard->chunks->tombstones().floor() >= floor) continue;
    if (Status status = LogFloor(shard.get(), floor); !status.ok()) return status;
  }
  if (Status status = SyncLog(); !status.ok()) return status;
  for (const auto& shard : shards_) {
    if (!shard->quarantine.ok()) continue;
    shard->expiry->RaiseFloor(floor);
    if (Status status = shard->chunks->Expire(); !status.ok()) return status;
  }
  return Status::Ok();
}

// ---- The thread ----

bool Core::TakePlace() {
  if (!options_.thread_budget || has_place_) return true;
  while (!options_.thread_budget->AcquireUntil(std::chrono::steady_clock::now() + kStopLook)) {
    MutexLock lock(&wake_mu_);
    if (stop_) return false;
  }
  has_place_ = true;
  return true;
}

void Core::LeavePlace() {
  if (std::exchange(has_place_, false)) options_.thread_budget->Release();
}

// The host's own compaction or snapshot may hold the mutex for long: other stores have the place meanwhile.
bool Core::LockUpkeep() {
  while (TakePlace()) {
    if (upkeep_mu_.TryLock()) return true;
    LeavePlace();
    MutexLock wait(&upkeep_mu_);
  }
  return false;
}

// Until there is something to do, or it is time. False: the store is being closed.
bool Core::AwaitUpkeep() {
  const auto began = std::chrono::steady_clock::now();
  while (true) {
    {
      MutexLock lock(&wake_mu_);
      // While writers are refused nothing is logged that would wake this thread: it tries again by itself.
      const bool refused = over_budget_.load() || disk_low_.load() || wal_->stalled();
      const std::int64_t interval_ms = refused ? kRetryMs : options_.checkpoint_interval_ms;
      const Deadline until = interval_ms == 0 ? kNoDeadline : began + std::chrono::milliseconds(interval_ms);
      const Deadline look = std::chrono::steady_clock::now() + std::chrono::milliseconds(kRetryMs);
      while (!stop_ && !wanted_) {
        if (!wake_cv_.WaitUntil(&wake_mu_, std::min(until, look))) break;
      }
      if (stop_) return false;
      if (wanted_ || std::chrono::steady_clock::now() >= until) {
        wanted_ = false;
        checkpoint_asked_.store(false);
        return true;
      }
    }
    if (!wal_->failed()) LookAtDisk();  // others write to it, too: the store must not learn of it from a log that failed
  }
}

// What stands for long is told now and then.
void Core::LogUpkeepFailure(const Status& status) {
  if (status.code() == StatusCode::kCancelled) return;
  const auto now = std::chrono::steady_clock::now();
  if (status.code() == upkeep_failure_ && now < upkeep_failure_told_ + kFailuresApart) return;
  upkeep_failure_ = status.code();
  upkeep_failure_told_ = now;
  Log(LogLevel::kError, "background upkeep: " + status.ToString());
}

void Core::UpkeepLoop() {
  while (AwaitUpkeep()) {
    if (wal_->failed()) continue;
    if (!LockUpkeep()) return;
    Status status;
    const bool checkpoint = bytes_since_checkpoint_.load() > 0 || over_budget_.load() || wal_->stalled();
    if (checkpoint) {
      status = CheckpointLocked(Haste::kBackground);
    } else if (wal_->HasArchiveBacklog()) {  // the store is idle, perhaps the archiver is back
      status = TrimLog();
    }
    upkeep_mu_.Unlock();
    LookAtDisk(true);
    if (status.ok() && checkpoint) status = ApplyRetention();
    if (status.ok()) status = CompactInBackground();
    LeavePlace();
    if (!status.ok()) LogUpkeepFailure(status);
  }
}

// ---- Stats ----

void Core::FillStats(StorageStats* stats) const {
  wal_->FillStats(stats);
  for (const auto& shard : shards_) {
    ShardStats s;
    s.shard = shard->id;
    s.serving = shard->serving.load(std::memory_order_acquire);
    s.replayed_records = shard->replayed_records.load();
    s.replayed_bytes = shard->replayed_bytes.load();
    s.replay_records_expected = shard->replay_records_expected.load();
    s.replay_seconds_left = shard->replay_seconds_left.load();
    if (!s.serving) {
      stats->shards.push_back(std::move(s));
      continue;
    }
    wal_->FillStats(shard->id, &s);
    shard->index->FillStats(&s);
    shard->head->FillStats(&s);
    shard->chunks->FillStats(&s);
    s.locks.push_back(shard->series_mu.WriteStats("series"));
    s.quarantine = shard->quarantine.message();
    s.applied_lsn = shard->applied_lsn.load();
    s.samples_refused = shard->samples_refused.Get();
    s.series_created = shard->series_created.Get();
    s.series_removed = shard->series_removed.Get();
    s.series_released = shard->series_released.Get();
    s.series_total = shard->series_total.load();
    for (std::size_t i = 0; i < s.write_latency.size(); ++i) s.write_latency[i] = shard->write_latency[i].Snapshot();
    stats->shards.push_back(std::move(s));
  }
  if (!closed_) {  // closed but still there: the store could not be reopened yet
    stats->log_engine = log_engine_->Stats();
    stats->data_engine = data_engine_->Stats();
    for (const auto& shard : shards_) {  // what was not read was not counted
      const FamilyStats& log = stats->log_engine.families[shard->wal_family];
      if (stats->shards[shard->id].serving && !shard->quarantine.ok())
        stats->shards[shard->id].wal_bytes_pinned = log.buffered_bytes + log.file_bytes;
    }
  }
  if (scrubber_) scrubber_->FillStats(stats);
  stats->checkpoint_duration = checkpoint_duration_.Snapshot();
  stats->checkpoints = checkpoints_.Get();
  stats->last_checkpoint_ms = last_checkpoint_ms_.load();
  stats->memory_used_bytes = OwnMemoryBytes() + (closed_ ? 0 : EngineMemoryBytes());
  stats->memory_limit_bytes = options_.memory_budget->limit_bytes();
  stats->replay_seconds = replay_seconds_.load();
  stats->compacted_windows = compacted_windows_.Get();
  stats->replay_checkpoints = replay_checkpoints_.Get();
  for (const auto& shard : shards_) {
    if (!stats->shards[shard->id].serving || !shard->has_loss) continue;
    stats->losses.push_back(shard->loss);
    stats->losses.back().shard = shard->id;
  }
  stats->engine = options_.engine;
}

}  // namespace chronolith

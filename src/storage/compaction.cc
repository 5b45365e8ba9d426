// Storage::Compact, and the removal of series without data.
//
// One call, numbered:
//   1. checkpoint   what the log holds becomes rows; the retention floor is raised
//   2. merge        shard by shard, window by window, under the upkeep lock, which is let go of while the pace is kept: rows
//                   (block/chunk_compactor.h says what makes that safe), then series without data leave the index
//   3. files        the engine writes the shard's chunk files anew, some windows at a time, without the lock
//   4. index        where series were removed a checkpoint; then the files of the indexes (a dry run reads them only)
// Each step leaves a store that reads the same, so it may end anywhere: by being cancelled, an error or a crash.
#include <algorithm>
#include <thread>

#include "base/counters.h"
#include "base/failpoint.h"
#include "query/damage_policy.h"
#include "storage/core.h"
#include "storage/pacer.h"

namespace chronolith {
namespace {

constexpr std::size_t kKeptLabelsMax = 65'536;  // of removed series of one shard
// Files that lie across the ends of what an engine compacts are written twice, so that should be several files.
constexpr std::uint64_t kEnginePieceBytes = 64ULL << 20;
constexpr std::uint64_t kPauseBytes = 1ULL << 20;  // of an index that is read, between two looks at the pace
constexpr std::chrono::milliseconds kLook{100};    // at what wakes nobody, while the pace is kept

}  // namespace

// One call: what it was asked for, how far it is, and its pace.
class Core::CompactRun {
 public:
  explicit CompactRun(const CompactOptions& options) : options_(options), pacer_(options.bytes_per_second, 0) {}

  const CompactOptions& options() const { return options_; }
  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }
  std::uint64_t go_on_ns() const { return go_on_ns_; }

  void Expect(std::uint64_t windows) { progress_.windows_total += passes() * windows; }
  // The next shard, of which so many windows were expected.
  void Begin(const ShardCompactResult& shard, std::uint64_t windows) {
    progress_.shard = shard.shard;
    first_ = progress_.windows_done;
    expected_ = windows;
    paid_ = BytesOf(shard);
  }
  // What the figures have more than the last time was read and written.
  void OnMerged(const ShardCompactResult& shard) {
    const std::uint64_t bytes = BytesOf(shard);
    OnBytes(bytes - std::exchange(paid_, bytes));
    OnWindows(std::min(shard.windows, expected_));
  }
  // The engine has written anew what began with so many windows, and read and wrote so many bytes.
  void OnFiles(std::uint64_t windows, std::uint64_t bytes) {
    OnBytes(bytes);
    OnWindows(expected_ + std::min(windows, expected_));
  }
  void OnBytes(std::uint64_t bytes) {
    progress_.bytes += bytes;
    go_on_ns_ = pacer_.Next(bytes, NowNanos());
  }
  void End() { OnWindows(passes() * expected_); }

  OrdinalSet with_data;  // series of the shard that have rows

 private:
  std::uint64_t passes() const { return options_.dry_run ? 1 : 2; }
  std::uint64_t BytesOf(const CompactFigures& figures) const {
    return figures.bytes_before + (options_.dry_run ? 0 : figures.bytes_written);
  }
  void OnWindows(std::uint64_t of_shard) {
    progress_.windows_done = first_ + of_shard;
    if (options_.progress) options_.progress(progress_);
  }

  const CompactOptions& options_;
  Pacer pacer_;
  CompactProgress progress_;
  std::uint64_t first_ = 0;     // windows that were done before the shard
  std::uint64_t expected_ = 0;  // of the shard
  std::uint64_t paid_ = 0;
  std::uint64_t go_on_ns_ = 0;
};

// Waits until what was read and written has been paid for. Nothing should be held.
Status Core::Pause(const CompactRun& run) const {
  while (true) {
    if (run.cancelled()) return Cancelled("the compaction was cancelled");
    if (!options_.read_only && wal_->failed()) return wal_->failure();  // Reopen waits for this call
    const std::uint64_t now = NowNanos();
    if (now >= run.go_on_ns()) return Status::Ok();
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(kLook, std::chrono::nanoseconds(run.go_on_ns() - now)));
  }
}

// ---- Series without data ----

// What is not in the index was removed, by this process or an earlier one: nothing may be appended to it, the head needs no entry
// for it, and its labels go when so many others have been removed since. `end`: no series from there on is looked at.
Status Core::ForgetRemoved(Shard* shard, std::uint64_t end, const OrdinalSet& live) {
  OrdinalSet gone;
  if (end > 0) gone.AddRange(0, static_cast<Ordinal>(end - 1));
  gone.Subtract(live);
  if (gone.empty()) return Status::Ok();
  OrdinalSet unknown(gone);
  {
    MutexLock removed_lock(&shard->removed_mu);
    unknown.Subtract(shard->removed);  // those of earlier processes, in the first pass
  }
  if (!unknown.empty()) {
    MeasuredLock series_lock(&shard->series_mu);
    MeasuredLock lock(&shard->head->mu());
    MutexLock removed_lock(&shard->removed_mu);
    shard->removed.UnionWith(unknown);
    shard->removals.fetch_add(1);
  }
  shard->head->Forget(end, live.ToVector());
  gone.Subtract(shard->purged);
  {
    MutexLock removed_lock(&shard->removed_mu);
    while (shard->kept_labels.size() > kKeptLabelsMax) shard->kept_labels.pop_front();
    for (const Ordinal ordinal : shard->kept_labels) gone.Remove(ordinal);
  }
  if (gone.empty()) return Status::Ok();
  CHRONOLITH_FAILPOINT("remove.purge");
  OrdinalSet left;
  if (Status status = shard->index->PurgeRemoved(gone, shard->wal->trimmed_to(), &left); !status.ok()) return status;
  CHRONOLITH_FAILPOINT("remove.purged");
  gone.Subtract(left);
  shard->purged.UnionWith(gone);
  return Status::Ok();
}

// Series without a stored or buffered chunk leave the index: a log record under the shard's locks, so that no append is lost
// between. Adds how many to *removed. `run` (null in the background) knows which series have data. `stop` (may be null):
// kCancelled, some are removed.
Status Core::RemoveExpiredSeries(Shard* shard, CompactRun* run, const std::function<bool()>& stop, std::uint64_t* removed) {
  std::uint64_t end = 0;
  {
    MeasuredLock series_lock(&shard->series_mu);  // whoever creates series puts them into the index before letting go of it
    end = shard->next_ordinal.load();
  }
  Result<OrdinalSet> all = shard->index->Select({});
  if (!all.ok()) return all.status();
  const Status forgotten = ForgetRemoved(shard, end, *all);  // a row that it cannot read keeps no series from being removed
  if (run != nullptr) all->Subtract(run->with_data);
  if (all->empty()) return forgotten;
  // What came to the store since `run` has looked. What comes after this look has it in the head.
  OrdinalSet with_data;
  const TimeRange visible{shard->chunks->tombstones().floor(), kMaxTimestamp};
  if (Status status = shard->chunks->OrdinalsWithData(visible, &with_data, stop); !status.ok()) return status;
  if (run != nullptr) run->OnBytes(shard->chunks->EstimateBytes({}));
  all->Subtract(with_data);
  std::vector<Ordinal> candidates = all->ToVector();
  constexpr std::size_t kBatch = 4096;
  for (std::size_t at = 0; at < candidates.size(); at += kBatch) {
    if (stop && stop()) return Cancelled("stopped");
    std::vector<Ordinal> gone;
    MeasuredLock series_lock(&shard->series_mu);
    std::string record;
    {
      MeasuredReaderLock lock(&shard->head->mu());
      for (std::size_t i = at; i < std::min(candidates.size(), at + kBatch); ++i) {
        // No checkpoint runs meanwhile (upkeep_mu_), so data does not move from the head to the store between the two looks.
        if (!shard->head->HasData(candidates[i])) gone.push_back(candidates[i]);
      }
    }
    if (gone.empty()) continue;
    // What the index must read for it is read before it is logged: a removal that is logged is done.
    Status status = shard->index->MakeResident(gone);
    AppendRemoveSeriesRecord(gone, &record);
    if (status.ok()) status = wal_->Reserve(shard->id, record.size(), kNoDeadline);
    Lsn lsn = 0;
    if (status.ok()) {
      MeasuredLock lock(&shard->head->mu());
      // An append may have come between the two looks; such a series stays.
      bool revived = false;
      for (const Ordinal ordinal : gone) revived = revived || shard->head->HasData(ordinal);
      if (revived) {
        shard->wal->Unreserve(record.size());
      } else {
        CHRONOLITH_FAILPOINT("remove.publish");
        lsn = shard->wal->Append(record, 1);
        CHRONOLITH_FAILPOINT("remove.published");
        MutexLock removed_lock(&shard->removed_mu);
        shard->removed.AddMany(gone);
        shard->kept_labels.insert(shard->kept_labels.end(), gone.begin(), gone.end());
        shard->removals.fetch_add(1);
      }
    }
    if (lsn == 0) {  // none is removed: what was made resident for it cannot be found by its labels, and goes
      shard->index->Evict(gone);
      if (!status.ok()) return status;
      continue;
    }
    shard->series_removed.Add(gone.size());
    shard->series_total.fetch_sub(gone.size());
    AddSeries(-static_cast<std::int64_t>(gone.size()));
    *removed += gone.size();
    for (const Ordinal ordinal : gone) {
      if (status = shard->index->Remove(ordinal, lsn); !status.ok()) return status;
    }
    CHRONOLITH_FAILPOINT("remove.applied");
  }
  return forgotten;
}

// How many RemoveExpiredSeries would remove.
Status Core::CountExpiredSeries(const Shard& shard, const CompactRun& run, std::uint64_t* removed) {
  Result<OrdinalSet> all = shard.index->Select({});
  if (!all.ok()) return all.status();
  all->Subtract(run.with_data);
  const std::vector<Ordinal> candidates = all->ToVector();
  MeasuredReaderLock lock(&shard.head->mu());
  for (const Ordinal ordinal : candidates) *removed += shard.head->HasData(ordinal) ? 0 : 1;
  return Status::Ok();
}

// ---- Compaction ----

// `floor`: what retention makes of it. *checkpoint: of the one that failed meanwhile and ended it, which is no error of the
// shard's.
Status Core::MergeShard(Shard* shard, Timestamp floor, CompactRun* run, ShardCompactResult* result, Status* checkpoint) {
  const bool dry_run = run->options().dry_run;
  const auto in_head = [&](const ChunkMeta& chunk) { return shard->head->MayGrow(chunk); };
  MutexLock upkeep(&upkeep_mu_);
  // The upkeep thread waits for the mutex, and writers would wait for the room that its checkpoints make.
  const auto between = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_) {
    if (disk_low_.load()) LookAtDisk();
    if (!options_.read_only && CheckpointIsDue()) {
      *checkpoint = CheckpointLocked(Haste::kBackground);
      LookAtDisk(true);
    }
    if (!checkpoint->ok()) return *checkpoint;
    run->OnMerged(*result);
    upkeep_mu_.Unlock();
    Status status = Pause(*run);
    upkeep_mu_.Lock();
    return status;
  };
  run->with_data = OrdinalSet();
  ChunkCompactOptions options{.dry_run = dry_run, .with_data = &run->with_data};
  if (dry_run) {
    options.floor = floor;
    options.all_applied = true;
  }
  if (Status s = shard->chunks->Compact(options, shard->wal->trimmed_to(), in_head, result, between); !s.ok()) return s;
  return dry_run ? CountExpiredSeries(*shard, *run, &result->series_removed)
                 : RemoveExpiredSeries(shard, run, nullptr, &result->series_removed);
}

// Gives the space back now and not some day.
Status Core::CompactFiles(Shard* shard, CompactRun* run) {
  CHRONOLITH_FAILPOINT("compact.engine");
  const Result<std::vector<ChunkStore::WindowSize>> windows = shard->chunks->Windows();
  if (!windows.ok()) return windows.status();
  std::string begin;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < windows->size(); ++i) {
    bytes += (*windows)[i].bytes;
    if (bytes < kEnginePieceBytes || i + 1 == windows->size()) continue;
    const std::string end = ChunkWindowPrefix((*windows)[i + 1].window);
    if (Status status = data_engine_->Compact(shard->chunk_family, begin, end); !status.ok()) return status;
    run->OnFiles(i + 1, 2 * bytes);
    if (Status status = Pause(*run); !status.ok()) return status;
    begin = end;
    bytes = 0;
  }
  if (Status status = data_engine_->Compact(shard->chunk_family, begin, std::nullopt); !status.ok()) return status;
  run->OnFiles(windows->size(), 2 * bytes);
  return Pause(*run);
}

// What the engine would read to write the index's files anew: a bad block among them ends that, so a dry run says so beforehand.
Status Core::ReadIndexRows(const Shard& shard, CompactRun* run) {
  auto it = data_engine_->NewIterator(shard.index_family, {.fill_cache = false});
  if (!it.ok()) return it.status();
  std::uint64_t bytes = 0;
  for ((*it)->Seek(""); (*it)->Valid(); (*it)->Next()) {
    bytes += (*it)->key().size() + (*it)->value().size();
    if (bytes < kPauseBytes) continue;
    run->OnBytes(std::exchange(bytes, 0));
    if (Status status = Pause(*run); !status.ok()) return status;
  }
  run->OnBytes(bytes);
  return (*it)->status();
}

Result<CompactResult> Core::Compact(const CompactOptions& options) {
  if (options_.read_only && !options.dry_run) return FailedPrecondition("the store is open read-only");
  for (const std::uint32_t shard : options.shards) {
    if (shard >= shards_.size())
      return InvalidArgument("there is no shard " + std::to_string(shard) + ": the store has " + std::to_string(shards_.size()));
  }
  MutexLock one(&compact_mu_);
  compacting_.store(true);
  CompactRun run(options);
  CompactResult result;
  Status status = CompactOnce(&run, &result);
  compacting_.store(false);
  result.complete = status.ok();
  if (!status.ok() && !(status.code() == StatusCode::kCancelled && run.cancelled())) return status;
  const EngineStats stats = options.dry_run ? EngineStats() : data_engine_->Stats();
  for (ShardCompactResult& of_shard : result.shards) {
    if (!options.dry_run && shards_[of_shard.shard]->quarantine.ok())
      of_shard.disk_bytes_after = DiskBytes(*shards_[of_shard.shard], stats);
    static constexpr std::uint64_t CompactFigures::*kFigures[] = {
        &CompactFigures::rows_before,      &CompactFigures::rows_after,    &CompactFigures::bytes_before,
        &CompactFigures::bytes_after,      &CompactFigures::bytes_written, &CompactFigures::disk_bytes_before,
        &CompactFigures::disk_bytes_after, &CompactFigures::windows,       &CompactFigures::samples_deleted,
        &CompactFigures::series_removed};
    for (const auto figure : kFigures) result.*figure += of_shard.*figure;
    const Status& damage = of_shard.damage;
    if (!damage.ok() && !options.skip_damaged && shards_[of_shard.shard]->quarantine.ok()) return damage;
  }
  return result;
}

std::uint64_t Core::DiskBytes(const Shard& shard, const EngineStats& data) {
  return data.families[shard.chunk_family].file_bytes + data.families[shard.index_family].file_bytes;
}

// kCancelled: *result has what was done.
Status Core::CompactOnce(CompactRun* run, CompactResult* result) {
  const CompactOptions& options = run->options();
  if (!options.dry_run) {
    LookAtDisk();  // what is left decides how much of it the compaction may take
    if (Status status = Checkpoint(); !status.ok()) return status;
  }
  const EngineStats stats = data_engine_->Stats();
  for (const auto& shard : shards_) {
    const auto& wanted = options.shards;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), shard->id) == wanted.end()) continue;
    ShardCompactResult& of_shard = result->shards.emplace_back();
    of_shard.shard = shard->id;
    of_shard.damage = shard->quarantine;
    if (of_shard.damage.ok()) of_shard.disk_bytes_before = DiskBytes(*shard, stats);
  }
  const Result<Timestamp> floor = WantedFloor();
  if (!floor.ok()) return floor.status();
  std::vector<std::uint64_t> windows;
  for (const ShardCompactResult& of_shard : result->shards) {
    windows.push_back(0);
    if (!of_shard.damage.ok()) continue;
    const Result<std::vector<ChunkStore::WindowSize>> all = shards_[of_shard.shard]->chunks->Windows();
    if (all.status().code() == StatusCode::kDataLoss) continue;  // its merge will say so
    if (!all.ok()) return all.status();
    for (const auto& window : *all) windows.back() += window.window >= WindowOf(*floor, manifest_.window_ms) ? 1 : 0;
    run->Expect(windows.back());
  }
  for (ShardCompactResult& of_shard : result->shards) {
    if (!of_shard.damage.ok()) continue;
    run->Begin(of_shard, 0);
    const auto between = [&] {
      run->OnMerged(of_shard);
      return Pause(*run);
    };
    // Damage there matters to nobody any more; figures are then of what was in front of it.
    const Status counted = shards_[of_shard.shard]->chunks->CountExpired(*floor, &of_shard, between);
    if (!counted.ok() && !IsDamage(counted)) return counted;
  }
  if (!options.dry_run) {
    if (Status status = ApplyRetention(); !status.ok()) return status;
  }

  bool removed = false;
  for (std::size_t i = 0; i < result->shards.size(); ++i) {
    ShardCompactResult& of_shard = result->shards[i];
    if (!of_shard.damage.ok()) continue;
    Shard* const shard = shards_[of_shard.shard].get();
    run->Begin(of_shard, windows[i]);
    Status checkpoint;
    Status status = MergeShard(shard, *floor, run, &of_shard, &checkpoint);
    if (!checkpoint.ok()) return checkpoint;
    removed = removed || (!options.dry_run && of_shard.series_removed > 0);
    if (status.ok()) status = options.dry_run ? ReadIndexRows(*shard, run) : CompactFiles(shard, run);
    if (status.code() == StatusCode::kCancelled) return status;
    if (!status.ok()) {
      status = status.WithContext("shard " + std::to_string(shard->id));
      if (status.code() != StatusCode::kDataLoss) return status;
      of_shard.damage = status;  // of this shard: the others are compacted all the same
    }
    run->End();
  }
  if (options.dry_run) return Status::Ok();
  if (removed) {
    if (Status status = Checkpoint(); !status.ok()) return status;
  }
  for (ShardCompactResult& of_shard : result->shards) {
    if (!of_shard.damage.ok()) continue;
    const Shard& shard = *shards_[of_shard.shard];
    Status status = data_engine_->Compact(shard.index_family, "", std::nullopt);
    run->OnBytes(2 * data_engine_->Stats().families[shard.index_family].file_bytes);
    if (status.code() == StatusCode::kDataLoss) {
      of_shard.damage = status.WithContext("shard " + std::to_string(shard.id));
      status = Status::Ok();
    }
    if (status.ok()) status = Pause(*run);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

}  // namespace chronolith

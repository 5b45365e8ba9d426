// Core: everything of a store that is open: the two engine instances, the shards, the log. Storage::Reopen replaces it whole.
//
// Opening (Core::Open): manifest -> data instance -> log instance -> per shard, in parallel: state rows, replay of the log
// behind them -> a new epoch, synced -> background threads. Loss is never silent: see RecoverShard. With Options::wait_for_replay
// off the shards are recovered by the upkeep thread, and serve one by one (readiness.cc).
//
// Thread safety: after Open all methods may be called concurrently, except Close. What touches a shard, or all, is for callers
// that have seen it serve: Await, AwaitAll.
#ifndef CHRONOLITH_STORAGE_CORE_H_
#define CHRONOLITH_STORAGE_CORE_H_

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "chronolith/archive_marks.h"
#include "chronolith/options.h"
#include "chronolith/storage.h"
#include "index/label_validation.h"
#include "index/postings_cache.h"
#include "partition/partition_map.h"
#include "storage/bad_log_tables.h"
#include "storage/scrub.h"
#include "storage/shard.h"
#include "storage/store_directory.h"
#include "storage/unfinished.h"
#include "wal/sharded_wal.h"

namespace chronolith {

inline constexpr std::uint64_t kReplayShareMin = 1 << 20;        // a shard: less would be nothing but checkpoints
inline constexpr std::uint64_t kCheckpointSliceBytes = 8 << 20;  // of chunks, taken under one hold of an append lock

class Core {
 public:
  // What callers may still hold of one shard after the store was reopened.
  struct HandedOut {
    std::uint64_t next_ordinal = 0;   // ordinals below were given to a series; none of them is given to another
    OrdinalSet gone;                  // those of them whose series was removed, or whose record was lost with the log's end
    std::deque<Ordinal> kept_labels;  // as Shard::kept_labels
  };
  // `earlier` (may be null): per shard, by earlier Cores of this process. `held_bytes_max`: of memory, for what a store that is
  // only read holds of its log; kResourceExhausted where that is more.
  static Result<std::unique_ptr<Core>> Open(const Options& options, const std::string& path, const std::vector<HandedOut>* earlier,
                                            std::uint64_t held_bytes_max = std::numeric_limits<std::uint64_t>::max());
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  const Options& options() const { return options_; }
  const std::string& path() const { return path_; }
  const LabelLimits& label_limits() const { return limits_; }
  ShardedWAL& wal() { return *wal_; }
  const ShardedWAL& wal() const { return *wal_; }
  std::size_t size() const { return shards_.size(); }
  Shard& shard(std::size_t i) { return *shards_[i]; }
  const Shard& shard(std::size_t i) const { return *shards_[i]; }
  Shard& ShardFor(std::uint64_t hash) { return *shards_[map_.ShardFor(hash)]; }
  std::uint64_t series_total() const;
  void AddSeries(std::int64_t n) { series_total_.fetch_add(static_cast<std::uint64_t>(n), std::memory_order_relaxed); }

  // Not ok: not all shards are sound; names those that are not, and why. Once all serve.
  const Status& quarantine() const { return quarantine_; }

  // ---- Readiness (readiness.cc) ----
  bool AllServe() const { return all_serve_.load(std::memory_order_acquire); }
  // Waits until the shard serves. Then why it is quarantined, or ok; kResourceExhausted: it is still being replayed at `deadline`;
  // kUnavailable: it cannot be replayed, or EndWaits was called.
  Status Await(const Shard& shard, Deadline deadline) const;
  // How long a write may wait for all of its shards: `deadline`, or Options::backpressure_wait_ms from now while not all serve.
  Deadline ReadyDeadline(Deadline deadline) const;
  // The same for all shards, but quarantine is no error, and only the deadline bounds the wait. `cancelled` may be null; where it
  // is set, kCancelled.
  Status AwaitAll(Deadline deadline, const std::atomic<bool>* cancelled = nullptr) const;
  // Before Close, by whom that needs all callers to have left: ends the two waits above, for good, and replay.
  void EndWaits();

  // Before a write: waits while the memory budget is nearly used up or a disk is low (a checkpoint frees the head and the log),
  // until `deadline` or for Options::backpressure_wait_ms; for a disk that checkpoints do not free no longer than kDiskPatience.
  // kResourceExhausted, kUnavailable.
  Status Admit(Deadline deadline);
  // Waits for room, in Admit and in the log, end soon after `*cancelled` is set, with kCancelled (ShardedWAL::HeedCancel).
  void HeedCancel(const std::atomic<bool>* cancelled) { wal_->HeedCancel(cancelled); }
  // kResourceExhausted: too little is left of a disk to take writes, or to be reopened.
  Status DiskRoom() const;

  // ---- Upkeep (checkpoint.cc, snapshot.cc) ----
  // Held by a checkpoint or snapshot from beginning to end, and while chunks are compacted: that makes the checkpoints that become
  // due meanwhile itself. Not while an engine compacts.
  Mutex* upkeep_mu() const ABSL_LOCK_RETURNED(upkeep_mu_) { return &upkeep_mu_; }
  Status Checkpoint();
  Result<CompactResult> Compact(const CompactOptions& options);
  Scrubber& scrubber() { return *scrubber_; }
  Status Snapshot(const std::string& path);
  Status ApplyRetention();
  Status RaiseFloor(Timestamp floor);  // in all shards, logged and synced; what is before it has expired

  void FillStats(StorageStats* stats) const;
  std::uint64_t MemoryBytes() const;

  // Logs and syncs, stops threads, closes the engines.
  Status Close();
  std::vector<HandedOut> HandedOutOrdinals() const;

 private:
  Core(const Options& options, std::string path);
  static Result<std::unique_ptr<Core>> OpenOnce(const Options& options, const std::string& path,
                                                const std::vector<HandedOut>* earlier, std::uint64_t held_bytes_max);

  Status LoadOrCreateManifest();
  Status CreateManifest();
  std::string RecordedLogPath() const;
  Status OpenEngines();
  Result<std::unique_ptr<KvEngine>> OpenLog();
  // Gives up tables of the log that cannot be read, where there are any. Holes are met by replay; whose end may be lost is noted.
  Status GiveUpLogTables(const std::string& path, const EngineOptions& log);
  Status NoteLostTables(const std::string& path, const std::vector<BadLogTable>& bad);
  Status CheckLogAgain();
  Result<std::unique_ptr<KvEngine>> OpenInstance(const std::string& path, EngineOptions engine_options);
  // Before an instance is opened for writing (log_judge.cc): refuses a damaged log, cuts a torn tail off.
  Status CheckLog(EngineFactory* factory, const std::string& path, const EngineOptions& options);
  // `status` of an instance that cannot be opened, and what that costs each shard, if it is kDataLoss (quarantine.cc).
  Status WithAffected(const Status& status, InstanceRole instance, bool bytes_damaged = false) const;
  std::string AllShards() const;
  Status CheckIdentity(KvEngine* engine, const char* instance, bool* fresh);
  Status WriteCopyIdentity(const std::string& path, EngineOptions options, const StoreManifest& manifest) const;
  void CreateLog();
  // Recovers all shards and lets them serve. Not ok: the store cannot be used.
  Status RecoverAll();
  Status RecoverAllOnce();
  Status ForEachShard(const std::function<Status(Shard*)>& each);
  // `floor`: the highest of all shards.
  bool LogsAreWhole(Timestamp* floor);
  const HandedOut* EarlierOf(const Shard& shard) const { return earlier_.empty() ? nullptr : &earlier_[shard.id]; }
  void Serve(Shard* shard);
  void SetSeries(Shard* shard, std::uint64_t n);  // before it serves: how many it has, as far as is known
  std::string Replaying() const;
  Status WhyNeverReady() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(ready_mu_);  // ok: it may become so
  Status RecoverOrQuarantine(Shard* shard, const HandedOut* earlier);
  // Where rows of the shard are damaged or missing, in the data instance or the log, *damage says so, and the shard is unfit for
  // use.
  Status RecoverShard(Shard* shard, const HandedOut* earlier, Status* damage);
  void Quarantine(Shard* shard, const Status& damage, const HandedOut* earlier, bool log);
  std::string LossCommand() const { return "chronolith recover --accept-data-loss " + path_; }
  void QuarantineSuspects();
  Status CheckQuarantine();
  // data_loss.cc: what Options::accept_data_loss gives up.
  Status LoadUnfinished();
  // Before what is behind holes of shards' logs is stored; what was noted of a shard stays.
  Status NoteStoredWhole(const std::map<ShardId, Lsn>& stored_whole) ABSL_LOCKS_EXCLUDED(unfinished_mu_);
  std::optional<Lsn> NotedWhole(ShardId shard) ABSL_LOCKS_EXCLUDED(unfinished_mu_);
  // IndexShard::AdoptStored; *next_ordinal is raised. *any: it had something to do.
  Status AdoptStored(Shard* shard, const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn, std::uint64_t* next_ordinal,
                     bool* any);
  void SkipOrdinals(Shard* shard);
  void SkipUnknownEnd(Shard* shard);  // it is not known how many records the end of its log has lost
  void ReportLoss(const Shard& shard) const;
  Status FinishLoss();
  Status FindEpochs();
  Status AcquireEpochs(Shard* shard, std::uint64_t* epoch);
  Status BeginEpoch(Shard* shard);
  // memory.cc
  std::uint64_t OwnMemoryBytes() const;
  std::uint64_t EngineMemoryBytes() const;  // of open engines
  void SetMemoryShare(std::uint64_t bytes);
  bool SettleMemory();  // whether writers must wait for memory
  void SettleMemoryAfterOpen();
  void ReleaseWhereScarce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  // Of series that are stored and have no newer sample; returns how many.
  std::uint64_t ReleaseStored(Timestamp silent_since) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  void ReserveForReplay();
  // *damage: where a row of the shard is damaged.
  Status CheckpointReplay(Shard* shard, const IndexState& index_state, const ChunkState& chunk_state, Status* damage);
  void OnLoggedBytes(std::uint64_t bytes);
  void AskForCheckpoint();
  void WakeAdmitted();
  // disk_space.cc. `tried`: a checkpoint has just freed what it could.
  void LookAtDisk(bool tried = false);
  void NoteRoom(const Status& checkpoint) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  std::uint64_t UnderWayBytes() const;
  struct DiskSpace {
    std::uint64_t free = 0;
    std::uint64_t wanted = 0;  // from here on writes are taken
  };
  std::optional<DiskSpace> SpaceOf(const std::string& directory) const;  // none: it cannot be looked at
  void ReserveDisk();
  // For EngineOptions::compaction_reserve; outlives the core.
  std::function<std::uint64_t()> CompactionReserve(InstanceRole instance) const;
  std::uint64_t CheckpointThreshold() const;
  bool CheckpointIsDue() const;
  void UpkeepLoop();
  bool AwaitUpkeep();
  void LogUpkeepFailure(const Status& status);
  // The upkeep thread's: takes a place in the budget that stores share. False where the store is being closed.
  bool TakePlace();
  void LeavePlace();
  bool LockUpkeep() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true, upkeep_mu_);  // with a place; false as TakePlace
  // background_compaction.cc
  struct CompactionPass;
  bool CompactionIsOver();
  bool CompactionMustEnd(const CompactionPass& pass);
  bool BeginCompactionStep(CompactionPass* pass) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true, upkeep_mu_);
  Status CompactInBackground();
  Status CompactUntidyWindows(Timestamp before, CompactionPass* pass);
  Status RemoveExpiredShards(Timestamp floor, CompactionPass* pass);
  enum class Haste : std::uint8_t {
    kNone,        // somebody asked for this checkpoint: everything is packed
    kBackground,  // open chunks are not: they will be written again, grown. Nor are others while writers fill the log in seconds
  };
  Status CheckpointLocked(Haste haste) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status StoreHeads(Haste haste) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status CheckpointIndex() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status CheckpointChunks(Packing closed_chunks, Packing open_chunks) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status SyncLog();
  Status TrimLog() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  std::optional<ArchiveMark> MarkOfNow() const;  // none: the archiver takes no marks
  void TellMark() ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  // compaction.cc
  class CompactRun;
  Status CompactOnce(CompactRun* run, CompactResult* result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(compact_mu_);
  Status MergeShard(Shard* shard, Timestamp floor, CompactRun* run, ShardCompactResult* result, Status* checkpoint);
  Status CompactFiles(Shard* shard, CompactRun* run);
  Status ReadIndexRows(const Shard& shard, CompactRun* run);
  Status Pause(const CompactRun& run) const;
  static std::uint64_t DiskBytes(const Shard& shard, const EngineStats& data);
  static Status CountExpiredSeries(const Shard& shard, const CompactRun& run, std::uint64_t* removed);
  Status ForgetRemoved(Shard* shard, std::uint64_t end, const OrdinalSet& live) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status RemoveExpiredSeries(Shard* shard, CompactRun* run, const std::function<bool()>& stop, std::uint64_t* removed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(upkeep_mu_);
  Status LogFloor(Shard* shard, Timestamp floor);
  Result<Timestamp> NewestStoredWindow() const;
  Result<Timestamp> WantedFloor() const;  // what retention would raise the floor to; or the floor as it is
  Status AgreeOnFloor();
  void Log(LogLevel level, const std::string& message) const;

  const Options options_;
  const std::string path_;
  LabelLimits limits_;
  StoreManifest manifest_;
  PartitionMap map_;

  EngineOptions data_options_;
  EngineOptions log_options_;
  std::unique_ptr<KvEngine> data_engine_;
  std::unique_ptr<KvEngine> log_engine_;
  std::unique_ptr<PostingsCache> cache_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<ShardedWAL> wal_;
  Status quarantine_;
  Mutex unfinished_mu_;                         // of stored_whole and the file; what else is in it no recovery of a shard changes
  Unfinished unfinished_;                       // of an open before this one, and of this one until it comes to its end
  std::atomic<std::uint64_t> series_total_{0};  // of all shards, those that do not serve yet too
  std::atomic<double> replay_seconds_{0};
  std::uint64_t epoch_before_ = 0;  // the largest of any family, at open: all shards get the same next one

  // Readiness.
  std::vector<HandedOut> earlier_;  // by earlier Cores of this process; empty: none
  bool log_moved_ = false;          // Options::log_path says another directory than the manifest
  bool serve_early_ = false;        // shards are recovered while others serve
  std::atomic<bool> all_serve_{false};
  std::atomic<bool> stop_replay_{false};
  mutable Mutex ready_mu_;
  mutable CondVar ready_cv_;
  Status recovery_failure_ ABSL_GUARDED_BY(ready_mu_);

  Mutex compact_mu_;                     // one Compact at a time; taken before upkeep_mu_
  std::atomic<bool> compacting_{false};  // then nothing is compacted in the background, also while upkeep_mu_ is free
  // Upkeep: one checkpoint, compaction of chunks or snapshot at a time.
  mutable Mutex upkeep_mu_;
  std::vector<Lsn> cuts_ ABSL_GUARDED_BY(upkeep_mu_);
  std::vector<std::uint64_t> cut_ordinals_ ABSL_GUARDED_BY(upkeep_mu_);
  std::vector<std::uint64_t> cut_series_ ABSL_GUARDED_BY(upkeep_mu_);
  // The last one, or the opening.
  std::chrono::steady_clock::time_point checkpoint_began_ ABSL_GUARDED_BY(upkeep_mu_) = std::chrono::steady_clock::now();
  std::optional<ArchiveMark> archive_mark_ ABSL_GUARDED_BY(upkeep_mu_);  // of the last checkpoint, not told yet
  Deadline no_room_since_ ABSL_GUARDED_BY(upkeep_mu_) = kNoDeadline;     // checkpoints find none; kNoDeadline: they do
  Timestamp released_before_ ABSL_GUARDED_BY(upkeep_mu_) = kMinTimestamp;
  std::size_t release_next_ ABSL_GUARDED_BY(upkeep_mu_) = 0;  // the shard that ReleaseStored begins behind
  std::uint64_t released_untold_ ABSL_GUARDED_BY(upkeep_mu_) = 0;
  std::int64_t released_told_ms_ ABSL_GUARDED_BY(upkeep_mu_) = 0;  // 0: never
  DurationCell checkpoint_duration_;
  SharedCounter checkpoints_;
  std::atomic<std::int64_t> last_checkpoint_ms_{0};
  std::atomic<std::uint64_t> bytes_since_checkpoint_{0};
  std::atomic<std::uint64_t> bytes_since_memory_check_{0};
  Mutex memory_mu_;
  std::uint64_t reserved_memory_ ABSL_GUARDED_BY(memory_mu_) = 0;  // what this store has taken from its budget
  std::uint64_t replay_share_ = 0;                                 // memory that replay may take, bytes a shard
  std::uint64_t held_bytes_max_ = 0;                               // by all shards, of a store that is only read
  std::atomic<std::int64_t> held_bytes_{0};
  SharedCounter replay_checkpoints_;
  std::atomic<bool> over_budget_{false};
  std::atomic<bool> memory_scarce_{false};  // since the last checkpoint
  std::atomic<bool> disk_low_{false};
  // Of each instance: bytes of its disk, as of the last look; the engines ask.
  const std::array<std::shared_ptr<std::atomic<std::uint64_t>>, 2> compaction_reserve_ = {
      std::make_shared<std::atomic<std::uint64_t>>(0), std::make_shared<std::atomic<std::uint64_t>>(0)};

  // The upkeep thread's own: its place among stores, the failure that it has told of, how far series without data have left the
  // index, and will have behind the pass that goes on, the shard whose windows are compacted first, and how often in a row either
  // was put off.
  bool has_place_ = false;
  StatusCode upkeep_failure_ = StatusCode::kOk;
  std::chrono::steady_clock::time_point upkeep_failure_told_;
  Timestamp removed_below_ = kMinTimestamp;
  Timestamp removing_below_ = kMinTimestamp;
  std::size_t removed_shards_ = 0;
  std::size_t compacted_first_ = 0;
  int windows_put_off_ = 0;
  int removal_put_off_ = 0;
  SharedCounter compacted_windows_;

  std::unique_ptr<Scrubber> scrubber_;  // there from when the engines are open; its thread once all shards serve

  std::thread upkeep_;
  Mutex wake_mu_;
  CondVar wake_cv_;                                        // wakes the upkeep thread
  CondVar admitted_cv_;                                    // wakes writers that wait for memory
  Status disk_room_ ABSL_GUARDED_BY(wake_mu_);             // why disk_low_ is set
  std::uint64_t low_looks_ ABSL_GUARDED_BY(wake_mu_) = 0;  // that found a disk still low behind a checkpoint
  Deadline low_since_ ABSL_GUARDED_BY(wake_mu_);
  Status no_room_ ABSL_GUARDED_BY(wake_mu_);  // not ok: for kDiskPatience
  bool stop_ ABSL_GUARDED_BY(wake_mu_) = false;
  bool wanted_ ABSL_GUARDED_BY(wake_mu_) = false;
  std::atomic<bool> checkpoint_asked_{false};
  bool closed_ = false;

  friend class ReplayVisitor;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_CORE_H_

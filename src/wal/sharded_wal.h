// ShardedWAL: the write-ahead log of a store, one WALShard a shard, and the group commit that serves them all.
//
// Place in the data's path: a writer encodes records, reserves room in its shard's ring (Reserve), and under the shard's append
// lock assigns LSNs and publishes (Append). Whoever needs them logged leads or follows a group commit (WaitLogged): one leader at a
// time drains the rings of all shards into rows of their families and writes them with one engine call. Nobody hops threads when
// uncontended: the caller leads. A background committer drains what nobody waits for.
//
// Group commits are numbered: generation g starts when started_ becomes g and has completed when completed_ is g. A writer that has
// published and then reads started_ == s knows that generation s + 1 will carry its records: that is its ticket. Publishing (store
// of tail, then load of started_) and starting (increment of started_, then loads of the tails) are sequentially consistent, so
// either the writer sees the start or the leader sees the tail.
//
// The same holds wherever a thread announces something and then looks at what another announces before it looks: queued_ against
// committer_word_ (NotifyQueued, CommitterLoop), the sleepers of wake_ and callback_count_ against leader_. Each of these four
// accesses is sequentially consistent: a plain load may overtake an earlier store to another word (on arm64 also a release store),
// and then both sides would see the old values and a wake-up be lost. Relaxed loads of these words are hints, checked again before
// use.
//
//   leader_: 0 free, 1 somebody drains
//   Followers of generation g look on for a while, then sleep on wake_[g % 4]; completing g wakes them all with one system call,
//   and one sleeper of g + 1, which becomes the next leader. So a wake-up costs a fraction of a system call a write, and no
//   follower wakes in vain.
//
// After an error from the engine nothing is acknowledged any more: failed() stays set until the store is reopened.
//
// A stall is none: where the engine has no room (kResourceExhausted, nothing applied: it throttles writers, or has met a full
// disk), the rows of the group are kept as they are, and the generation stays started and not completed. Nothing starts behind it
// before it is written. Whoever waits takes part in that: the lead is free, but nobody takes it before the next attempt is due
// (retry_at_, kRetryInterval apart); the committer is told, so that there is always one. Waiters leave at their deadline, or after
// Options::backpressure_wait_ms; soon where NoteNoRoom has said that they wait in vain, or where they are cancelled (HeedCancel).
//
// Where what lives: group_commit.cc the group commit, wal_archive.cc the archiver, wal_reader.cc the reader, sharded_wal.cc the
// rest.
//
// Thread safety: all methods may be called concurrently unless they say otherwise.
#ifndef CHRONOLITH_WAL_SHARDED_WAL_H_
#define CHRONOLITH_WAL_SHARDED_WAL_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/futex.h"
#include "base/mutex.h"
#include "chronolith/env.h"
#include "chronolith/kv_engine.h"
#include "chronolith/log_archiver.h"
#include "chronolith/options.h"
#include "chronolith/storage.h"
#include "format/wal_record.h"
#include "wal/record_ring.h"

namespace chronolith {

// The log of one shard: its ring, its LSNs and its rows' boundaries. Fields are written by the party named beside them.
class alignas(kCacheLine) WALShard {
 public:
  // `queued`: one bit a shard, set while its ring may hold records that no group commit has taken.
  WALShard(ShardId shard, FamilyId family, std::uint64_t ring_bytes, std::atomic<std::uint32_t>* queued)
      : shard_(shard), family_(family), queued_(queued), ring_(ring_bytes) {}

  ShardId shard() const { return shard_; }
  FamilyId family() const { return family_; }
  std::uint64_t epoch() const { return epoch_; }

  // Under the shard's append lock: publishes `count` records for which Reserve succeeded; returns the LSN of the first.
  Lsn Append(std::string_view records, std::uint64_t count) {
    const Lsn first = last_lsn_.load(std::memory_order_relaxed) + 1;
    ring_.Publish(records);
    // Sequentially consistent with Publish and with the leader's exchange: a leader that misses the bit started before this write's
    // ticket is taken.
    const std::uint32_t bit = 1U << shard_;
    if ((queued_->load(std::memory_order_seq_cst) & bit) == 0) queued_->fetch_or(bit, std::memory_order_seq_cst);
    last_lsn_.store(first + count - 1, std::memory_order_relaxed);
    records_.Add(count);
    bytes_.Add(records.size());
    return first;
  }

  // Gives back room that was reserved and not used.
  void Unreserve(std::uint64_t bytes) { ring_.Unreserve(bytes); }

  Lsn last_lsn() const { return last_lsn_.load(std::memory_order_relaxed); }
  Lsn logged_lsn() const { return logged_lsn_.load(std::memory_order_acquire); }
  Lsn synced_lsn() const { return synced_lsn_.load(std::memory_order_acquire); }
  Lsn trimmed_to() const { return trimmed_to_.load(std::memory_order_relaxed); }

 private:
  friend class ShardedWAL;

  const ShardId shard_;
  const FamilyId family_;
  std::atomic<std::uint32_t>* const queued_;
  std::uint64_t epoch_ = 0;
  RecordRing ring_;
  std::atomic<Lsn> last_lsn_{0};    // writers, under the append lock
  std::atomic<Lsn> logged_lsn_{0};  // the leader
  std::atomic<Lsn> synced_lsn_{0};  // the syncer
  std::atomic<Lsn> trimmed_to_{0};  // the checkpoint
  OwnedCounter records_, bytes_;    // writers, under the append lock
  SharedCounter full_waits_;
  OwnedCounter groups_, group_records_;               // the leader
  SharedCounter archived_bytes_, archive_gap_bytes_;  // the checkpoint
  std::atomic<std::uint64_t> archive_backlog_{0};     // the checkpoint

  // Rows in the log, for trimming: first LSN and bytes.
  struct Row {
    Lsn first_lsn;
    std::uint64_t bytes;
  };
  mutable Mutex rows_mu_;
  std::deque<Row> rows_ ABSL_GUARDED_BY(rows_mu_);
  std::uint64_t row_bytes_ ABSL_GUARDED_BY(rows_mu_) = 0;
  // The last LSN of rows_[i]. A leader lists its rows before it raises logged_lsn: then below first_lsn for the newest.
  Lsn RowEnd(std::size_t i) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(rows_mu_) {
    return i + 1 < rows_.size() ? rows_[i + 1].first_lsn - 1 : logged_lsn();
  }

  // The leader's own.
  std::uint32_t compress_countdown_ = 0;
  std::string wrapped_;  // what lies at both ends of the ring
  std::deque<std::string> values_;
  std::deque<std::string> keys_;
  std::vector<Op> ops_;
  std::size_t rows_used_ = 0;
};

struct ShardedWALOptions {
  std::uint64_t ring_bytes = 256 << 10;
  std::int64_t commit_interval_ms = 5;
  std::int64_t sync_interval_ms = 200;
  std::int64_t backpressure_wait_ms = 5000;
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Logger> logger;
  std::shared_ptr<LogArchiver> archiver;    // null: trimmed records are gone
  std::uint64_t archive_backlog_bytes = 0;  // a shard; see Options::log_archive_backlog_bytes
  bool accept_data_loss = false;            // holes in what is archived are told to the archiver
  // Called once or more after failed() has become true; must not block. (Wakes writers that wait for memory.)
  std::function<void()> on_failed;
  // Called when a group finds no room in the engine for the first time; must not block. (Starts a checkpoint, which makes room.)
  std::function<void()> on_stalled;
  // Called by the leader after a group was logged, with the bytes it added; must not block. (Starts checkpoints.)
  std::function<void(std::uint64_t)> on_logged_bytes;
};

// Where reading a shard's log ended.
struct WalEnd {
  Lsn last_lsn = 0;  // 0: no record
  std::uint64_t last_epoch = 0;
  std::uint64_t last_group = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  Lsn trimmed_to = 0;
  bool unreadable = false;  // the reading ended with an error of the engine's: not the log's rows are wrong, their files are
};

// Where a row stands among those of all shards, in the order of writing: an epoch is the number of an opening of the store, a group
// that of a commit within it.
struct WalPlace {
  std::uint64_t epoch = 0;
  std::uint64_t group = 0;
  auto operator<=>(const WalPlace&) const = default;
};

// Records that a shard's log lacks, or that do not decode.
struct WalLoss {
  Lsn first = 0;
  Lsn last = 0;     // 0: not known; a row does not decode, and the row behind it, if there is one, will show a hole
  WalPlace behind;  // of a hole: the next row that is there; group 0: it opens its epoch. Epoch 0: no hole, the bytes are wrong
  Status why;       // kDataLoss
};

// Receives what a shard's log holds, in LSN order. Called concurrently for different shards.
class WalVisitor {
 public:
  virtual ~WalVisitor() = default;
  // How far the shard has come, after each row.
  virtual void OnProgress(ShardId, const WalEnd&) {}
  // Each row, before its records; `value` as it is stored. An error ends the reading.
  virtual Status OnRow(ShardId, const WalRowHeader&, std::string_view) { return Status::Ok(); }
  virtual Status OnRecord(ShardId shard, Lsn lsn, const WalRowHeader& row, const RecordView& record) = 0;
  // Before what is behind it. An error, by default loss.why, ends the reading; ok passes over the loss.
  virtual Status OnLoss(ShardId, const WalLoss& loss) { return loss.why; }
};

// Takes a shard's rows one by one, in the order of their LSNs, and checks them as ReadWal says. Thread safety: one thread.
class WalRowReader {
 public:
  // `visitor` may be null; `end` says how far it has come. Both outlive this.
  WalRowReader(ShardId shard, Lsn after, WalVisitor* visitor, WalEnd* end)
      : shard_(shard), after_(after), visitor_(visitor), end_(end) {}
  // The value of the state row, or of an older one. Rows behind which the log was trimmed are no longer wanted.
  Status ReadState(std::string_view value);
  Status ReadRow(std::string_view key, std::string_view value);
  // The first LSN of the last row read; 0 where it was passed over.
  Lsn taken() const { return taken_; }
  WalEnd* end() const { return end_; }

 private:
  Status Damaged(Lsn first, Lsn last, const Status& why) const;

  const ShardId shard_;
  const Lsn after_;
  WalVisitor* const visitor_;
  WalEnd* const end_;
  Lsn expected_ = 1;
  Lsn taken_ = 0;
  std::string scratch_;
};

// Reads one shard's rows with LSN > `after`, checks every checksum, the density of LSNs and the epoch chain: kDataLoss naming the
// hole. `stop` is polled between rows. Memory: one row. `rows` (may be null) receives each row's first LSN and bytes.
Status ReadWal(KvEngine* engine, FamilyId family, ShardId shard, Lsn after, const std::atomic<bool>* stop, WalVisitor* visitor,
               std::vector<std::pair<Lsn, std::uint64_t>>* rows, WalEnd* end);
// The same, for who has more rows behind them.
Status ReadWalRows(KvEngine* engine, FamilyId family, const std::atomic<bool>* stop, WalRowReader* reader,
                   std::vector<std::pair<Lsn, std::uint64_t>>* rows);

// The first LSN of the shard's last row, if that is past `after`; else `after`. By some fifty seeks.
Result<Lsn> LastWalRow(KvEngine* engine, FamilyId family, Lsn after);

class ShardedWAL {
 public:
  // shards[i] is shard i, in family families[i] of `engine`, which outlives this.
  ShardedWAL(KvEngine* engine, std::vector<FamilyId> families, const ShardedWALOptions& options);
  ~ShardedWAL();

  // What replay found; before Start, or before anything else is done with the shard.
  void Restore(ShardId shard, const WalEnd& end, Lsn next_lsn, std::uint64_t epoch,
               const std::vector<std::pair<Lsn, std::uint64_t>>& rows);
  // Before Start: the next LSN is `lsns` further, since it is not known which were given out.
  void Skip(ShardId shard, Lsn lsns);
  // Starts the background threads.
  void Start();
  // Logs and syncs what is queued and joins the threads; as EndCallbacks where the engine has no room. Idempotent.
  Status Stop();

  WALShard& shard(ShardId shard) { return *shards_[shard]; }
  const WALShard& shard(ShardId shard) const { return *shards_[shard]; }
  std::size_t size() const { return shards_.size(); }

  // Room for `bytes` in the shard's ring; waits, until `deadline` or for Options::backpressure_wait_ms, where there is none,
  // leading commits itself. Call without locks. kResourceExhausted: still full; kUnavailable: the log failed.
  Status Reserve(ShardId shard, std::uint64_t bytes, Deadline deadline);

  // Stands for everything published before the call.
  CommitToken Ticket() const { return {started_.load(std::memory_order_seq_cst) + 1}; }
  // kDeadlineExceeded: still queued (logged), and goes on. kResourceExhausted: the same, and for Options::backpressure_wait_ms the
  // engine has had no room; also where there is no deadline. kUnavailable: the log failed.
  Status WaitLogged(CommitToken token, Deadline deadline);
  Status WaitSynced(CommitToken token, Deadline deadline);
  // All that is queued, as WaitSynced; kResourceExhausted where the engine has no room for `patience`: who makes some cannot wait
  // longer.
  Status SyncAll(std::chrono::milliseconds patience);
  Status Wait(CommitToken token, AckLevel level, Deadline deadline);
  // Takes `done` and runs it once on the committer thread, or in EndCallbacks; or, where it is decided already and no thread would
  // run it, leaves it to the caller and returns what it is to be told.
  std::optional<Status> OnReached(CommitToken token, AckLevel level, std::function<void(Status)>* done);
  // Logs and syncs what is queued, runs all callbacks that wait, and returns when none runs any more; from then on OnReached leaves
  // all to its caller. Where the engine has no room for Options::backpressure_wait_ms, the log fails with that, and what was not
  // acknowledged as logged is lost. Call it without locks that callbacks take. Idempotent; one call at a time.
  void EndCallbacks();
  // Tells the committer that something was queued which nobody waits for.
  void NotifyQueued();

  // Waits until everything of the shard up to `lsn` is synced.
  Status SyncPast(ShardId shard, Lsn lsn);

  // Removes rows that hold nothing past `lsn`; the caller knows that every family has persisted an applied_lsn of at least `lsn`,
  // and that they are synced. With an archiver only those that it took, or that are too many to be held for it. Frees the space
  // with FlushTrimmed, once for all shards. One call at a time.
  Status Trim(ShardId shard, Lsn lsn);
  Status FlushTrimmed();
  // Whether Trim has held something back for the archiver.
  bool HasArchiveBacklog() const;

  // Not ok: the log failed and with what.
  Status failure() const;
  bool failed() const { return (trouble_.load(std::memory_order_acquire) & kFailed) != 0; }
  // A group waits for room in the engine.
  bool stalled() const { return (trouble_.load(std::memory_order_acquire) & kStalled) != 0; }
  void Fail(const Status& status);

  // Room that a group waits for was to be made, in vain: until the group is written, whoever waits is told so soon. Does nothing
  // where none waits.
  void NoteNoRoom(const Status& why);
  // Once `*cancelled` is set, whoever waits for room leaves soon, with kCancelled. It outlives this, or the next call. null: none.
  void HeedCancel(const std::atomic<bool>* cancelled) { cancelled_.store(cancelled); }
  bool Cancelled() const {
    const std::atomic<bool>* const cancelled = cancelled_.load(std::memory_order_relaxed);
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }

  std::uint64_t PinnedBytes() const;
  void FillStats(ShardId shard, ShardStats* stats) const;
  void FillStats(StorageStats* stats) const;

 private:
  struct Callback {
    CommitToken token;
    AckLevel level;
    std::function<void(Status)> done;
  };

  bool TryLead();
  void LeadAndRelease();
  bool LookAgain(CommitToken token);
  // More threads wait than there are cores beside the leader's.
  bool Crowded() const { return waiting_.load(std::memory_order_relaxed) >= cores_; }
  void Drain();
  std::uint64_t BuildRows(WALShard* shard, std::uint64_t to, const WalRowHeader& header);
  Status WriteGroup(std::uint64_t generation);
  void CollectRows();
  Status WriteRows();
  void FinishRows(std::size_t shard);
  void TellCommitter();  // to look at once
  void Stall(const Status& reason);
  void EndStall();
  Status StallReason() const;
  Status WaitLoggedFor(CommitToken token, Deadline deadline, std::chrono::milliseconds patience);
  Status WaitSyncedFor(CommitToken token, Deadline deadline, std::chrono::milliseconds patience);
  std::chrono::milliseconds Patience() const { return std::chrono::milliseconds(options_.backpressure_wait_ms); }
  bool InVain() const { return no_room_.load(std::memory_order_relaxed) || Cancelled(); }
  Deadline RetryTime() const { return Deadline(std::chrono::nanoseconds(retry_at_ns_.load(std::memory_order_relaxed))); }
  Lsn Archive(WALShard* shard, Lsn lsn);  // up to where the log may be trimmed now
  Status SyncOnce();
  void CommitterLoop();
  void SyncerLoop();
  void RunCallbacks();
  // True: some wait for a sync of what is logged already.
  bool RunReadyCallbacks();
  // What Wait and OnReached tell of the token now; nullopt: it has not reached the level, and may still.
  std::optional<Status> Outcome(CommitToken token, AckLevel level) const;
  bool AnythingQueued() const { return queued_.load(std::memory_order_seq_cst) != 0; }
  Status ReserveSlow(WALShard* shard, std::uint64_t bytes, Deadline deadline);

  KvEngine* const engine_;
  const ShardedWALOptions options_;
  alignas(kCacheLine) std::atomic<std::uint32_t> queued_{0};
  std::vector<std::unique_ptr<WALShard>> shards_;

  alignas(kCacheLine) std::atomic<std::uint64_t> started_{0};
  alignas(kCacheLine) std::atomic<std::uint64_t> completed_{0};
  alignas(kCacheLine) std::atomic<std::uint32_t> leader_{0};
  struct alignas(kCacheLine) WakeWord {
    std::atomic<std::uint32_t> word{0};
    std::atomic<std::uint32_t> sleepers{0};
  };
  std::array<WakeWord, 4> wake_;
  alignas(kCacheLine) std::atomic<std::uint32_t> waiting_{0};  // followers
  const std::uint32_t cores_ = std::max(std::thread::hardware_concurrency(), 1U);
  static constexpr std::chrono::milliseconds kRetryInterval{20};  // between two attempts to write a group that found no room
  static constexpr std::uint32_t kFailed = 1;
  static constexpr std::uint32_t kStalled = 2;  // set and cleared by the leader
  alignas(kCacheLine) std::atomic<std::uint32_t> trouble_{0};
  std::atomic<std::int64_t> retry_at_ns_{0};  // of the steady clock: when a stalled group is written again; the leader

  mutable Mutex failure_mu_;
  Status failure_ ABSL_GUARDED_BY(failure_mu_);
  Status stall_ ABSL_GUARDED_BY(failure_mu_);    // the last reason
  Status in_vain_ ABSL_GUARDED_BY(failure_mu_);  // where no_room_ is set
  std::atomic<bool> no_room_{false};
  std::atomic<const std::atomic<bool>*> cancelled_{nullptr};

  // Sync: one at a time; the others wait for it.
  Mutex sync_mu_;
  CondVar sync_cv_;
  bool syncing_ ABSL_GUARDED_BY(sync_mu_) = false;
  std::atomic<std::uint64_t> synced_{0};  // generation
  // Rows name the last group with rows that is synced: a generation without any could not be told from one that was lost.
  std::atomic<std::uint64_t> filled_{0};  // last generation with rows; the leader
  std::atomic<std::uint64_t> synced_filled_{0};
  std::atomic<std::uint64_t> unsynced_bytes_{0};
  std::atomic<std::uint64_t> unsynced_since_ns_{0};

  // Background threads.
  std::atomic<std::uint32_t> committer_word_{0};  // 1: the committer has been told
  std::atomic<bool> stop_{false};
  bool started_threads_ = false;
  std::thread committer_;
  std::thread syncer_;
  Mutex syncer_mu_;
  CondVar syncer_cv_;
  Mutex callbacks_mu_;
  CondVar callbacks_idle_;
  std::vector<Callback> callbacks_ ABSL_GUARDED_BY(callbacks_mu_);
  bool callbacks_ended_ ABSL_GUARDED_BY(callbacks_mu_) = true;  // until Start
  bool callbacks_running_ ABSL_GUARDED_BY(callbacks_mu_) = false;
  std::atomic<std::uint32_t> callback_count_{0};

  // The leader's own: the generation that is being written. A stall keeps it for the next leader.
  struct Group {
    std::uint32_t queued = 0;             // shards with records
    std::array<std::uint64_t, 32> tails;  // where theirs end, in their rings
    WalRowHeader header;
    std::uint32_t writing = 0;   // shards with rows in batches_, in order
    std::array<Lsn, 32> logged;  // of those, once they are written
    std::uint64_t bytes = 0;     // of rows collected
    bool left = false;           // another engine write follows
  };
  Group group_;
  WalRowEncoder encoder_;
  std::vector<Batch> batches_;
  SharedCounter stalled_groups_;

  DurationCell group_write_latency_;
  DurationCell sync_latency_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_WAL_SHARDED_WAL_H_

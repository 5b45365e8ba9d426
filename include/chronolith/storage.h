// Storage: the time-series store. Start here.
//
//   auto store = chronolith::Storage::Open({}, "/var/lib/metrics").value();
//   chronolith::TimeSeries up{.labels = {{"__name__", "up"}, {"job", "node"}}, .samples = {{1700000000000, 1.0}}};
//   auto written = store->Write(up);
//   auto found = store->Select({chronolith::Matcher::Equal("job", "node")}, {1699999000000, 1700001000000});
//   while ((*found)->Next()) { ... (*found)->labels() ... (*found)->samples() ... }
//
// Durability has three levels, and these words are used only so:
//   queued  in the memory of this process; lost if it dies;
//   logged  in the operating system's hands: survives kill -9; a background sync bounds what a power loss takes
//           (Options::sync_interval_ms);
//   synced  on stable storage: survives power loss.
// A writer reads its own writes at once, at every level. A crash drops, per shard, at most a suffix of writes that were not
// acknowledged at a level that survives it.
//
// Quarantine: where stored files of single shards are damaged, the store opens and those shards are left alone, files and log
// alike, until the store is opened with the files back in their places, or restored from a snapshot. Writes to such a shard are
// refused item by item, and reads that need it as a whole, with kDataLoss that names shard and file (SelectOptions::skip_damaged
// reads the others); Delete by matchers, Snapshot and SeriesIds need all shards. Stats tells (ShardStats::quarantine), and so does
// the logger at open. Damage to what shards share (the log, the manifests), or to all shards, refuses the open.
#ifndef CHRONOLITH_STORAGE_H_
#define CHRONOLITH_STORAGE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chronolith/export.h"
#include "chronolith/labels.h"
#include "chronolith/options.h"
#include "chronolith/result.h"
#include "chronolith/series_set.h"
#include "chronolith/stats.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith {

enum class AckLevel : std::uint8_t { kQueued = 0, kLogged = 1, kSynced = 2 };

// Stands for a write that may not have reached its level yet. Tokens are ordered: when one has reached a level, so have all older.
// Valid for the Storage that gave it, until Close; after Reopen, tokens from before it report kUnavailable unless they had been
// reached.
struct CommitToken {
  std::uint64_t generation = 0;  // 0: nothing to wait for
};

struct WriteOptions {
  AckLevel level = AckLevel::kLogged;
  // For every wait of the write: for the shard's replay, for room, behind another write of the shard that creates series, carries
  // items or rejects duplicates and waits for room, and for the level; a write that was queued goes on after it passed. The last
  // may end late by the group commits that it leads for others (at most four in a row, one write to the engine each; with level
  // synced a sync as well), and by the 12 us and the yields that it looks on before it sleeps. It is not held by an engine that
  // throttles writers or has met a full disk: the group is kept and written when there is room. Without a deadline such a wait ends
  // after Options::backpressure_wait_ms, with kResourceExhausted; the write stays queued and goes on.
  Deadline deadline = kNoDeadline;
};

// What was not taken of a write, and why.
struct Refusal {
  enum class What : std::uint8_t { kSeries, kSample, kHistogram, kExemplar, kMetadata };
  std::size_t series = 0;  // index in the span (Appender: in the order of the calls)
  What what = What::kSeries;
  std::size_t item = 0;  // index within that series' vector; 0 for kSeries, which refuses all of the series
  Status reason;
};

// Of one Write or Commit. `status` is ok when everything was taken and reached its level; else the first reason. Where
// `refused` is not empty and the other items were taken, `status` is the first refusal's reason and `token` covers the rest.
struct WriteResult {
  Status status;
  std::uint64_t accepted = 0;  // samples, histograms, exemplars and metadata taken
  std::vector<Refusal> refused;
  CommitToken token;
  bool ok() const { return status.ok(); }
};

// A cached reference to a series: makes appending cheap. Valid for the Storage that gave it, until Close. Where its series expired
// meanwhile, appending creates the series again, unless 65,536 others of its shard have expired since: then it is refused
// (kNotFound), as an unknown one is.
struct SeriesRef {
  std::uint64_t id = 0;  // 0: no series
  friend bool operator==(SeriesRef, SeriesRef) = default;
};

// Collects samples and writes them together: the fast path. Get one per thread; several may write at once, also to the same series.
// Append* only buffer; nothing is visible before Commit. Thread safety: one thread at a time.
class CHRONOLITH_EXPORT Appender {
 public:
  virtual ~Appender();

  // The reference of the series with these labels, created where there is none. Creation is queued at once and logged with the
  // next Commit. kInvalidArgument, kResourceExhausted (Options::max_series), kUnavailable.
  virtual Result<SeriesRef> Ref(const Labels& labels) = 0;
  // The same for many: much cheaper per new series. refs is resized; a refused one is SeriesRef{0} and listed in the result.
  virtual WriteResult Refs(std::span<const Labels> labels, std::vector<SeriesRef>* refs) = 0;

  virtual void Append(SeriesRef ref, Timestamp t, double value) = 0;
  virtual void AppendHistogram(SeriesRef ref, Timestamp t, Histogram histogram) = 0;
  virtual void AppendExemplar(SeriesRef ref, Exemplar exemplar) = 0;
  virtual void SetMetadata(SeriesRef ref, Metadata metadata) = 0;

  // Writes what was collected and waits for `level`. An unknown reference is refused with kNotFound, item by item.
  virtual WriteResult Commit(const WriteOptions& options = {}) = 0;
  // Forgets what was collected.
  virtual void Rollback() = 0;
};

struct SelectOptions {
  Deadline deadline = kNoDeadline;
  // Polled while selecting and reading; set it from any thread. Must outlive the SeriesSet.
  const std::atomic<bool>* cancelled = nullptr;
  // kResourceExhausted where more series match. 0: no bound.
  std::uint64_t max_series = 0;
  // Leaves out quarantined shards, and what cannot be read of a shard because of damage met on the way; SeriesSet::partial tells.
  // false: kDataLoss, or kIoError where the device does not give the bytes, that names the shard.
  bool skip_damaged = false;
  // Leaves out shards that are still being replayed (Options::wait_for_replay); SeriesSet::partial tells. false: waits for them,
  // and answers kResourceExhausted where the deadline passes before.
  bool skip_replaying = false;
  // Not empty: of the matching series only these, as SeriesIds names them, in any order; ids without a series are passed by. So a
  // store of any size is read piece by piece: a Select keeps the labels of all that it matches in memory. Looked at in Select only.
  std::span<const SeriesRef> among;
};

struct LookupOptions {
  // Only series that may have a sample in the range (by chunks, so a little more than exactly); default: all.
  TimeRange range;
  // At most so many results, the first in order; `truncated` of the result tells. 0: no bound.
  std::uint64_t limit = 0;
  Deadline deadline = kNoDeadline;
  bool skip_damaged = false;    // as SelectOptions::skip_damaged; `partial` of the result tells
  bool skip_replaying = false;  // as SelectOptions::skip_replaying; `partial` of the result tells
};

template <typename T>
struct Lookup {
  std::vector<T> values;   // sorted, distinct
  bool truncated = false;  // LookupOptions::limit left some out
  bool partial = false;    // LookupOptions::skip_damaged or skip_replaying left some out
};

// How far a Storage::Compact is.
struct CompactProgress {
  std::uint32_t shard = 0;  // at hand
  // Of all shards that are compacted. A window of a shard counts once when its chunks are merged, and once when the engine has
  // written its files anew (not with dry_run).
  std::uint64_t windows_done = 0;
  std::uint64_t windows_total = 0;  // as it was at the beginning
  std::uint64_t bytes = 0;          // read and written so far; what the engine does is estimated
};

struct CompactOptions {
  // Changes nothing and says what would be done, also of a read_only store. What only the log holds is not looked at, but for
  // deletes: figures are those of the real run where nothing was written since the last checkpoint.
  bool dry_run = false;
  // Damage met in a shard is told in its result (ShardCompactResult::damage) only, and not by the status of the call.
  bool skip_damaged = false;
  std::vector<std::uint32_t> shards;  // the others are left alone, but for the retention floor, which is the store's; empty: all
  // Read and written at most, by merging and by the engine; 0: no bound. Kept on average: merging pauses at least each 4 MiB of a
  // shard, the engine after whole windows of 64 MiB or more. Where some series may have no data left, the shard is read once more,
  // in one go, and waited for afterwards.
  std::uint64_t bytes_per_second = 0;
  // Looked at after each window, at least each 4 MiB, ten times a second where it waits for bytes_per_second, and after each piece
  // of the engine's; set it from any thread. The result then has what was done (complete is false); call again to go on.
  const std::atomic<bool>* cancelled = nullptr;
  // Called on the thread of the call, at each of these points. Must not call the store.
  std::function<void(const CompactProgress&)> progress;
};

struct CompactFigures {
  std::uint64_t rows_before = 0, rows_after = 0;
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of chunk rows, before compression
  std::uint64_t bytes_written = 0;                  // of them, by merging
  // Of the files of the shard in the data instance (chunks and index), after the checkpoint with which it begins and at its end:
  // with what was stored meanwhile. disk_bytes_after is 0 with dry_run.
  std::uint64_t disk_bytes_before = 0, disk_bytes_after = 0;
  std::uint64_t windows = 0;          // looked at; those wholly past retention are left out
  std::uint64_t samples_deleted = 0;  // by deletes and retention; exemplars count
  std::uint64_t series_removed = 0;
};

struct ShardCompactResult : CompactFigures {
  std::uint32_t shard = 0;
  // Why it is quarantined and was passed by; or kDataLoss of rows that were met: what comes behind them is as it was.
  Status damage;
};

struct CompactResult : CompactFigures {  // of all shards together
  bool complete = false;                 // false: it was cancelled
  std::vector<ShardCompactResult> shards;
};

struct ScrubOptions {
  std::uint64_t bytes_per_second = 0;  // read at most; 0: no bound
  // Looked at between pieces of at most some MiB, and ten times a second where the pass waits; set it from any thread.
  const std::atomic<bool>* cancelled = nullptr;
};

struct ScrubProblem {
  std::string place;                   // "log/<file>", "data/<file>", "STORE", or family and key of a row: "chunk.3/<hexadecimal>"
  std::optional<std::uint32_t> shard;  // none: of what all shards share
  Status status;                       // kDataLoss: wrong or missing bytes; kIoError: the device does not give them. Names the file
};

struct ScrubReport {
  bool complete = false;    // false: it was cancelled
  std::uint64_t bytes = 0;  // read: of files, and again of rows
  std::uint64_t rows = 0;
  std::uint64_t problems_total = 0;
  std::vector<ScrubProblem> problems;      // the first thousand
  std::vector<std::uint32_t> quarantined;  // shards that were passed by
};

// One store, in one directory. Several stores may be open in a process; one directory only once (kFailedPrecondition, naming it),
// except read_only.
// Thread safety: all methods may be called concurrently, except Close and the destructor.
class CHRONOLITH_EXPORT Storage {
 public:
  // kInvalidArgument names the wrong option; kNotFound: no database there and create_if_missing is off; kFailedPrecondition: locked
  // by another process, not a database, or written by a newer format; kDataLoss: damaged, the message says what is affected.
  static Result<std::unique_ptr<Storage>> Open(const Options& options, const std::string& path);

  // Closes, if Close was not called; its status is lost.
  virtual ~Storage();

  // ---- Writing ----
  // Valid items of a partly valid write are kept. A write over several shards is not atomic.
  // kResourceExhausted: rings, memory or the engine stayed full for Options::backpressure_wait_ms, or a disk is nearly full (writes
  // are taken again within about a second of there being room); what `accepted` counts was taken, and goes on.
  // kUnavailable: the log failed; Reopen. kUnknown in a refusal: the item may or may not survive a crash.
  virtual WriteResult Write(std::span<const TimeSeries> series, const WriteOptions& options = {}) = 0;
  WriteResult Write(const TimeSeries& series, const WriteOptions& options = {}) {
    return Write(std::span<const TimeSeries>(&series, 1), options);
  }
  virtual std::unique_ptr<Appender> NewAppender() = 0;  // must be destroyed before the Storage

  // Waits until the write of `token` has reached `level`; kDeadlineExceeded (or kResourceExhausted, see WriteOptions::deadline), or
  // kUnavailable where the log failed before it was logged (kSynced: synced); at kQueued too, as it is lost then.
  virtual Status Wait(CommitToken token, AckLevel level, Deadline deadline = kNoDeadline) = 0;
  // Calls `done` exactly once, with what Wait would return: when the write has reached `level` or failed, at the latest in Close or
  // Reopen, which log and sync what is queued first; kUnavailable where the store was closed or reopened before. It runs on a
  // thread of the store, or on the calling thread where the outcome is known already, or on that of Close or Reopen. It may call
  // this store, but must not wait for a level, nor call Close or Reopen.
  virtual void OnReached(CommitToken token, AckLevel level, std::function<void(Status)> done) = 0;
  // The newest LSN of a shard for which all up to it have reached `level`. kResourceExhausted: the shard is still being replayed.
  virtual Result<Lsn> ReachedLsn(std::uint32_t shard, AckLevel level) const = 0;

  // Hides samples, histograms and exemplars of the matching series in `range` that were written before the call; frees their space
  // at the next Compact. At least one matcher must not match the empty string. Waits until all shards are replayed, until the
  // deadline; kResourceExhausted. kDataLoss: what of a shard matches cannot be told, as where it is quarantined. After an error
  // some shards may have deleted theirs and others not; the call may be repeated.
  virtual WriteResult Delete(const std::vector<Matcher>& matchers, TimeRange range, const WriteOptions& options = {}) = 0;

  // ---- Reading ----
  // No matcher selects everything. kInvalidArgument: a bad regular expression (named), a reversed range.
  virtual Result<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers, TimeRange range,
                                                    const SelectOptions& options = {}) = 0;
  virtual Result<Lookup<Labels>> Series(const std::vector<Matcher>& matchers, const LookupOptions& options = {}) = 0;
  virtual Result<Lookup<std::string>> LabelNames(const std::vector<Matcher>& matchers, const LookupOptions& options = {}) = 0;
  virtual Result<Lookup<std::string>> LabelValues(const std::string& name, const std::vector<Matcher>& matchers,
                                                  const LookupOptions& options = {}) = 0;
  // The next three wait until what they read is replayed (Options::wait_for_replay). kDataLoss: of a quarantined shard.
  virtual Result<std::vector<Exemplar>> Exemplars(const Labels& series, TimeRange range) = 0;
  virtual Result<std::optional<Metadata>> SeriesMetadata(const Labels& series) = 0;
  // Ids of the matching series, ascending; for hosts that keep their own tables by id.
  virtual Result<std::vector<SeriesRef>> SeriesIds(const std::vector<Matcher>& matchers) = 0;

  // ---- Upkeep: checkpoints and retention run in the background as well, and of Compact what pays (Options::background_compaction)
  // ---- All but Flush wait until all shards are replayed. kResourceExhausted: the disk is full, or an engine takes no writes;
  // kUnavailable: the log failed. Nothing is lost by either; try again, after kUnavailable when the store was reopened.
  virtual Status Flush() = 0;       // everything queued becomes synced; kResourceExhausted as WriteOptions::deadline says
  virtual Status Checkpoint() = 0;  // writes the head to the data instance and trims the log
  // Merges small and overlapping chunks, applies deletes and retention, removes series without data, and has the engine write what
  // is left anew. Readers see the same before, meanwhile and afterwards; cut short at any moment, by an error or a crash, nothing
  // is lost and it can be called again. Passes quarantined shards by. Calls wait for each other. kDataLoss: rows of a shard (named)
  // are damaged; the others were compacted. kInvalidArgument: there is no such shard.
  virtual Result<CompactResult> Compact(const CompactOptions& options = {}) = 0;
  // A consistent copy in the new directory `path`, with hard links where the file system allows; a store of its own, whose log and
  // data cannot be mixed with this one's. After an error `path` is no store and may be removed.
  virtual Status Snapshot(const std::string& path) = 0;

  // Reads everything that is stored and checks all checksums: of table files, logs and manifests of the engine, then of our own
  // rows. Problems do not end it: they are in the report, in Stats and in the log, and what is damaged goes on as it does when a
  // read meets it. What is written meanwhile may or may not be looked at. One pass at a time: one in the background gives way,
  // kFailedPrecondition where the host makes another. kUnavailable: the store was closed or reopened meanwhile, or a writer removed
  // files under a read-only store.
  virtual Result<ScrubReport> Scrub(const ScrubOptions& options = {}) = 0;

  // After kUnavailable: discards what was not logged, opens the log again and replays it. Readers and appenders stay usable; what
  // they were waiting for and was not reached reports kUnavailable. kResourceExhausted: a disk is nearly full; free space first,
  // what could be read still can.
  virtual Status Reopen() = 0;

  // Waits until all shards serve (Options::wait_for_replay); ok at once where Open has waited. kResourceExhausted: some are still
  // being replayed at `deadline`; the message says how far they are. kUnavailable: the log of one could not be read, or no shard is
  // left to serve; Reopen tries again. Or the store is being closed or reopened meanwhile, as all that waits for replay reports.
  // Quarantined shards count as ready; Stats tells of them.
  virtual Status WaitReady(Deadline deadline = kNoDeadline) = 0;

  virtual StorageStats Stats() const = 0;

  // Logs and syncs what is queued, stops all threads, closes the engines. Later calls abort. kUnavailable: the log failed, or the
  // engine had no room for it for Options::backpressure_wait_ms; what was not acknowledged as logged is lost.
  virtual Status Close() = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_H_

// Options of a store: first what changes its behaviour, then what changes its speed. Each names its default, unit and the cost of
// raising it. Storage::Open checks all of them and refuses by name. Durations are at most a hundred years.
#ifndef CHRONOLITH_OPTIONS_H_
#define CHRONOLITH_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "chronolith/engine_registry.h"
#include "chronolith/env.h"
#include "chronolith/log_archiver.h"
#include "chronolith/types.h"

namespace chronolith {

// How far replaying one shard's log has come, at Open and Reopen.
struct ReplayProgress {
  std::uint32_t shard = 0;
  std::uint64_t records = 0;           // replayed so far
  std::uint64_t records_expected = 0;  // in all; known when replay begins, but for those of the last row
  std::uint64_t bytes = 0;             // of rows, read so far
  double seconds_left = 0;             // for this shard, at the rate so far; 0 where it is done
  bool done = false;
};

// Which of two samples of one series with the same timestamp is kept. The same live, after a restart and after compaction.
enum class DuplicatePolicy : std::uint8_t {
  kLastWins,  // the later write replaces the earlier one
  kReject,    // the earlier one stays; the later write is refused with kAlreadyExists (an equal value is accepted silently)
};

struct Options {
  // ---- Behaviour ----

  bool create_if_missing = true;
  bool error_if_exists = false;

  // Opens beside a live writer or on its own; changes nothing on disk. Sees what was logged when it was opened, not what was only
  // queued. Writes answer kFailedPrecondition.
  bool read_only = false;

  // Opens although the log has lost records, and gives up what is missing, for good: of each shard what Stats names (StorageStats::losses),
  // and samples of series whose creation was lost. What was deleted, or was past retention, may be back where the record of that was
  // lost. Intact records in front of and behind the loss stay; damaged files of the log are kept aside. false: a shard that this is
  // true of is quarantined, or the store refused, with nothing changed. Open ends with a checkpoint; where the process dies before,
  // the next one needs this again. Replay is then bounded by the log's size only, not by memory_limit_bytes. Damaged data files
  // quarantine their shard as ever. Holds for each Reopen too. Not with read_only.
  bool accept_data_loss = false;

  // Engine under the store, by its name in `engines`. Persisted at creation; opening with another is refused.
  std::string engine = "rocksdb";
  std::shared_ptr<EngineRegistry> engines;  // null: EngineRegistry::Default()

  // Shards of a new store, 1 to 31. Persisted at creation; an existing store keeps its own number. More shards mean less lock
  // contention and more column families (three a shard).
  int shards = 16;

  // Directory of the log instance, written down as an absolute path; "": <path>/log of a new store, where it was of an existing
  // one. On another disk it takes the writes away from compaction's. Another directory than an existing store's own says that its
  // log has been moved there: it must be this store's (kFailedPrecondition, kDataLoss), and is found there from then on.
  std::string log_path;

  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;

  // Samples older than this many ms before the newest of them (or now, whichever is earlier) expire; 0 keeps for ever.
  std::int64_t retention_ms = 0;
  // Bytes on disk beyond which the oldest windows expire; 0 is no bound.
  std::uint64_t retention_bytes = 0;

  // Time window of a chunk, in ms; chunks never cross windows, and whole windows expire. Persisted at creation.
  std::int64_t window_ms = 2 * 60 * 60 * 1000;

  // An upper bound on how long a logged write can stay unsynced, in ms. A power loss takes at most this much of what was
  // acknowledged as logged. Lower costs an fdatasync as often; 0 turns the background sync off.
  std::int64_t sync_interval_ms = 200;

  // Sees the log's rows before they are trimmed; null: nobody does.
  std::shared_ptr<LogArchiver> log_archiver;
  // How much of a shard's log is held while the archiver refuses it, in bytes. Beyond, the oldest rows are trimmed unarchived, the
  // archiver is told (LogArchiver::OnGap) and the loss is counted: an archive that is away does not stop the store. More costs disk
  // (and opening reads it).
  std::uint64_t log_archive_backlog_bytes = 64ULL << 20;

  // How often the store reads through all that it keeps and checks every checksum, in the background; from the start of one pass to
  // that of the next, in ms. Finds what a disk has spoiled before somebody needs it. A restart neither begins a pass anew nor puts it
  // off. 0: only as Storage::Scrub is called. Costs as much reading as scrub_bytes_per_second allows.
  std::int64_t scrub_interval_ms = 7LL * 24 * 60 * 60 * 1000;

  // Limits of what a write may carry. Beyond: kInvalidArgument (labels), kResourceExhausted (series).
  std::uint32_t max_labels_per_series = 30;
  std::uint32_t max_label_name_bytes = 1024;
  std::uint32_t max_label_value_bytes = 2048;
  std::uint64_t max_series = 50'000'000;

  // Whether Open and Reopen return when all of the log has been replayed. false: as soon as it is known that the store can be opened;
  // each shard then serves when its own log has been replayed, and Storage::WaitReady waits for all of them. Until then a write to
  // a shard waits for it, for backpressure_wait_ms at most, and is then refused with kResourceExhausted; queries wait up to their
  // deadline, or leave such shards out (SelectOptions::skip_replaying); upkeep waits for all shards. Where a shard turns out to be
  // damaged it is quarantined as ever; where it cannot be read at all, the store answers kUnavailable until it is reopened. A
  // read-only store always waits.
  bool wait_for_replay = true;

  // Told how replay goes: about every 4 MiB of a shard's log or 100 ms, and once when the shard is done. Called from several threads at once;
  // must not block. null: nobody is told. The same is in ShardStats at any time.
  std::function<void(const ReplayProgress&)> on_replay;

  std::shared_ptr<Clock> clock;    // null: the system's
  std::shared_ptr<Logger> logger;  // null: silent

  // ---- Performance ----

  // Bound on rings, heads, engine buffers and caches together, also while a store replays its log; shared between stores where they
  // get the same object.
  // null: a private one of memory_limit_bytes, but of at most half of what the control group of the process allows it, with caches
  // of at most an eighth (blocks) and a sixteenth (postings) of that; the other half is the host's and what RocksDB does not count.
  std::shared_ptr<MemoryBudget> memory_budget;
  std::uint64_t memory_limit_bytes = 2ULL << 30;

  // What replay may hold in memory beside what any open store needs (the log in the engine's buffers, rings, caches, 64 bytes a
  // series): the heads and indexes of all shards together, in bytes; at least 1 MiB a shard, at most half of what memory_limit_bytes
  // leaves free. What goes beyond is stored while replay goes on. Less costs time: more, smaller checkpoints of shards.
  std::uint64_t replay_memory_bytes = 256ULL << 20;

  // Ring between writers and committers, bytes a shard; a power of two, 64 KiB to 64 MiB. Larger absorbs longer bursts at the
  // level queued and loses more of them in a crash.
  std::uint64_t ring_bytes = 256ULL << 10;
  // How long a write waits for room in a full ring, for memory, or (without a deadline) for an engine that takes no writes, before it
  // answers kResourceExhausted; and Close, before it gives up what the engine does not take. 40 ms at least for an engine.
  std::int64_t backpressure_wait_ms = 5000;
  // The longest that a write of level queued stays in the ring before a committer logs it, in ms.
  std::int64_t commit_interval_ms = 5;

  // Log bytes after which a checkpoint starts, but at most an eighth of the memory; replay after a crash is bounded by about twice
  // this, and what comes while background_compaction holds one off. Larger costs memory (the log's memtables hold up to twice this) and
  // start-up time, smaller rewrites open chunks more often. Stores that share a budget: together at most an eighth of it, so that one
  // that falls silent does not hold what the others need. 64 KiB to 1 GiB.
  // Writes are refused (kResourceExhausted) while a disk of the store has less than this and the rings left, or a sixteenth of its
  // size where that is less.
  std::uint64_t checkpoint_bytes = 256ULL << 20;
  // A checkpoint also starts after this long with anything unapplied, in ms; 0: only by bytes.
  std::int64_t checkpoint_interval_ms = 5 * 60 * 1000;

  // Whether the store compacts by itself what is worth it, between checkpoints: windows that hold much late data, and series whose data
  // has expired. Costs reading such a window again; in-order data is never read. Deletes free their space at Storage::Compact.
  bool background_compaction = true;

  // The most that the scrub in the background reads, in bytes a second; 0: no bound. Everything is read twice, as files and as rows:
  // at the default a store of 2 TiB takes a week. Costs a disk that much of its reading, and a core 1.5 % for 8 MiB/s.
  std::uint64_t scrub_bytes_per_second = 8ULL << 20;

  // Samples of a chunk, 16 to 1000. Larger compresses slightly better and rewrites more at a checkpoint.
  std::uint32_t max_samples_per_chunk = 240;

  std::uint64_t postings_cache_bytes = 32ULL << 20;
  std::uint64_t block_cache_bytes = 64ULL << 20;

  // Threads for checkpoint, replay and engine background work; 0: the number of CPUs, at most 4.
  int background_threads = 0;
  // Bound on the upkeep threads of several stores together, see ThreadBudget. null: none beside background_threads.
  std::shared_ptr<ThreadBudget> thread_budget;
};

}  // namespace chronolith

#endif  // CHRONOLITH_OPTIONS_H_

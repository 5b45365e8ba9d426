// Plain snapshots of what a store has done and holds. For a Prometheus registry see metrics.h.
#ifndef CHRONOLITH_STATS_H_
#define CHRONOLITH_STATS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/export.h"
#include "chronolith/kv_engine.h"
#include "chronolith/types.h"

namespace chronolith {

// Durations in fixed buckets: bucket i counts durations below 2^i * 256 ns (so 256 ns, 512 ns, ... about 9 minutes), the last one
// takes the rest. Counts are not cumulative.
struct CHRONOLITH_EXPORT DurationHistogram {
  static constexpr int kBuckets = 32;
  static constexpr double UpperBoundSeconds(int bucket) { return 256e-9 * static_cast<double>(1ULL << bucket); }

  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t count = 0;
  double sum_seconds = 0;

  // The q-quantile (0..1) in seconds, interpolated within its bucket; 0 where nothing was counted.
  double Quantile(double q) const;
  void Add(const DurationHistogram& other);
};

// One lock. Only contended acquisitions are timed: `wait` counts those that did not succeed at the first try.
struct LockStats {
  std::string name;  // "append", "series", "index_read", "index_write", ...
  std::uint64_t acquisitions = 0;
  DurationHistogram wait;
};

struct ShardStats {
  std::uint32_t shard = 0;
  // Why the shard is quarantined: which file is damaged, and what to do. "": it serves. The figures below are 0 for a quarantined
  // shard, but for wal_bytes_pinned, which is what its family of the log holds.
  std::string quarantine;

  // Log
  Lsn last_lsn = 0;     // newest record handed to the ring
  Lsn logged_lsn = 0;   // all up to here survive kill -9
  Lsn synced_lsn = 0;   // all up to here survive power loss
  Lsn applied_lsn = 0;  // all up to here are durable in the data instance
  Lsn trimmed_to = 0;   // all up to here are gone from the log
  std::uint64_t epoch = 0;
  std::uint64_t wal_records = 0;                // since open
  std::uint64_t wal_bytes = 0;                  // encoded, since open
  std::uint64_t wal_bytes_pinned = 0;           // in the log and not yet trimmed
  std::uint64_t wal_archived_bytes = 0;         // given to Options::log_archiver, since open
  std::uint64_t wal_archive_backlog_bytes = 0;  // superfluous, but held in the log until the archiver takes it
  std::uint64_t wal_archive_gap_bytes = 0;      // trimmed without the archiver having taken it, since open
  std::uint64_t ring_bytes_queued = 0;          // in the ring now
  std::uint64_t ring_full_waits = 0;            // writers that met a full ring
  std::uint64_t groups = 0;                     // group commits that carried this shard
  std::uint64_t group_records = 0;              // records in them: group_records / groups is the mean group size
  bool serving = true;                          // false: still being replayed; then the figures below but the next four are 0
  std::uint64_t replayed_records = 0;           // at the last open, so far
  std::uint64_t replayed_bytes = 0;
  std::uint64_t replay_records_expected = 0;    // in all; but for those of the log's last row
  double replay_seconds_left = 0;               // at the rate so far

  // Head
  std::uint64_t samples_appended = 0;
  std::uint64_t samples_out_of_order = 0;
  std::uint64_t samples_refused = 0;
  std::uint64_t series_resident = 0;
  std::uint64_t series_total = 0;
  std::uint64_t series_created = 0;
  std::uint64_t series_removed = 0;
  std::uint64_t series_released = 0;  // stored series that left memory because it was scarce, since open; each time counts
  std::uint64_t head_bytes = 0;

  // Index
  std::uint64_t postings_cache_hits = 0;
  std::uint64_t postings_cache_misses = 0;
  std::uint64_t labels_cache_hits = 0;  // labels of stored series; they share the postings cache and its bytes
  std::uint64_t labels_cache_misses = 0;
  std::uint64_t postings_cache_bytes = 0;

  // Blocks
  std::uint64_t chunk_rows_written = 0;
  std::uint64_t chunk_payload_bytes = 0;  // of closed and open chunks written since open
  std::uint64_t chunk_samples = 0;        // samples in them

  // Damage that scrubs found since open: files and rows of the shard, each once, and the first of them. Damage to what shards share:
  // ScrubStats.
  std::uint64_t scrub_errors = 0;
  std::string scrub_damage;  // "": none

  std::vector<LockStats> locks;
  std::array<DurationHistogram, 3> write_latency;  // by AckLevel
  DurationHistogram index_read_latency;
  DurationHistogram index_write_latency;
};

// Passes over all that a store keeps (Options::scrub_interval_ms, Storage::Scrub).
struct ScrubStats {
  bool running = false;
  double progress = 0;      // of the pass that goes on, or waits to go on: 0 to 1, by files and families
  std::uint64_t bytes = 0;  // read and checked since open: of files, and again of rows
  std::uint64_t rows = 0;
  std::uint64_t shared_errors = 0;    // as ShardStats::scrub_errors, of files that all shards share
  std::vector<std::string> problems;  // found since open, each once; the first 16
  // Of the last complete pass, also before the store was opened.
  std::int64_t last_full_pass_ms = 0;  // wall clock, of its end; 0: there was none
  double last_pass_seconds = 0;        // without those at which the store was closed
  std::uint64_t last_pass_problems = 0;
  std::vector<std::string> last_problems;  // the first 16
};

// What the last open gave up of one shard (Options::accept_data_loss).
struct ShardLoss {
  struct Range {  // both ends included
    Lsn first = 0;
    Lsn last = 0;
  };
  std::uint32_t shard = 0;
  std::vector<Range> lost;  // ascending
  // Records from this one on may be lost too, however many: nothing in the log tells. 0: the log tells all.
  Lsn uncertain_from = 0;
  std::uint64_t dropped_samples = 0;  // in the log, but of series whose creation was lost
  std::uint64_t dropped_items = 0;    // exemplars and metadata of such
};

struct StorageStats {
  std::vector<ShardStats> shards;
  std::vector<ShardLoss> losses;  // of shards that have any
  EngineStats log_engine;
  EngineStats data_engine;
  DurationHistogram group_write_latency;  // one engine write of the log
  DurationHistogram sync_latency;
  DurationHistogram checkpoint_duration;
  DurationHistogram select_latency;
  std::uint64_t checkpoints = 0;
  std::uint64_t compacted_windows = 0;  // of single shards, in the background, since open
  std::int64_t last_checkpoint_ms = 0;  // wall clock; 0: none since open
  ScrubStats scrub;
  std::uint64_t unsynced_bytes = 0;
  std::int64_t unsynced_age_ms = 0;
  std::uint64_t memory_used_bytes = 0;
  std::uint64_t memory_limit_bytes = 0;
  double replay_seconds = 0;  // of the last open
  std::uint64_t replay_checkpoints = 0;  // of single shards, by the last open: replay had outgrown its part of the memory
  std::uint64_t stalled_groups = 0;  // group commits of the log that had to wait for room in the engine, since open
  bool log_failed = false;
  std::string engine;
  std::string version;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STATS_H_

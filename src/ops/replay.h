// Reads the log of a store, shard by shard at once, and sends its records to a target.
#ifndef CHRONOLITH_OPS_REPLAY_H_
#define CHRONOLITH_OPS_REPLAY_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/offline_store.h"
#include "ops/record_sink.h"
#include "ops/wal_scan.h"

namespace chronolith::ops {

struct ReplayOptions {
  LogSelection selection;
  // Goes on behind records that are lost. false: what lies behind them is left out, of that shard. Either way the loss is told.
  bool pass_damage = false;
  std::uint64_t items_per_second = 0;  // samples and the like; 0: no bound
  int threads = 0;                     // 0: as many as there are cores, or shards; a target whose sinks move together: one a shard
  // Goes on behind what it says is delivered, and keeps it (ops/replay_cursor.h); "": none.
  std::string cursor_path;
  std::chrono::milliseconds cursor_interval{1000};  // between two flushes of a sink, and two saves; each syncs the target
  // The cursor is looked at and left as it is, and the target is given everything, but neither opened, synced nor closed: for one
  // that only counts (ops/sink_dry_run.h).
  bool dry_run = false;
  // Told after each save how many items of this replay are delivered and synced. From any thread; may be empty.
  std::function<void(std::uint64_t)> on_saved;
};

struct ShardReplay {
  ShardId shard = 0;
  ScanTotals read;
  Delivered delivered;
  Lsn resumed_after = 0;              // LSN of the cursor; 0: there was none
  Lsn delivered_lsn = 0;              // all up to here that is selected is with the target; 0: nothing
  std::vector<std::string> problems;  // damage of the source: what is lost, or what kept it from being read
  Status failure;                     // of the target, or kCancelled: where the shard ended
};

struct ReplayReport {
  std::string source_problem;  // the data instance cannot be opened, and what follows from it; "": it is
  std::vector<ShardReplay> shards;
  double seconds = 0;
  bool interrupted = false;

  ScanTotals Read() const;  // of all shards; without LSNs
  Delivered Sum() const;
  std::vector<std::string> Problems() const;  // source_problem; then of shards, each names its own
  std::vector<std::string> Failures() const;  // the same, but shards that failed alike in one
  bool complete() const { return Problems().empty() && Failures().empty(); }
};

// What a damaged shard or a failing target keeps from one shard is in the report, and the other shards go on. An error is of what
// all need: the selection, the target. Sees what was logged when `store` was opened. Memory: within OpsContext::memory_limit_bytes
// what the target's sinks keep of labels, a row a thread, and what the sinks collect until their Flush; 16 bytes a row of the log
// that creates series; the store's own.
Result<ReplayReport> Replay(const OfflineStore& store, RecordTarget* target, const ReplayOptions& options,
                            const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_REPLAY_H_

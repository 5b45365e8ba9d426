// What a store's files hold, shard by shard, read beside whoever writes: sizes, positions, windows, and who keeps which bytes of
// the log from being freed.
#ifndef CHRONOLITH_OPS_INSPECT_H_
#define CHRONOLITH_OPS_INSPECT_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/kv_engine.h"
#include "chronolith/result.h"
#include "format/chunk_row.h"
#include "ops/context.h"
#include "ops/offline_store.h"
#include "ops/shard_condition.h"

namespace chronolith::ops {

// Why rows of a shard's log are still there; what releases them: ReleaseOf.
enum class PinReason : std::uint8_t {
  kNotStored,    // they are in no table of the data instance yet: a checkpoint stores them
  kNotTrimmed,   // they are stored; an archiver has not taken them, or the checkpoint that stored them was cut short
  kQuarantined,  // the shard's files are damaged, so nothing can be stored
};

// Rows of the log of one shard that one reason keeps.
struct LogPin {
  ShardId shard = 0;
  PinReason reason = PinReason::kNotStored;
  Lsn first_lsn = 0;  // inclusive
  Lsn last_lsn = 0;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;     // as stored, keys included
  std::int64_t since_ms = 0;   // when the oldest of them was written
  std::int64_t newest_ms = 0;  // and the newest
};
std::string_view NameOf(PinReason reason);     // "not stored", ...
std::string_view ReleaseOf(PinReason reason);  // a sentence

struct WindowUse {
  Timestamp window = 0;      // its start
  std::uint64_t chunks = 0;  // 0 where the chunks were not read
  std::uint64_t bytes = 0;   // of their values; else the engine's estimate
  std::uint64_t samples = 0;
  std::map<ShardId, std::uint64_t> shard_bytes;  // of those that have any
};

// Chunks by the size of their row's value: class i has those of (2^(i+3), 2^(i+4)] bytes, class 0 all up to 16.
inline constexpr std::size_t kChunkClasses = 13;  // up to 64 KiB
struct ChunkClass {
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t samples = 0;
};
std::uint64_t ChunkClassEnd(std::size_t i);  // the most bytes of a chunk in it

struct ShardUse {
  ShardId shard = 0;
  // Quarantined as far as an open can tell. Where it is not complete, figures are of what was read, and lower bounds.
  ShardCondition condition;
  // The data's tables.
  std::uint64_t series = 0;        // as of the last checkpoint
  std::uint64_t next_ordinal = 0;  // how many series it has ever had, as of then
  std::uint64_t chunks = 0;
  std::uint64_t chunk_bytes = 0;
  std::uint64_t samples = 0;  // in chunks, before deletes, floor and duplicates
  std::uint64_t tombstones = 0;
  Timestamp min_time = kMaxTimestamp;  // of samples in chunks; above max_time where there are none
  Timestamp max_time = kMinTimestamp;
  std::uint64_t table_bytes = 0;  // of index.<k> and chunk.<k>
  Timestamp floor = kMinTimestamp;
  Lsn index_applied_lsn = 0;
  Lsn chunk_applied_lsn = 0;
  Lsn applied_lsn() const { return std::min(index_applied_lsn, chunk_applied_lsn); }
  // The log.
  Lsn trimmed_to = 0;
  Lsn first_lsn = 0;  // of the rows that are there; 0: none
  Lsn last_lsn = 0;
  std::uint64_t epoch = 0;
  std::uint64_t log_rows = 0;
  std::uint64_t log_records = 0;
  std::uint64_t log_bytes = 0;
  std::int64_t oldest_write_ms = 0;
  std::int64_t newest_write_ms = 0;
};

struct InstanceFile {
  std::string instance;  // "log", "data"
  std::string name;
  std::string kind;  // "table", "log", "manifest", "options", "other"
  std::uint64_t bytes = 0;
  std::int64_t modified_ms = 0;
};

// One setting of RocksDB's, as the process that wrote last had it.
struct EngineSetting {
  std::string instance;
  std::string families;  // "", "wal.*" where all shards have the same, else one family
  std::string name;
  std::string value;
};

struct InspectOptions {
  // False: chunks are not read, only estimated. Reading takes as long as reading the files.
  bool chunks = true;
  bool files = false;
  bool settings = false;
};

struct InspectReport {
  std::int64_t now_ms = 0;
  std::vector<ShardUse> shards;
  std::vector<LogPin> pins;  // oldest first
  EngineStats log;
  EngineStats data;
  std::map<Timestamp, WindowUse> windows;
  std::array<ChunkClass, kChunkClasses> chunk_classes{};
  bool chunks_read = false;
  std::vector<InstanceFile> files;
  std::vector<EngineSetting> settings;

  std::uint64_t PinnedBytes() const;
  bool complete() const { return AllComplete(shards); }
  std::vector<std::string> Problems() const { return ProblemsOf(shards); }  // what could not be read, by shard
};

// Memory: a few words a window and a log row, and the engine's. kCancelled where it was interrupted.
Result<InspectReport> Inspect(const OfflineStore& store, const InspectOptions& options, const OpsContext& context);

// Each chunk row of the shard in order of keys, without a check of its bytes: identity, times, samples and the bytes of its value.
Status ScanChunkRows(const OfflineStore& store, ShardId shard, const OpsContext& context,
                     const std::function<void(const ChunkMeta&, std::uint64_t bytes)>& take);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_INSPECT_H_

#include "plugins/rocksdb/options_table.h"

#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <sstream>

#include "plugins/common/engine_checks.h"
#include "plugins/rocksdb/file_checksum.h"
#include "plugins/rocksdb/table_check.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kKiB = 1ULL << 10;
constexpr std::uint64_t kMiB = 1ULL << 20;

// clang-format off
//
// wal    Records are compressed by the WAL itself, so compressing them again buys nothing. Rows are trimmed before their memtable is
//        flushed, so that files are rare and small (what is left is mostly range tombstones); no filter, because recovery scans. The
//        stop trigger is out of reach: a log that waits for a compaction would stop the whole store.
// index  Label strings and postings, looked up at random: LZ4 and small blocks, because each look-up that misses the cache
//        decompresses one. Level 0 as well, where the rows of a store that gets few new series stay for good: on disk 75 instead of
//        280 bytes a series, for 0.2 us of CPU. Whole-key filters, because creating a series asks for keys that are mostly absent;
//        none in memtables, which a checkpoint flushes as soon as it has filled them. The index and filters of a million series do
//        not fit a small cache: in pieces only the hot ones must.
// chunk  Packed samples, or XOR. LZ4 throughout: it makes files of 0.68, 1.04 and 1.08 times the XOR payload of regular counters,
//        random walks and slow gauges (plugins/README.md; keys, checksums and block overhead included; without compression 1.14,
//        1.04, 1.61). ZSTD at the last level would make them 0.52, 1.04 and 0.76, but take 2 ns a sample more to read and three
//        times the CPU to compact. Chunks
//        are read by range, so no filter. Large blocks, because neighbours are read together.
//        What comes in order overlaps only the window that was open at the last checkpoint: small files and eight of level 0 at a
//        time keep what a compaction writes again near that (random walks at 20 M samples/s: 1.25 times what was flushed, instead of
//        2.5 with four files and 64 MiB).
// meta   A few small rows, read at open.
//
// Level 0: a checkpoint adds one small file to each family, so four or eight files are as many checkpoints' worth; writers stop at 128
// files, which only a compaction that fell behind by a hundred checkpoints reaches.
constexpr FamilyTuning kFamilyTunings[] = {
    // level 0                         upper                          bottom                          block     bloom pieces L0   stop   file      base
    {rocksdb::kNoCompression,         rocksdb::kNoCompression,         rocksdb::kNoCompression,        32 * kKiB, 0,   false, 4,   4096,  64 * kMiB, 256 * kMiB},  // wal
    {rocksdb::kLZ4Compression,        rocksdb::kLZ4Compression,        rocksdb::kLZ4Compression,       4 * kKiB,  10,  true,  4,   128,   32 * kMiB, 128 * kMiB},  // index
    {rocksdb::kLZ4Compression,        rocksdb::kLZ4Compression,        rocksdb::kLZ4Compression,       32 * kKiB, 0,   true,  8,   128,   16 * kMiB, 256 * kMiB},  // chunk
    {rocksdb::kNoCompression,         rocksdb::kNoCompression,         rocksdb::kNoCompression,        4 * kKiB,  10,  false, 4,   128,   8 * kMiB,  32 * kMiB},   // meta
};

// log    Every write is logged. Memtables hold a whole checkpoint interval: rows are trimmed there and never reach a file. 1 GiB of
//        log bounds what an idle family can pin. Write-back starts each MiB, so that the periodic fdatasync finds little to do.
//        Flushing at recovery would write all that the next checkpoint trims. Many memtables, because each trim seals one.
// data   Only meta rows and epochs are logged, a few bytes each.
constexpr InstanceTuning kInstanceTunings[] = {
    // log all  log max     per sync  keep   memtables
    {true,      1024 * kMiB, 1 * kMiB, true, 16},  // log
    {false,     64 * kMiB,   0,        true, 8},   // data
};
// clang-format on

// Small enough for many families under a small budget, large enough that one block holds several values.
std::uint64_t ArenaBlockBytes(const EngineOptions& options) {
  const std::uint64_t fair_share = options.write_buffer_bytes / (options.families.size() + 1) / 8;
  return std::clamp<std::uint64_t>(fair_share, 16 * kKiB, 1 * kMiB);
}

// A family may hold a quarter of the budget, where there are few families more. The shared WriteBufferManager enforces the budget
// itself; this bound matters when RocksDB replays its log, which does not ask the manager.
std::uint64_t MemtableBytes(const EngineOptions& options) {
  const std::uint64_t budget = std::max<std::uint64_t>(options.write_buffer_bytes, 1 * kMiB);
  return std::clamp(4 * budget / std::max<std::uint64_t>(options.families.size(), 1), budget / 4, budget);
}

std::shared_ptr<rocksdb::TableFactory> MakeTable(const FamilyTuning& tuning, const InstanceResources& resources) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = resources.block_cache;
  table.block_size = tuning.block_bytes;
  table.format_version = kTableFormatVersion;
  table.checksum = kTableChecksum;
  // Index and filter blocks count against the cache's bound, and are evicted last.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  if (tuning.bloom_bits_per_key > 0) {
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(tuning.bloom_bits_per_key));
    table.whole_key_filtering = true;
  }
  if (tuning.partitioned_index) {
    table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
    table.partition_filters = tuning.bloom_bits_per_key > 0;
    table.metadata_block_size = 4 * kKiB;
    table.pin_top_level_index_and_filter = true;
  }
  return std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(table));
}

rocksdb::ColumnFamilyOptions Tuned(const FamilyTuning& tuning, const InstanceResources& resources) {
  rocksdb::ColumnFamilyOptions family;
  family.table_factory = MakeTable(tuning, resources);
  family.compression_per_level = {tuning.level0_compression, tuning.upper_compression};  // the second: of all levels below as well
  family.bottommost_compression = tuning.bottom_compression;
  family.level0_file_num_compaction_trigger = tuning.level0_compaction_trigger;
  family.level0_slowdown_writes_trigger = tuning.level0_stop_trigger / 2;
  family.level0_stop_writes_trigger = tuning.level0_stop_trigger;
  // Compaction debt slows the writer that makes it only through the triggers above.
  family.soft_pending_compaction_bytes_limit = 0;
  family.hard_pending_compaction_bytes_limit = 0;
  family.level_compaction_dynamic_level_bytes = true;  // the last level is the first to be filled: 1.1x space instead of 2x
  family.target_file_size_base = tuning.target_file_bytes;
  family.max_bytes_for_level_base = tuning.level_base_bytes;
  family.max_successive_merges = 0;
  family.ttl = 0;  // nothing is rewritten because of its age: retention decides
  family.periodic_compaction_seconds = 0;
  return family;
}

}  // namespace

const FamilyTuning& TuningOf(FamilyRole role) { return kFamilyTunings[static_cast<std::size_t>(role)]; }
const InstanceTuning& TuningOf(InstanceRole role) { return kInstanceTunings[static_cast<std::size_t>(role)]; }

Result<EngineSettings> ParseSettings(const EngineOptions& options) {
  if (Status s = CheckExtra(options, "rocksdb",
                            {"wal_recovery_mode", "repair", "drop_damaged_tables", "wal_dir", "tables_of", "log_rows"});
      !s.ok())
    return s;
  EngineSettings settings;
  if (const auto it = options.extra.find("wal_recovery_mode"); it != options.extra.end()) {
    settings.tolerate_tail = it->second == "tolerate_tail";
    if (!settings.tolerate_tail && it->second != "strict") {
      return InvalidArgument("wal_recovery_mode is '" + it->second + "', it must be 'strict' or 'tolerate_tail'");
    }
  }
  if (const auto it = options.extra.find("repair"); it != options.extra.end()) {
    settings.repair = it->second == "tables";
    if (!settings.repair || options.read_only)
      return InvalidArgument("repair must be 'tables', of an instance that is opened for writing");
  }
  if (const auto it = options.extra.find("drop_damaged_tables"); it != options.extra.end()) {
    std::istringstream names(it->second);
    for (std::string name; std::getline(names, name, ',');) settings.drop.insert(name);
    if (settings.drop.empty() || options.instance != InstanceRole::kLog)
      return InvalidArgument("drop_damaged_tables must name files, of a log instance");
  }
  if (const auto it = options.extra.find("wal_dir"); it != options.extra.end()) {
    settings.wal_dir = it->second;
    if (settings.wal_dir.empty() || !options.read_only)
      return InvalidArgument("wal_dir must name a directory, of an instance that is only read");
  }
  if (const auto it = options.extra.find("tables_of"); it != options.extra.end()) {
    settings.tables_of = it->second;
    if (settings.tables_of.empty() || options.create_if_missing)
      return InvalidArgument("tables_of must name a directory, of a copy that is there");
  }
  if (const auto it = options.extra.find("log_rows"); it != options.extra.end()) {
    settings.log_rows = it->second != "left_out";
    if (settings.log_rows || !options.read_only)
      return InvalidArgument("log_rows must be 'left_out', of an instance that is only read");
  }
  return settings;
}

InstanceResources MakeResources(const EngineOptions& options, const EngineSettings& settings) {
  InstanceResources resources;
  // An LRU cache: 7.8.3 calls its clock cache experimental. Half of it is for index and filter blocks.
  rocksdb::LRUCacheOptions cache;
  cache.capacity = options.block_cache_bytes;
  cache.high_pri_pool_ratio = 0.5;
  resources.block_cache = rocksdb::NewLRUCache(cache);
  resources.write_buffers = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
  if (!settings.log_rows) resources.log_filter = std::make_shared<LogRowsLeftOut>(settings.on_put);
  return resources;
}

rocksdb::DBOptions MakeDbOptions(const EngineOptions& options, const EngineSettings& settings, const InstanceResources& resources) {
  const InstanceTuning& tuning = TuningOf(options.instance);
  rocksdb::DBOptions db;
  db.create_if_missing = options.create_if_missing && !options.read_only;
  // "Tolerate corrupted tail" sounds lax and is the strict one of the usable modes: it cuts a record that the end of the file cuts
  // off, as kill -9 in the middle of a large write leaves it, and refuses a wrong checksum anywhere. Point-in-time, RocksDB's
  // default, silently drops all that follows a damaged record, and the absolute mode refuses what kill -9 leaves.
  db.wal_recovery_mode = settings.tolerate_tail ? rocksdb::WALRecoveryMode::kPointInTimeRecovery
                                                : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  if (settings.skip_damage) db.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  // A cut tail must not be met again at the next open: then the replayed rows are flushed and the damaged log goes.
  db.avoid_flush_during_recovery = tuning.keep_log_at_recovery && !settings.tolerate_tail;
  db.avoid_flush_during_shutdown = true;  // closing is not a checkpoint
  db.max_total_wal_size = tuning.log_bytes_max;
  db.wal_bytes_per_sync = tuning.log_bytes_per_sync;
  db.bytes_per_sync = kMiB;
  db.file_checksum_gen_factory = FileCrc32cFactory();  // VerifyChecksums then reads bytes, not blocks
  db.recycle_log_file_num = 0;  // a recycled file's old records behind a torn tail cannot be told from damage
  db.manual_wal_flush = false;
  db.wal_dir = settings.wal_dir;
  db.wal_filter = resources.log_filter.get();
  db.manifest_preallocation_size = 64 * kKiB;  // of 4 MiB a small disk had nothing
  db.write_buffer_manager = resources.write_buffers;
  db.max_background_jobs = std::max(1, options.background_threads);
  db.max_subcompactions = 1;
  db.max_open_files = -1;  // all open: no table cache misses; families are few and files large
  db.max_file_opening_threads = std::max(1, options.background_threads);
  db.skip_stats_update_on_db_open = true;  // it reads properties of many files at open only to weigh compactions
  db.avoid_unnecessary_blocking_io = true;
  db.stats_dump_period_sec = 0;  // no timer thread
  db.stats_persist_period_sec = 0;
  db.enable_thread_tracking = false;
  return db;
}

rocksdb::ColumnFamilyOptions MakeFamilyOptions(const EngineOptions& options, const FamilySpec& spec,
                                               const InstanceResources& resources) {
  rocksdb::ColumnFamilyOptions family = Tuned(TuningOf(spec.role), resources);
  family.write_buffer_size = MemtableBytes(options);
  family.arena_block_size = ArenaBlockBytes(options);
  family.max_write_buffer_number = TuningOf(options.instance).memtables_max;
  return family;
}

rocksdb::ColumnFamilyOptions MakeDefaultFamilyOptions(const InstanceResources& resources) {
  rocksdb::ColumnFamilyOptions family = Tuned(TuningOf(FamilyRole::kMeta), resources);
  family.write_buffer_size = kMiB;
  family.arena_block_size = 16 * kKiB;
  return family;
}

rocksdb::WriteOptions MakeWriteOptions(InstanceRole instance, Durability durability, bool no_stall) {
  rocksdb::WriteOptions write;
  write.sync = durability == Durability::kSynced;
  write.disableWAL = durability == Durability::kBuffered && !TuningOf(instance).log_every_write;
  write.no_slowdown = no_stall;
  return write;
}

}  // namespace chronolith

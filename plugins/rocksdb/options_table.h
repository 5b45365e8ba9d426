// How RocksDB is set up: one table with a row a family role, one with a row an instance role, and the functions that turn them into
// RocksDB's options. Every departure from RocksDB's defaults is in options_table.cc, with its reason.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_OPTIONS_TABLE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_OPTIONS_TABLE_H_

#include <rocksdb/options.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "chronolith/kv_engine.h"
#include "plugins/rocksdb/log_rows.h"

namespace chronolith {

struct FamilyTuning {
  rocksdb::CompressionType level0_compression;  // of what a flush writes
  rocksdb::CompressionType upper_compression;   // of the levels between it and the last
  rocksdb::CompressionType bottom_compression;  // of the last level, which holds about 90 % of the rows
  std::uint64_t block_bytes;
  double bloom_bits_per_key;      // 0: no filter
  bool partitioned_index;         // index and filter blocks in pieces, of which only the hot ones stay in the cache
  int level0_compaction_trigger;  // files
  int level0_stop_trigger;        // files at which writers stop; they are slowed down at half of it
  std::uint64_t target_file_bytes;
  std::uint64_t level_base_bytes;
};

struct InstanceTuning {
  bool log_every_write;              // also those that ask for kBuffered only
  std::uint64_t log_bytes_max;       // beyond it the families that pin the oldest log are flushed
  std::uint64_t log_bytes_per_sync;  // start writing the log back each so many bytes; 0: leave it to the kernel
  bool keep_log_at_recovery;         // replayed rows stay in memtables and their log files stay, instead of a flush at each open
  int memtables_max;                 // a family; the last one being filled stops writers
};

const FamilyTuning& TuningOf(FamilyRole role);
const InstanceTuning& TuningOf(InstanceRole role);

// The settings that a store may pass in EngineOptions::extra, parsed.
struct EngineSettings {
  bool tolerate_tail = false;
  bool repair = false;         // before it is opened: repair.h
  std::set<std::string> drop;  // files: those of them that are bad, before it is opened (table_drop.h)
  std::string wal_dir;         // where an open looks for log files; "": in the instance
  std::string tables_of;       // the instance that this one is a copy of, with links to its tables; "": none
  bool log_rows = true;        // false: what is replayed is not put into memory
  bool skip_damage = false;    // of the log; for CheckLog's look at it only, no store can ask for it
  OnPut on_put;                // the same; without log_rows
};
Result<EngineSettings> ParseSettings(const EngineOptions& options);

// Shared by the families of one instance.
struct InstanceResources {
  std::shared_ptr<rocksdb::Env> checking_env;  // behind `env`, where that wraps it
  std::shared_ptr<rocksdb::Env> env;           // must outlive the instance
  std::shared_ptr<rocksdb::Cache> block_cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  std::shared_ptr<rocksdb::WalFilter> log_filter;  // null: none
};
InstanceResources MakeResources(const EngineOptions& options, const EngineSettings& settings);

// The listener and logger are left for the caller to set.
rocksdb::DBOptions MakeDbOptions(const EngineOptions& options, const EngineSettings& settings, const InstanceResources& resources);
rocksdb::ColumnFamilyOptions MakeFamilyOptions(const EngineOptions& options, const FamilySpec& family,
                                               const InstanceResources& resources);
// For RocksDB's own family "default", which holds the epochs.
rocksdb::ColumnFamilyOptions MakeDefaultFamilyOptions(const InstanceResources& resources);
rocksdb::WriteOptions MakeWriteOptions(InstanceRole instance, Durability durability, bool no_stall);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_OPTIONS_TABLE_H_

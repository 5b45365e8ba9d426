// RocksDbEngine: a KvEngine over one RocksDB instance. Internal to this folder; made by the factory in rocksdb_engine.cc.
//
// Where what lives: rocksdb_engine.cc opens, rocksdb_impl.cc writes and reads, rocksdb_copy.cc copies files, rocksdb_verify.cc
// verifies them.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_IMPL_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_IMPL_H_

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/table_ranges.h"
#include "chronolith/kv_engine.h"
#include "plugins/rocksdb/adapters.h"
#include "plugins/rocksdb/damage.h"
#include "plugins/rocksdb/linked_tables.h"
#include "plugins/rocksdb/options_table.h"

namespace chronolith {

// One epoch row in RocksDB's family "default": key "epoch/<family>"; value: version byte 1, the epoch and the CRC32C of key,
// version and epoch, both little-endian.
std::string EpochKey(std::string_view family);
std::string EncodeEpoch(std::string_view family, Epoch epoch);
Result<Epoch> DecodeEpoch(std::string_view family, std::string_view value);

// Write batches kept for reuse, since each holds a buffer that has grown to the size of a group. Thread safety: safe.
class WriteBatchPool {
 public:
  std::unique_ptr<rocksdb::WriteBatch> Take(std::size_t reserve_bytes);
  void Return(std::unique_ptr<rocksdb::WriteBatch> batch);

 private:
  static constexpr std::size_t kBatchesMax = 4;
  static constexpr std::size_t kBytesMax = 4UL << 20;  // a larger one is freed
  Mutex mu_;
  std::vector<std::unique_ptr<rocksdb::WriteBatch>> free_ ABSL_GUARDED_BY(mu_);
};

// What an open leaves for the engine to own.
struct OpenedInstance {
  InstanceResources resources;  // outlives `db`
  std::unique_ptr<rocksdb::DB> db;
  rocksdb::ColumnFamilyHandle* default_family = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;  // by FamilyId
  std::vector<Status> damage;                          // by FamilyId; empty: none
  std::vector<BadTable> bad_tables;                    // of all families
  std::shared_ptr<EventCounter> events;
  LinkedTables linked;
};

// Thread safety: as KvEngine. A write holds `epochs_mu_` shared from the check of its epoch until RocksDB has taken it,
// AcquireEpoch and ImportFamily hold it exclusively: so no write of an older epoch is under way when AcquireEpoch returns.
class RocksDbEngine : public KvEngine, public TableRanges {
 public:
  RocksDbEngine(std::string path, EngineOptions options, OpenedInstance opened);
  ~RocksDbEngine() override;

  // Reads the epochs of all families.
  Status LoadEpochs();

  std::string_view Name() const override { return "rocksdb"; }
  bool Has(Capability) const override { return true; }
  Limits limits() const override { return {}; }
  Status Damage(FamilyId family) const override;
  Status AcquireEpoch(FamilyId family, Epoch epoch) override;
  Result<Epoch> CurrentEpoch(FamilyId family) override;
  Outcomes Write(std::span<const Batch> batches, const EngineWriteOptions& options) override;
  // Runs inline: RocksDB has no asynchronous write, and a thread between would cost more than the write. `done` has run when this
  // returns.
  void WriteAsync(std::span<const Batch> batches, const EngineWriteOptions& options, WriteCallback done) override;
  Status Get(FamilyId family, std::string_view key, std::string* value, ReadTier tier, Deadline deadline) override;
  void MultiGet(FamilyId family, std::span<const std::string_view> keys, std::vector<std::string>* values,
                std::vector<Status>* statuses, Deadline deadline) override;
  Result<std::unique_ptr<KvIterator>> NewIterator(FamilyId family, const IterateOptions& options) override;
  Status Flush(FamilyId family) override { return Flush(std::span(&family, 1)); }
  Status Flush(std::span<const FamilyId> families) override;
  Status SyncLog() override;
  Status ExpireRange(FamilyId family, std::string_view begin, std::string_view end) override;
  Status Compact(FamilyId family, std::string_view begin, std::optional<std::string_view> end) override;
  Result<std::uint64_t> EstimateBytes(FamilyId family, std::string_view begin, std::string_view end) override;
  Status CreateCheckpoint(const std::string& path) override;
  Status ExportFamily(FamilyId family, const std::string& path) override;
  Status ImportFamily(FamilyId family, const std::string& path) override;
  Status VerifyChecksums(FamilyId family, std::string_view after, VerifyVisitor* visitor) override;
  std::vector<TableRange> Tables(FamilyId family) const override;
  EngineStats Stats() const override;
  std::uint64_t BufferedBytes() const override { return resources_.write_buffers->memory_usage(); }
  Status Close() override;

 private:
  struct Family {
    std::atomic<rocksdb::ColumnFamilyHandle*> handle{nullptr};  // replaced by ImportFamily
    std::atomic<Epoch> epoch{0};
    std::atomic<bool> unlogged{false};  // has taken a write without a log since it was opened
    Status damage;                      // found at open
  };

  Status CheckExists(FamilyId family) const;
  Status CheckFamily(FamilyId family, bool for_write) const;
  rocksdb::ColumnFamilyHandle* Handle(FamilyId family) const { return families_[family].handle.load(std::memory_order_acquire); }
  Status CheckOne(const Batch& batch) const ABSL_SHARED_LOCKS_REQUIRED(epochs_mu_);
  // Waits, by flushing the fullest family, while the unflushed rows of all families exceed the budget; kResourceExhausted instead
  // with `no_stall`, and the flush is only started. Looks once in a sixteenth of the budget.
  Status MakeRoom(std::uint64_t bytes, bool no_stall);
  // After a flush that met a full disk. kResourceExhausted: still too little room, the message says how much must be free.
  Status ResumeWhereThereIsRoom();
  std::uint64_t UnflushedBytes() const;  // of rows
  // Everything of Write between the checks and the outcomes.
  Status WriteGroup(std::span<const Batch> batches, const Outcomes& checked, const EngineWriteOptions& options, std::uint64_t bytes)
      ABSL_SHARED_LOCKS_REQUIRED(epochs_mu_);
  Status FailedWrite(const rocksdb::Status& s, bool logged);
  // DB::Flush, and that the rows up to `sequence` are in files where it is OK.
  Status FlushAndWait(rocksdb::ColumnFamilyHandle* handle, std::uint64_t sequence);
  rocksdb::ReadOptions MakeReadOptions(Deadline deadline) const;
  Status ReplaceByImport(FamilyId family, const rocksdb::ExportImportFilesMetaData& files)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(epochs_mu_);
  void LogStats(EngineStats* stats) const;
  // rocksdb_verify.cc. `what`: for messages.
  Status VerifyTables(rocksdb::ColumnFamilyHandle* handle, const std::string& what, bool quarantined, std::string_view after,
                      VerifyVisitor* visitor);
  Status VerifyLogs(std::string_view after, VerifyVisitor* visitor);
  Status VerifyManifest(std::string_view after, VerifyVisitor* visitor);

  std::map<std::string, TableState> bad_tables_;  // by name; set at open
  const std::string path_;
  const EngineOptions options_;
  const InstanceResources resources_;
  const std::shared_ptr<EventCounter> events_;
  const LinkedTables linked_;
  const std::unique_ptr<rocksdb::DB> db_;
  // Log files from this number on are this engine's own, and end with a whole write; what a crash has torn is in older ones.
  const std::uint64_t first_own_log_;
  rocksdb::ColumnFamilyHandle* default_family_;
  const std::unique_ptr<Family[]> families_;           // by FamilyId
  std::vector<rocksdb::ColumnFamilyHandle*> retired_;  // dropped by imports, perhaps still being read
  WriteBatchPool batches_;
  std::atomic<std::uint64_t> unchecked_bytes_{0};  // written since MakeRoom looked
  SharedCounter write_stalls_;                     // by MakeRoom
  mutable Mutex epochs_mu_;
  Mutex resume_mu_;                    // one attempt to go on after a full disk at a time
  Mutex sync_mu_;                      // one sync of the log at a time
  std::atomic<bool> log_dirty_{true};  // the log may hold rows that are not synced
  std::atomic<bool> epochs_unflushed_{true};
  bool closed_ = false;
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_ROCKSDB_IMPL_H_

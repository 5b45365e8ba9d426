// What RocksDB calls back: our merge functions, drop filters, logger and event counters behind its interfaces.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_

#include <rocksdb/compaction_filter.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/merge_operator.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/counters.h"
#include "base/mutex.h"
#include "chronolith/kv_engine.h"

namespace chronolith {

// Null for null.
std::shared_ptr<rocksdb::MergeOperator> AdaptMerge(std::shared_ptr<const MergeFunction> merge);
std::shared_ptr<rocksdb::CompactionFilterFactory> AdaptDropFilter(std::shared_ptr<const DropFilter> filter);

// A null logger gives one that drops every line: RocksDB then writes no LOG file of its own either way.
std::shared_ptr<rocksdb::Logger> AdaptLogger(std::shared_ptr<Logger> logger);

// Counts what RocksDB tells about itself, and keeps damage that a compaction of a data instance meets within its family: without
// that RocksDB stops all background work and then all writes of the instance, at each open anew. The family's compactions are
// turned off, for else RocksDB would try the same one again each second; its flushes and reads go on. Thread safety: all methods
// may be called concurrently.
class EventCounter : public rocksdb::EventListener {
 public:
  // `on_log_failed` is called once, when the log fails.
  explicit EventCounter(InstanceRole instance, std::function<void()> on_log_failed = nullptr)
      : contain_(instance == InstanceRole::kData), on_log_failed_(std::move(on_log_failed)) {}

  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override;
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status error, bool* auto_recovery) override;
  void OnFlushCompleted(rocksdb::DB* db, const rocksdb::FlushJobInfo& info) override;
  void OnCompactionCompleted(rocksdb::DB* db, const rocksdb::CompactionJobInfo& info) override;

  // The handle by which compactions of the family are turned off.
  void SetHandle(rocksdb::DB* db, const std::string& family, rocksdb::ColumnFamilyHandle* handle);
  // What a compaction of the family met; "": nothing.
  std::string Damage(const std::string& family) const;

  // A family's rows up to this sequence number are flushed, as far as is known; 0: nothing is known.
  void NoteFlushed(const std::string& family, std::uint64_t sequence);
  std::uint64_t FlushedSequence(const std::string& family) const;
  // Counts completed flushes. False where none came since `seen` until the deadline.
  std::uint64_t flushes() const;
  bool AwaitFlush(std::uint64_t seen, Deadline deadline);
  // How often a flush or the MANIFEST met a full disk; from then on RocksDB refuses all writes and flushes, until DB::Resume has
  // flushed everything. NoteResumed: so many of these times are over.
  std::uint64_t full_disks() const { return full_disks_.load(); }
  void NoteFullDisk() { full_disks_.fetch_add(1); }
  void NoteResumed(std::uint64_t full_disks) { full_disks_over_.store(full_disks); }
  bool out_of_space() const { return full_disks_over_.load() != full_disks(); }
  std::uint64_t stalls() const { return stalls_.Get(); }
  std::uint64_t background_errors() const { return background_errors_.Get(); }

  // Whether a write or sync of the log failed, also one that RocksDB made by itself (a flush syncs the logs that it closes). The
  // log must not be touched again: RocksDB, where it is built with assertions as in Debian, aborts the process at the next sync.
  bool log_failed() const { return log_failed_.load(std::memory_order_relaxed); }
  void NoteLogFailed() {
    if (!log_failed_.exchange(true) && on_log_failed_) on_log_failed_();
  }

 private:
  SharedCounter stalls_;
  SharedCounter background_errors_;
  std::atomic<bool> log_failed_{false};
  std::atomic<std::uint64_t> full_disks_{0};
  std::atomic<std::uint64_t> full_disks_over_{0};
  mutable Mutex mu_;
  CondVar flushed_cv_;
  std::uint64_t flushes_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::uint64_t> flushed_ ABSL_GUARDED_BY(mu_);
  const bool contain_;
  const std::function<void()> on_log_failed_;
  std::map<std::string, rocksdb::ColumnFamilyHandle*> handles_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> damage_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_

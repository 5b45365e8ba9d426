// What RocksDB calls back: our merge functions, drop filters, logger and event counters behind its interfaces.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_

#include <rocksdb/compaction_filter.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/merge_operator.h>

#include <map>
#include <memory>
#include <string>

#include "base/counters.h"
#include "base/mutex.h"
#include "chronolith/kv_engine.h"

namespace chronolith {

// Null for null.
std::shared_ptr<rocksdb::MergeOperator> AdaptMerge(std::shared_ptr<const MergeFunction> merge);
std::shared_ptr<rocksdb::CompactionFilterFactory> AdaptDropFilter(std::shared_ptr<const DropFilter> filter);

// A null logger gives one that drops every line: RocksDB then writes no LOG file of its own either way.
std::shared_ptr<rocksdb::Logger> AdaptLogger(std::shared_ptr<Logger> logger);

// Counts what RocksDB tells about itself. Thread safety: all methods may be called concurrently.
class EventCounter : public rocksdb::EventListener {
 public:
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override;
  void OnFlushCompleted(rocksdb::DB* db, const rocksdb::FlushJobInfo& info) override;

  // A family's rows up to this sequence number are flushed, as far as is known; 0: nothing is known.
  void NoteFlushed(const std::string& family, std::uint64_t sequence);
  std::uint64_t FlushedSequence(const std::string& family) const;
  std::uint64_t stalls() const { return stalls_.Get(); }
  std::uint64_t background_errors() const { return background_errors_.Get(); }

 private:
  SharedCounter stalls_;
  SharedCounter background_errors_;
  mutable Mutex mu_;
  std::map<std::string, std::uint64_t> flushed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_ADAPTERS_H_

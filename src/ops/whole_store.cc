#include "ops/whole_store.h"

namespace chronolith::ops {

Result<StorageStats> CheckWholeStore(const std::string& path, const std::string& engine, bool scrub, const OpsContext& context) {
  Options options;
  options.read_only = true;
  options.create_if_missing = false;
  options.engine = engine;
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  Result<std::unique_ptr<Storage>> store = Storage::Open(options, path);
  if (!store.ok()) return store.status();
  const StorageStats stats = (*store)->Stats();
  Status status;
  for (const ShardStats& shard : stats.shards) {
    if (!shard.quarantine.empty()) status = DataLoss(shard.quarantine);
  }
  if (status.ok() && scrub) {
    ScrubOptions how;
    how.cancelled = context.cancelled;
    const Result<ScrubReport> report = (*store)->Scrub(how);
    if (!report.ok()) {
      status = report.status();
    } else if (!report->complete) {
      status = Cancelled("interrupted");
    } else if (report->problems_total > 0) {
      status = report->problems.front().status.WithContext(report->problems.front().place);
    }
  }
  const Status closed = (*store)->Close();
  if (!status.ok()) return status;
  if (!closed.ok()) return closed;
  return stats;
}

}  // namespace chronolith::ops

#include "ops/whole_store.h"

#include <chrono>
#include <semaphore>
#include <thread>
#include <utility>

#include "ops/recovered_copy.h"
#include "ops/work_share.h"
#include "ops/writing_store.h"

namespace chronolith::ops {
namespace {

// Tells how far the store's scrub is, from a thread of its own, until it is destroyed.
class ScrubWatch {
 public:
  ScrubWatch(const OpsContext& context, const Storage& store) {
    context.Begin("scrubbing", 100, "%");
    thread_ = std::thread([this, &context, &store] {
      WorkShare share(context, 100);
      std::uint64_t told = 0;
      while (!stop_.try_acquire_for(std::chrono::milliseconds(200))) {
        const auto percent = static_cast<std::uint64_t>(100 * store.Stats().scrub.progress);
        if (percent > told) share.Add(percent - std::exchange(told, percent));
      }
    });
  }
  ~ScrubWatch() {
    stop_.release();
    thread_.join();
  }

 private:
  std::binary_semaphore stop_{0};
  std::thread thread_;
};

Result<StorageStats> CheckInPlace(const std::string& path, const std::string& engine, bool scrub, const OpsContext& context) {
  Options options;
  options.read_only = true;
  options.create_if_missing = false;
  options.engine = engine;
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  options.on_replay = TellReplay(context, "replaying its log");
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
    const ScrubWatch watch(context, **store);
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

}  // namespace

Result<StorageStats> CheckWholeStore(const std::string& path, const std::string& engine, bool scrub, const OpsContext& context) {
  if (LogBytes(path, "") <= context.memory_limit_bytes / kLogHeldPart) return CheckInPlace(path, engine, scrub, context);
  auto copy = RecoveredCopy::Prepare(path, "", context);
  if (!copy.ok()) {
    return copy.status().code() == StatusCode::kCancelled ? copy.status() : CheckInPlace(path, engine, scrub, context);
  }
  if (Status s = (*copy)->Recover(context); !s.ok()) {
    return IsOfFullDisk(s) ? CheckInPlace(path, engine, scrub, context) : s;
  }
  for (const ShardStats& shard : (*copy)->found().shards) {
    if (!shard.quarantine.empty()) return (*copy)->OfSource(DataLoss(shard.quarantine));
  }
  const Result<StorageStats> stored = CheckInPlace((*copy)->path(), engine, scrub, context);
  if (!stored.ok()) return (*copy)->OfSource(stored.status());
  return (*copy)->found();
}

}  // namespace chronolith::ops

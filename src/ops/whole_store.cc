#include "ops/whole_store.h"

#include <chrono>
#include <limits>
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

// `held_bytes_max`: as of OpenToRead.
Result<StorageStats> CheckInPlace(const std::string& path, const std::string& engine, bool scrub, const OpsContext& context,
                                  std::uint64_t held_bytes_max) {
  Options options;
  options.read_only = true;
  options.create_if_missing = false;
  options.engine = engine;
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  options.on_replay = TellReplay(context, "replaying its log");
  Result<std::unique_ptr<Storage>> store = OpenToRead(options, path, held_bytes_max);
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
  constexpr std::uint64_t kNoBound = std::numeric_limits<std::uint64_t>::max();
  if (LogBytes(path, "") <= context.memory_limit_bytes / kLogHeldPart) {
    Result<StorageStats> in_place = CheckInPlace(path, engine, scrub, context, context.memory_limit_bytes / 2);
    if (in_place.status().code() != StatusCode::kResourceExhausted) return in_place;
  }
  auto copy = RecoveredCopy::Prepare(path, "", context);
  if (!copy.ok()) {
    return copy.status().code() == StatusCode::kCancelled ? copy.status() : CheckInPlace(path, engine, scrub, context, kNoBound);
  }
  if (Status s = (*copy)->Recover(context); !s.ok()) {
    return IsOfFullDisk(s) ? CheckInPlace(path, engine, scrub, context, kNoBound) : s;
  }
  for (const ShardStats& shard : (*copy)->found().shards) {
    if (!shard.quarantine.empty()) return (*copy)->OfSource(DataLoss(shard.quarantine));
  }
  const Result<StorageStats> stored = CheckInPlace((*copy)->path(), engine, scrub, context, kNoBound);
  if (!stored.ok()) return (*copy)->OfSource(stored.status());
  return (*copy)->found();
}

}  // namespace chronolith::ops

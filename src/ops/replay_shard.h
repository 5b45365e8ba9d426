// The replay of one shard's log into its sink, and what the shards share: the pace, and the retention floor. Internal to
// ops/replay.
#ifndef CHRONOLITH_OPS_REPLAY_SHARD_H_
#define CHRONOLITH_OPS_REPLAY_SHARD_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ordinal_set.h"
#include "ops/file_copy.h"
#include "ops/log_labels.h"
#include "ops/replay.h"
#include "ops/replay_cursor.h"

namespace chronolith::ops {

// Thread safety: safe, after FindFloor.
class ReplayGate {
 public:
  ReplayGate(const OpsContext& context, std::uint64_t items_per_second)
      : context_{.cancelled = context.cancelled}, limited_(items_per_second > 0), pace_(context_, items_per_second) {}

  // The retention floor of the source, where the target is to come out like it: the highest that any shard has stored or logged.
  void FindFloor(const OfflineStore& store, const RecordTarget& target);
  Timestamp floor() const { return floor_; }

  // Waits until so many items more may go. kCancelled.
  Status Pass(std::uint64_t items) {
    if (!limited_) return Status::Ok();
    const MutexLock lock(&mu_);
    return pace_.Pass(items);
  }

 private:
  const OpsContext context_;
  const bool limited_;
  Mutex mu_;
  Pace pace_ ABSL_GUARDED_BY(mu_);
  Timestamp floor_ = kMinTimestamp;
};

// Thread safety: one thread.
class ShardReplayer : private RecordReceiver {
 public:
  // `label_bytes`: of labels that the sink is told of before it is made to forget them. All but `sink` outlive this.
  ShardReplayer(const OfflineStore& store, const RecordTarget& target, const ReplayOptions& options, const OpsContext& context,
                std::unique_ptr<RecordSink> sink, ReplayGate* gate, CursorKeeper* keeper, std::uint64_t label_bytes,
                ShardReplay* report);

  // From the beginning to the end; the outcome is in the report. Ends with the sink.
  void Run();

 private:
  Status OnRecord(const ScannedRecord& record) override;
  Status OnRowEnd(Lsn last) override;
  Status OnLoss(const WalLoss& loss) override;

  // Notes an error of the target's.
  Status Target(Status status);
  Status Send(const ScannedRecord& record);
  Status SendDelete(const ScannedRecord& record);
  Status TellNew(const ScannedRecord& record);
  // Makes the sink know the series of the entries, and takes out those without labels.
  template <typename Entry>
  Status Tell(const RecordPlace& place, std::vector<Entry>* entries);
  Status TellOne(const RecordPlace& place, Ordinal ordinal, const Labels& labels);
  Status MakeRoom();
  Status Flush();
  void RefuseUnlabelled(std::uint64_t items, Ordinal example);

  const OfflineStore& store_;
  const bool needs_labels_;
  const bool applies_deletes_;
  const bool pass_damage_;
  LogSelection selection_;  // from where the cursor says
  const OpsContext& context_;
  std::unique_ptr<RecordSink> sink_;
  ReplayGate* const gate_;
  CursorKeeper* const keeper_;
  const std::uint64_t label_bytes_max_;
  ShardReplay* const report_;

  LogLabels labels_;
  OrdinalSet told_;
  OrdinalSet unlabelled_;
  std::uint64_t label_bytes_ = 0;
  std::size_t unflushed_ = 0;  // items
  std::uint64_t unflushed_bytes_ = 0;
  std::chrono::steady_clock::time_point flushed_at_;
  Lsn passed_ = 0;             // all up to here was given to the sink, or is not for it
  Status target_failure_;      // of the sink
  std::uint64_t skipped_ = 0;  // not told to the sink: deletes where it does not apply them, what retention has expired
  std::vector<Ordinal> ask_;
  std::vector<SampleEntry> samples_;
  std::vector<HistogramEntry> histograms_;
  std::vector<ExemplarEntry> exemplars_;
  std::vector<MetadataEntry> metadata_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_REPLAY_SHARD_H_

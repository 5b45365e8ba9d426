// The labels of the series that a shard's log speaks of: from the log's own series records, and for series that were created before
// the log begins, from the rows of the data instance.
#ifndef CHRONOLITH_OPS_LOG_LABELS_H_
#define CHRONOLITH_OPS_LOG_LABELS_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/ordinal_set.h"
#include "chronolith/labels.h"
#include "chronolith/status.h"
#include "format/series_id.h"
#include "format/wal_record.h"
#include "ops/offline_store.h"

namespace chronolith::ops {

// `take` gets each series that the row of the shard's log creates, in order. kDataLoss, kIoError: the row cannot be read.
using TakeLabels = std::function<void(Ordinal, const Labels&)>;
Status ReadSeriesOfRow(KvEngine* log, ShardId shard, Lsn row, const TakeLabels& take);

// What a reader of the log lacks where OfflineStore::data_failure is not ok, a sentence; "" where it is.
std::string WithoutData(const OfflineStore& store);

// Keeps no labels, only where in the log they stand: 16 bytes a row of the log that creates series; such a row is read again where
// one of its series is asked for. Thread safety: one thread at a time.
class LogLabels {
 public:
  // `store` has its log open, and the data, or says why not; it outlives this.
  LogLabels(const OfflineStore& store, ShardId shard) : store_(store), shard_(shard) {}

  // How far the stored index goes; before the others. A damaged index is passed by: see damage().
  Status Open();
  // A row of the log, in order, whose first series record begins with `first`.
  void Note(Lsn row, Ordinal first);

  // Labels of those of `ordinals` that are known, some of them in the order of their rows; also of others that stand in the same
  // rows of the log. `take` is called with each. kDataLoss, kIoError: a row of the log that was to be read. Labels that the index
  // cannot give are passed by: see damage().
  using Take = TakeLabels;
  Status LookUp(std::span<const Ordinal> ordinals, const Take& take);

  // Of an ordinal without labels: the series was removed and its labels with it. Else what created it is lost, or not readable.
  bool Removed(Ordinal ordinal) const { return damage_.ok() && ordinal < stored_ && !unreadable_.Contains(ordinal); }
  // Not ok: the stored index of the shard is damaged or lost, so that of series whose creation is not in the log not all are known.
  const Status& damage() const { return damage_.ok() ? row_damage_ : damage_; }

 private:
  Status LookUpStored(std::span<const Ordinal> ordinals, const Take& take);

  const OfflineStore& store_;
  const ShardId shard_;
  std::uint64_t stored_ = 0;  // ordinals below are in the rows of the index
  Status damage_;             // of the index as a whole: stored_ is 0
  Status row_damage_;         // of some of its rows
  OrdinalSet unreadable_;
  std::vector<std::pair<Lsn, Ordinal>> rows_;  // ascending in both: ordinals are given out under the lock that orders the records
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_LABELS_H_

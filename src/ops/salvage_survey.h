// What the first reading of a shard's log finds. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_SURVEY_H_
#define CHRONOLITH_OPS_SALVAGE_SURVEY_H_

#include <utility>
#include <vector>

#include "block/tombstones.h"
#include "format/wal_record.h"
#include "ops/salvage_labels.h"
#include "ops/work_share.h"
#include "storage/items.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {

// First reading of a shard's log: what the second needs to know, and what is lost.
class LogSurvey : public WalVisitor {
 public:
  LogSurvey(SalvageLabels* labels, Tombstones* tombstones, WorkShare* share)
      : labels_(labels), tombstones_(tombstones), share_(share) {}
  Status OnRow(ShardId, const WalRowHeader&, std::string_view value) override {
    share_->Add(value.size());
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader& row, const RecordView& record) override {
    if (record.type == RecordType::kSeries) {
      std::vector<SeriesRecordEntry> entries;
      if (Status s = DecodeSeries(record.body, &entries); !s.ok()) return s;
      if (!entries.empty()) labels_->NoteLogRow(row.first_lsn, entries[0].ordinal);
    } else if (record.type == RecordType::kDelete) {
      DeleteRecord deleted;
      Tombstone tombstone;
      if (Status s = DecodeDelete(record.body, &deleted); !s.ok()) return s;
      tombstone.lsn = lsn;
      tombstone.range = deleted.range;
      if (Status s = DecodeOrdinals(deleted.bitmap, &tombstone.ordinals); !s.ok()) return s;
      tombstones_->Add(std::move(tombstone));
    } else if (record.type == RecordType::kFloor) {
      Timestamp floor = kMinTimestamp;
      if (Status s = DecodeFloor(record.body, &floor); !s.ok()) return s;
      tombstones_->RaiseFloor(floor);
    }
    return Status::Ok();
  }
  Status OnLoss(ShardId, const WalLoss& loss) override {
    losses_.push_back(loss);
    return Status::Ok();
  }
  const std::vector<WalLoss>& losses() const { return losses_; }

 private:
  SalvageLabels* const labels_;
  Tombstones* const tombstones_;
  WorkShare* const share_;
  std::vector<WalLoss> losses_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_SURVEY_H_

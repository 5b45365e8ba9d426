// Reading a shard's log back: the one reader that replay, checkpointed readers and the tools share.
#include <algorithm>
#include <string>

#include "wal/sharded_wal.h"

namespace chronolith {
namespace {

std::string Range(Lsn first, Lsn last) {
  return "LSN " + std::to_string(first) + (first == last ? "" : " to " + std::to_string(last));
}

// `before`: what was read in front of the row. `opens`: the row begins with the record of its epoch.
WalLoss Hole(ShardId shard, Lsn first, Lsn last, const WalEnd& before, const WalRowHeader& row, bool opens) {
  std::string where;
  if (before.last_lsn != 0) {
    where = "the row in front ends at LSN " + std::to_string(before.last_lsn) + " (epoch " + std::to_string(before.last_epoch) +
            ", group " + std::to_string(before.last_group) + "), ";
  } else if (before.trimmed_to != 0) {
    where = "it is trimmed up to LSN " + std::to_string(before.trimmed_to) + ", ";
  }
  WalLoss loss{first, last, {row.epoch, opens ? 0 : row.group}, {}};
  loss.why = DataLoss("the log of shard " + std::to_string(shard) + " lacks " + Range(first, last) + ": " + where +
                      "the row behind begins at LSN " + std::to_string(row.first_lsn) + " (epoch " + std::to_string(row.epoch) +
                      ", group " + std::to_string(row.group) + ")");
  return loss;
}

// A row may begin after a gap, or with another epoch than the row before, only where its first record opens that epoch and vouches
// for the end of the one before. What is lacking in front of the row is told to the visitor.
Status CheckEpoch(ShardId shard, Lsn expected, const WalEnd& before, const WalRowHeader& row, std::string_view payload,
                  WalVisitor* visitor) {
  const auto lost = [&](Lsn last, bool opens) {
    const WalLoss loss = Hole(shard, expected, last, before, row, opens);
    return visitor != nullptr ? visitor->OnLoss(shard, loss) : loss.why;
  };
  const bool gap = row.first_lsn > expected;
  if (!gap && (before.last_epoch == 0 || row.epoch == before.last_epoch)) return Status::Ok();
  RecordView record;
  EpochRecord epoch;
  if (Status status = NextRecord(&payload, &record); !status.ok()) {
    return status.WithContext("log of shard " + std::to_string(shard) + ", LSN " + std::to_string(row.first_lsn));
  }
  if (gap && record.type != RecordType::kEpoch) return lost(row.first_lsn - 1, false);
  if (record.type == RecordType::kEpoch) {
    if (Status status = DecodeEpoch(record.body, &epoch); !status.ok()) return status;
  }
  if (row.epoch < before.last_epoch || epoch.epoch != row.epoch) {
    return DataLoss("the log of shard " + std::to_string(shard) + " has epoch " + std::to_string(row.epoch) + " at LSN " +
                    std::to_string(row.first_lsn) + " behind epoch " + std::to_string(before.last_epoch) +
                    ", which no record opened");
  }
  if (epoch.previous_end + 1 > expected) return lost(epoch.previous_end, true);
  return Status::Ok();
}

}  // namespace

Status WalRowReader::Damaged(Lsn first, Lsn last, const Status& why) const {
  return why.code() == StatusCode::kDataLoss && visitor_ != nullptr ? visitor_->OnLoss(shard_, {first, last, {}, why}) : why;
}

Status WalRowReader::ReadState(std::string_view value) {
  Lsn trimmed_to = 0;
  if (Status status = DecodeWalState(shard_, value, &trimmed_to); !status.ok()) return Damaged(0, 0, status);
  end_->trimmed_to = std::max(end_->trimmed_to, trimmed_to);
  expected_ = std::max(expected_, end_->trimmed_to + 1);
  if (end_->last_lsn <= end_->trimmed_to) end_->last_lsn = end_->last_epoch = end_->last_group = 0;
  return Status::Ok();
}

Status WalRowReader::ReadRow(std::string_view key, std::string_view value) {
  WalRowHeader row;
  std::string_view payload;
  taken_ = 0;
  if (Status status = DecodeWalRow(shard_, key, value, &row, &payload, &scratch_); !status.ok()) {
    return Damaged(row.first_lsn, 0, status);
  }
  // Rows wholly below trimmed_to may still be there: trimming is a range delete that a reader may be ahead of.
  if (row.first_lsn + row.records <= end_->trimmed_to + 1) return Status::Ok();
  if (Status status = CheckEpoch(shard_, expected_, *end_, row, payload, visitor_); !status.ok()) return status;
  if (row.first_lsn < expected_ && end_->last_lsn != 0) {
    return DataLoss("the log of shard " + std::to_string(shard_) + " has LSN " + std::to_string(row.first_lsn) + " twice");
  }
  if (visitor_ != nullptr) {
    if (Status status = visitor_->OnRow(shard_, row, value); !status.ok()) return status;
  }
  taken_ = row.first_lsn;
  Lsn lsn = row.first_lsn;
  const Lsn row_end = row.first_lsn + row.records - 1;
  const auto context = [&] { return "log of shard " + std::to_string(shard_) + ", LSN " + std::to_string(lsn); };
  for (; !payload.empty(); ++lsn) {
    RecordView record;
    if (Status status = NextRecord(&payload, &record); !status.ok()) {
      if (status = Damaged(lsn, row_end, status.WithContext(context())); !status.ok()) return status;
      lsn = row_end + 1;
      break;
    }
    if (lsn <= after_ || visitor_ == nullptr) continue;
    if (Status status = visitor_->OnRecord(shard_, lsn, row, record); !status.ok()) {
      if (status = Damaged(lsn, lsn, status.WithContext(context())); !status.ok()) return status;
    }
  }
  if (lsn != row_end + 1) {
    return DataLoss("log row of shard " + std::to_string(shard_) + " at LSN " + std::to_string(row.first_lsn) + " holds " +
                    std::to_string(lsn - row.first_lsn) + " records, its header says " + std::to_string(row.records));
  }
  end_->last_lsn = lsn - 1;
  end_->last_epoch = row.epoch;
  end_->last_group = row.group;
  end_->records += row.records;
  end_->bytes += value.size();
  if (visitor_ != nullptr) visitor_->OnProgress(shard_, *end_);
  expected_ = lsn;
  return Status::Ok();
}

Status ReadWal(KvEngine* engine, FamilyId family, ShardId shard, Lsn after, const std::atomic<bool>* stop, WalVisitor* visitor,
               std::vector<std::pair<Lsn, std::uint64_t>>* rows, WalEnd* end) {
  *end = {};
  WalRowReader reader(shard, after, visitor, end);
  return ReadWalRows(engine, family, stop, &reader, rows);
}

Status ReadWalRows(KvEngine* engine, FamilyId family, const std::atomic<bool>* stop, WalRowReader* reader,
                   std::vector<std::pair<Lsn, std::uint64_t>>* rows) {
  WalEnd* const end = reader->end();
  std::string state;
  if (Status status = engine->Get(family, kWalStateKey, &state); status.ok()) {
    if (status = reader->ReadState(state); !status.ok()) return status;
  } else if (status.code() != StatusCode::kNotFound) {
    end->unreadable = true;
    return status;
  }
  IterateOptions iterate;
  iterate.lower = WalKey(0);
  iterate.upper = std::string(1, kWalRowPrefix + 1);
  iterate.fill_cache = false;
  Result<std::unique_ptr<KvIterator>> it = engine->NewIterator(family, iterate);
  end->unreadable = !it.ok();
  if (!it.ok()) return it.status();
  for ((*it)->Seek(iterate.lower); (*it)->Valid(); (*it)->Next()) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) return Cancelled("reading the log was stopped");
    if (Status status = reader->ReadRow((*it)->key(), (*it)->value()); !status.ok()) return status;
    if (rows != nullptr && reader->taken() != 0) rows->emplace_back(reader->taken(), (*it)->value().size() + kWalKeyBytes);
  }
  end->unreadable = !(*it)->status().ok();
  return (*it)->status();
}

Result<Lsn> LastWalRow(KvEngine* engine, FamilyId family, Lsn after) {
  IterateOptions iterate;
  iterate.lower = WalKey(0);
  iterate.upper = std::string(1, kWalRowPrefix + 1);
  Result<std::unique_ptr<KvIterator>> it = engine->NewIterator(family, iterate);
  if (!it.ok()) return it.status();
  const auto row_from = [&](Lsn lsn) {
    (*it)->Seek(WalKey(lsn));
    return (*it)->Valid();
  };
  // No row begins at or past `high`; one does at or past `low`, unless that is `after`.
  Lsn low = after;
  Lsn step = 1;
  while (step < ~Lsn{0} - after && row_from(after + step)) {
    low = after + step;
    step = step < ~Lsn{0} / 2 ? step * 2 : ~Lsn{0};
  }
  Lsn high = after + std::min(step, ~Lsn{0} - after);
  while (high - low > 1) {
    const Lsn middle = low + (high - low) / 2;
    (row_from(middle) ? low : high) = middle;
  }
  if (Status status = (*it)->status(); !status.ok()) return status;
  return low;
}

}  // namespace chronolith

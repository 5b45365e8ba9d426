#include "ops/log_labels.h"

#include <algorithm>
#include <optional>
#include <set>

#include "index/row_reader.h"
#include "storage/store_directory.h"

namespace chronolith::ops {

Status ReadSeriesOfRow(KvEngine* log, ShardId shard, Lsn row, const TakeLabels& take) {
  const std::string key = WalKey(row);
  std::string value;
  std::string scratch;
  WalRowHeader header;
  std::string_view payload;
  if (Status s = log->Get(WalFamily(shard), key, &value); !s.ok()) return s;
  if (Status s = DecodeWalRow(shard, key, value, &header, &payload, &scratch); !s.ok()) return s;
  std::vector<SeriesRecordEntry> entries;
  while (!payload.empty()) {
    RecordView record;
    if (Status s = NextRecord(&payload, &record); !s.ok()) return Status::Ok();  // whoever reads the log has told of it
    if (record.type != RecordType::kSeries || !DecodeSeries(record.body, &entries).ok()) continue;
    for (const SeriesRecordEntry& entry : entries) take(entry.ordinal, Labels::FromEncoded(std::string(entry.labels)));
  }
  return Status::Ok();
}

std::string WithoutData(const OfflineStore& store) {
  if (store.data_failure().ok()) return "";
  const std::string& why = store.data_failure().message();
  return (why.starts_with("the ") ? why : "the " + why) +
         ". Only the log was read: it names series that were created since it begins, others are known by number only, and what "
         "of it is stored is not known";
}

Status LogLabels::Open() {
  damage_ = store_.data_failure();
  if (!damage_.ok()) return Status::Ok();
  damage_ = store_.data()->Damage(IndexFamily(shard_));
  if (!damage_.ok()) return Status::Ok();
  const auto state = RowReader(store_.data(), IndexFamily(shard_)).ReadState();
  if (!state.ok()) {
    damage_ = state.status();
  } else if (state->has_value()) {
    stored_ = (*state)->next_ordinal;
  }
  return Status::Ok();
}

void LogLabels::Note(Lsn row, Ordinal first) {
  if (rows_.empty() || rows_.back().first < row) rows_.emplace_back(row, first);
}

Status LogLabels::LookUp(std::span<const Ordinal> ordinals, const Take& take) {
  std::set<Lsn> rows;
  for (const Ordinal ordinal : ordinals) {
    const auto behind =
        std::upper_bound(rows_.begin(), rows_.end(), ordinal, [](Ordinal o, const auto& row) { return o < row.second; });
    if (behind != rows_.begin()) rows.insert(std::prev(behind)->first);
  }
  OrdinalSet found;
  for (const Lsn row : rows) {
    const auto note = [&](Ordinal ordinal, const Labels& labels) {
      found.Add(ordinal);
      take(ordinal, labels);
    };
    if (Status s = ReadSeriesOfRow(store_.log(), shard_, row, note); !s.ok()) return s;
  }
  std::vector<Ordinal> stored;
  for (const Ordinal ordinal : ordinals) {
    if (ordinal < stored_ && !found.Contains(ordinal)) stored.push_back(ordinal);
  }
  if (stored.empty() || LookUpStored(stored, take).ok()) return Status::Ok();
  // A bad block takes those whose rows lie in it, and no others.
  for (const Ordinal ordinal : stored) {
    if (Status s = LookUpStored({&ordinal, 1}, take); !s.ok()) {
      row_damage_ = s;
      unreadable_.Add(ordinal);
    }
  }
  return Status::Ok();
}

// All of them or, with an error, none.
Status LogLabels::LookUpStored(std::span<const Ordinal> ordinals, const Take& take) {
  std::vector<std::optional<index_rows::LongRow>> labels;
  if (Status s = RowReader(store_.data(), IndexFamily(shard_)).ReadLong(index_rows::kLabelsPrefix, ordinals, &labels); !s.ok())
    return s;
  for (std::size_t i = 0; i < ordinals.size(); ++i) {
    if (labels[i].has_value()) take(ordinals[i], Labels::FromEncoded(std::move(labels[i]->bytes)));
  }
  return Status::Ok();
}

}  // namespace chronolith::ops

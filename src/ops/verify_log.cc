// verify: how far log, index and chunks have come, and the log's records.
#include <variant>

#include "index/row_reader.h"
#include "ops/verify_pass.h"
#include "storage/items.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

std::string Lsns(Lsn lsn) { return "LSN " + std::to_string(lsn); }

// Reads a shard's log to its end; what is wrong is told and passed over. `look` null: only the facts.
class LogChecker : public WalVisitor {
 public:
  LogChecker(ShardLook* look, LogFacts* facts, VerifyFlow* flow) : look_(look), facts_(facts), flow_(flow) {
    if (look_ != nullptr) next_ordinal_ = look_->index.next_ordinal;
  }

  Status OnRow(ShardId, const WalRowHeader& row, std::string_view value) override {
    if (look_ != nullptr) look_->figures.log_records += row.records;
    return flow_->Read(value.size() + kWalKeyBytes);
  }

  Status OnRecord(ShardId, Lsn lsn, const WalRowHeader&, const RecordView& record) override {
    switch (record.type) {
      case RecordType::kEpoch: {
        EpochRecord epoch;
        return DecodeEpoch(record.body, &epoch);
      }
      case RecordType::kSeries:
        return OnSeries(lsn, record.body);
      case RecordType::kSamples:
        if (Status s = DecodeSamples(record.body, &samples_); !s.ok()) return s;
        for (const SampleEntry& sample : samples_) Uses(lsn, sample.ordinal, "samples");
        return Status::Ok();
      case RecordType::kItems:
        return OnItems(lsn, record.body);
      case RecordType::kDelete: {
        DeleteRecord deleted;
        OrdinalSet ordinals;
        if (Status s = DecodeDelete(record.body, &deleted); !s.ok()) return s;
        return DecodeOrdinals(deleted.bitmap, &ordinals);
      }
      case RecordType::kFloor: {
        Timestamp floor = kMinTimestamp;
        Status s = DecodeFloor(record.body, &floor);
        facts_->floor = std::max(facts_->floor, floor);
        return s;
      }
      case RecordType::kRemoveSeries:
        return DecodeRemoveSeries(record.body, &ordinals_);
    }
    return DataLoss("unknown record type");
  }

  // What is behind it uses series that it may have created.
  Status OnLoss(ShardId, const WalLoss& loss) override {
    facts_->known = false;
    if (look_ != nullptr) look_->problems.Add(ProblemKind::kLog, FamilyName("wal", look_->shard), loss.why.message());
    return Status::Ok();
  }

 private:
  bool MayCompare() const { return look_ != nullptr && look_->index_readable && facts_->known; }

  Status OnSeries(Lsn lsn, std::string_view body) {
    if (Status s = DecodeSeries(body, &series_); !s.ok()) return s;
    for (const SeriesRecordEntry& entry : series_) {
      const std::uint64_t next = entry.ordinal + std::uint64_t{1};
      // Those that are stored lie below next_ordinal, the others above all before.
      const bool stored = look_ != nullptr && lsn <= look_->index.applied_lsn;
      if (MayCompare() && stored != (entry.ordinal < next_ordinal_)) {
        look_->problems.Add(ProblemKind::kOrdinal, FamilyName("wal", look_->shard) + "/" + Lsns(lsn),
                            "creates series " + std::to_string(entry.ordinal) +
                                (stored ? ", and is stored, but the index has given out only those below " : ", but those below ") +
                                std::to_string(next_ordinal_) + (stored ? "" : " were given out before"));
      }
      if (!stored) next_ordinal_ = std::max(next_ordinal_, next);
      facts_->next_ordinal = std::max(facts_->next_ordinal, next);
    }
    return Status::Ok();
  }

  Status OnItems(Lsn lsn, std::string_view body) {
    if (Status s = DecodeItems(body, &items_); !s.ok()) return s;
    for (const ItemEntry& entry : items_) {
      Item item;
      if (Status s = DecodeItem(entry.type, entry.bytes, &item); !s.ok()) return s;
      Uses(lsn, entry.ordinal, "histograms, exemplars or metadata");
    }
    return Status::Ok();
  }

  void Uses(Lsn lsn, Ordinal ordinal, const char* what) {
    if (ordinal < next_ordinal_ || !MayCompare()) return;
    look_->problems.Add(ProblemKind::kOrdinal, FamilyName("wal", look_->shard) + "/" + Lsns(lsn),
                        std::string(what) + " of series " + std::to_string(ordinal) +
                            ", which no record in front creates; the index has those below " +
                            std::to_string(look_->index.next_ordinal));
  }

  ShardLook* const look_;
  LogFacts* const facts_;
  VerifyFlow* const flow_;
  std::uint64_t next_ordinal_ = 0;
  std::vector<SeriesRecordEntry> series_;
  std::vector<SampleEntry> samples_;
  std::vector<ItemEntry> items_;
  std::vector<Ordinal> ordinals_;
};

// Not ok: kCancelled.
Status ReadLog(KvEngine* engine, ShardLook* told, ShardLook* look, LogFacts* facts, WalEnd* end) {
  facts->known = true;
  LogChecker checker(told, facts, look->flow);
  const Status s = ReadWal(engine, WalFamily(look->shard), look->shard, 0, look->flow->context().cancelled, &checker, nullptr, end);
  if (s.code() == StatusCode::kCancelled) return s;
  facts->last = std::max(end->last_lsn, end->trimmed_to);
  if (!s.ok()) {
    facts->known = false;
    if (told != nullptr) told->problems.Add(ProblemKind::kLog, FamilyName("wal", look->shard), s.message());
  }
  return Status::Ok();
}

}  // namespace

std::string FamilyName(const char* kind, ShardId shard) { return std::string(kind) + "." + std::to_string(shard); }

void ShardLook::ReadLogAgain() {
  if (log_read_again || !open_log) return;
  log_read_again = true;
  const Result<std::unique_ptr<OfflineStore>> now = open_log();
  LogFacts later;
  WalEnd end;
  if (!now.ok() || !ReadLog((*now)->log(), nullptr, this, &later, &end).ok() || !later.known) return;
  if (end.trimmed_to > log.last) {  // it has come further than a look could follow: what was created in between is not known
    log.known = false;
    problems.Note("shard " + std::to_string(shard) +
                  ": somebody wrote so much meanwhile that stored series were not compared with the log");
  }
  log.last = std::max(log.last, later.last);
  log.next_ordinal = std::max(log.next_ordinal, later.next_ordinal);
  log.floor = std::max(log.floor, later.floor);
}

bool ShardLook::LogReaches(Lsn lsn) {
  if (lsn > log.last) ReadLogAgain();
  return lsn <= log.last;
}

bool ShardLook::LogCreates(Ordinal ordinal) {
  if (ordinal >= log.next_ordinal) ReadLogAgain();
  return ordinal < log.next_ordinal;
}

Status LookAtStates(ShardLook* look) {
  const OfflineStore& store = *look->store;
  if (store.data() == nullptr) return Status::Ok();
  const FamilyId index_family = IndexFamily(look->shard);
  const FamilyId chunk_family = ChunkFamily(look->shard);
  // Of a damaged family the files tell.
  if (store.data()->Damage(index_family).ok()) {
    const auto state = RowReader(store.data(), index_family).ReadState();
    look->index_readable = state.ok();
    if (!state.ok()) {
      look->problems.Add(ProblemKind::kRow, FamilyName("index", look->shard) + "/s", state.status().message());
    } else if (state->has_value()) {
      look->index = **state;
    }
  }
  if (store.data()->Damage(chunk_family).ok()) {
    std::string value;
    Status s = store.data()->Get(chunk_family, kChunkStateKey, &value);
    if (s.ok()) s = DecodeChunkState(kChunkStateKey, value, &look->chunks);
    look->chunks_readable = s.ok() || s.code() == StatusCode::kNotFound;
    if (!look->chunks_readable) look->problems.Add(ProblemKind::kRow, FamilyName("chunk", look->shard) + "/s", s.message());
  }
  return look->flow->context().CheckCancelled();
}

Status LookAtLog(ShardLook* look) {
  if (look->store->log() == nullptr) return Status::Ok();
  WalEnd end;
  if (Status s = ReadLog(look->store->log(), look, look, &look->log, &end); !s.ok()) return s;
  const std::string wal = FamilyName("wal", look->shard);
  if (look->store->unfinished().Contains(look->shard)) {
    look->log.known = false;
    look->problems.Add(
        ProblemKind::kLog, wal,
        "part of it was given up as damaged, by an open that did not come to its end; `recover --accept-data-loss` ends it");
  }
  if (look->index_readable && look->chunks_readable && look->chunks.applied_lsn > look->index.applied_lsn) {
    look->problems.Add(ProblemKind::kOrder, FamilyName("index", look->shard) + "/s",
                       "is stored up to " + Lsns(look->index.applied_lsn) + ", the chunks up to " + Lsns(look->chunks.applied_lsn) +
                           ": the index is older than they are, files of it were lost or put back");
  }
  const auto check = [&](const char* kind, bool readable, Lsn applied) {
    if (!readable) return;
    const std::string state = FamilyName(kind, look->shard) + "/s";
    if (end.trimmed_to > applied) {
      look->problems.Add(ProblemKind::kOrder, state,
                         "is stored up to " + Lsns(applied) + ", but the log is trimmed up to " + Lsns(end.trimmed_to) +
                             ": what was between is lost, files of the data were lost or put back");
    }
    if (applied > look->log.last && !look->LogReaches(applied)) {
      look->problems.Add(ProblemKind::kOrder, state,
                         "is stored up to " + Lsns(applied) + ", but the log ends at " + Lsns(look->log.last) +
                             ": files of the log were lost or put back");
    }
  };
  check("index", look->index_readable, look->index.applied_lsn);
  check("chunk", look->chunks_readable, look->chunks.applied_lsn);
  return Status::Ok();
}

}  // namespace chronolith::ops

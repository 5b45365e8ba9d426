#include "ops/inspect.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "format/chunk_rows.h"
#include "format/wal_record.h"
#include "index/row_reader.h"
#include "ops/instance_files.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kRowsPerLook = 4096;  // between looks at the cancel flag

// Sums the rows of a shard's log, and by reason those that are kept. Losses are told and passed over.
class LogReader : public WalVisitor {
 public:
  LogReader(ShardUse* use, const OpsContext& context) : use_(use), context_(context) {}

  Status OnRow(ShardId shard, const WalRowHeader& row, std::string_view value) override {
    const std::uint64_t bytes = value.size() + kWalKeyBytes;
    const Lsn last = row.first_lsn + row.records - 1;
    if (use_->log_rows == 0) {
      use_->first_lsn = row.first_lsn;
      use_->oldest_write_ms = row.write_time_ms;
    }
    use_->last_lsn = last;
    use_->epoch = row.epoch;
    use_->newest_write_ms = row.write_time_ms;
    ++use_->log_rows;
    use_->log_records += row.records;
    use_->log_bytes += bytes;
    const PinReason reason = !use_->condition.quarantine.empty() ? PinReason::kQuarantined
                             : last > use_->applied_lsn()        ? PinReason::kNotStored
                                                                 : PinReason::kNotTrimmed;
    if (pins_.empty() || pins_.back().reason != reason) {
      pins_.push_back({shard, reason, row.first_lsn, 0, 0, 0, row.write_time_ms, 0});
    }
    LogPin& pin = pins_.back();
    pin.last_lsn = last;
    ++pin.rows;
    pin.bytes += bytes;
    pin.newest_ms = row.write_time_ms;
    context_.Add(bytes);
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView&) override { return Status::Ok(); }
  Status OnLoss(ShardId, const WalLoss& loss) override {
    use_->condition.unread.push_back({"log", loss.why.message()});
    return Status::Ok();
  }

  std::vector<LogPin> pins_;

 private:
  ShardUse* const use_;
  const OpsContext& context_;
};

class Inspection {
 public:
  Inspection(const OfflineStore& store, const InspectOptions& options, const OpsContext& context, InspectReport* report)
      : store_(store), options_(options), context_(context), report_(report) {}

  Status Run() {
    report_->instance_failure = store_.log_failure().message() + store_.data_failure().message();  // at most one of them
    if (store_.log() != nullptr) report_->log = store_.LogStats();
    if (store_.data() != nullptr) report_->data = store_.data()->Stats();
    report_->chunks_read = options_.chunks;
    std::uint64_t bytes = 0;
    for (ShardId i = 0; i < store_.shards(); ++i) {
      if (store_.log() != nullptr)
        bytes += report_->log.families[WalFamily(i)].buffered_bytes + report_->log.families[WalFamily(i)].file_bytes;
      if (store_.data() != nullptr && options_.chunks) bytes += report_->data.families[ChunkFamily(i)].file_bytes;
    }
    context_.Begin("reading", bytes, "bytes");
    for (ShardId i = 0; i < store_.shards(); ++i) {
      ShardUse use{.shard = i};
      Damage(&use);
      const auto ended = [&](const char* part, const Status& status) {
        if (status.code() == StatusCode::kCancelled) return status;
        if (!status.ok()) use.condition.unread.push_back({part, status.message()});
        return Status::Ok();
      };
      // An open that cannot read them quarantines the shard, too.
      if (use.condition.quarantine.empty()) use.condition.quarantine = ReadStates(&use).message();
      if (use.condition.quarantine.empty()) {
        if (Status s = ended("chunks", options_.chunks ? ReadChunks(&use) : EstimateChunks(&use)); !s.ok()) return s;
      }
      if (Status s = ended("log", ReadLog(&use)); !s.ok()) return s;
      report_->shards.push_back(std::move(use));
    }
    std::stable_sort(report_->pins.begin(), report_->pins.end(),
                     [](const LogPin& a, const LogPin& b) { return a.since_ms < b.since_ms; });
    if (options_.files) report_->files = ListInstanceFiles(store_);
    if (options_.settings) report_->settings = ReadEngineSettings(store_);
    return context_.CheckCancelled();
  }

 private:
  void Damage(ShardUse* use) {
    use->condition.quarantine = store_.data_failure().message();
    if (store_.data() == nullptr) return;
    for (const FamilyId family : {IndexFamily(use->shard), ChunkFamily(use->shard)}) {
      use->table_bytes += report_->data.families[family].file_bytes;
      const Status damage = store_.data()->Damage(family);
      if (use->condition.quarantine.empty()) use->condition.quarantine = damage.message();
    }
  }

  Status ReadStates(ShardUse* use) {
    const RowReader index(store_.data(), IndexFamily(use->shard));
    const auto state = index.ReadState();
    if (!state.ok()) return state.status();
    if (state->has_value()) {
      use->series = (*state)->series;
      use->next_ordinal = (*state)->next_ordinal;
      use->index_applied_lsn = (*state)->applied_lsn;
    }
    std::string value;
    const Status s = store_.data()->Get(ChunkFamily(use->shard), kChunkStateKey, &value);
    if (s.code() == StatusCode::kNotFound) return Status::Ok();
    if (!s.ok()) return s;
    ChunkState chunks;
    if (Status t = DecodeChunkState(kChunkStateKey, value, &chunks); !t.ok()) return t;
    use->chunk_applied_lsn = chunks.applied_lsn;
    use->floor = chunks.floor;
    return Status::Ok();
  }

  Status ReadChunks(ShardUse* use) {
    WindowUse* window = nullptr;
    std::uint64_t* shard_bytes = nullptr;
    const Status s = ScanChunkRows(store_, use->shard, context_, [&](const ChunkMeta& meta, std::uint64_t bytes) {
      if (window == nullptr || window->window != meta.window) {
        window = &report_->windows[meta.window];
        window->window = meta.window;
        shard_bytes = &window->shard_bytes[use->shard];
      }
      ++window->chunks;
      window->bytes += bytes;
      *shard_bytes += bytes;
      window->samples += meta.samples;
      ++use->chunks;
      use->chunk_bytes += bytes;
      use->samples += meta.samples;
      use->min_time = std::min(use->min_time, meta.min_time);
      use->max_time = std::max(use->max_time, meta.max_time);
      const std::size_t width = std::bit_width(std::max<std::uint64_t>(bytes, 1) - 1);  // bytes <= 2^width
      ChunkClass& size = report_->chunk_classes[std::min(kChunkClasses - 1, width <= 4 ? 0 : width - 4)];
      ++size.chunks;
      size.bytes += bytes;
      size.samples += meta.samples;
    });
    return s.ok() ? CountTombstones(use) : s;
  }

  Status CountTombstones(ShardUse* use) {
    auto it = store_.data()->NewIterator(
        ChunkFamily(use->shard),
        {.lower = std::string(1, kTombstoneKeyTag), .upper = std::string(1, kTombstoneKeyTag + 1), .fill_cache = false});
    if (!it.ok()) return it.status();
    std::string last;  // the LSN of the one before: the parts of one are neighbours
    for ((*it)->Seek(std::string(1, kTombstoneKeyTag)); (*it)->Valid(); (*it)->Next()) {
      const std::string_view lsn = (*it)->key().substr(0, 9);
      if (lsn == last) continue;
      last = lsn;
      ++use->tombstones;
    }
    return (*it)->status();
  }

  // One look a window.
  Status EstimateChunks(ShardUse* use) {
    const FamilyId family = ChunkFamily(use->shard);
    auto it = store_.data()->NewIterator(
        family, {.lower = std::string(1, kChunkKeyTag), .upper = std::string(1, kChunkKeyTag + 1), .fill_cache = false});
    if (!it.ok()) return it.status();
    std::string from(1, kChunkKeyTag);
    for ((*it)->Seek(from); (*it)->Valid(); (*it)->Seek(from)) {
      if (Status s = context_.CheckCancelled(); !s.ok()) return s;
      ChunkMeta meta;
      if (!DecodeChunkKey((*it)->key(), &meta)) return BadChunkKey((*it)->key());
      const std::string begin = ChunkWindowPrefix(meta.window);
      from = meta.window > kMaxTimestamp - store_.manifest().window_ms
                 ? std::string(1, kChunkKeyTag + 1)
                 : ChunkWindowPrefix(meta.window + store_.manifest().window_ms);
      const Result<std::uint64_t> bytes = store_.data()->EstimateBytes(family, begin, from);
      if (!bytes.ok()) return bytes.status();
      WindowUse& window = report_->windows[meta.window];
      window.window = meta.window;
      window.bytes += *bytes;
      window.shard_bytes[use->shard] += *bytes;
      use->chunk_bytes += *bytes;
    }
    return (*it)->status();
  }

  Status ReadLog(ShardUse* use) {
    if (store_.log() == nullptr) return store_.log_failure();
    if (store_.unfinished().Contains(use->shard)) use->condition.unread.push_back({"log", std::string(kLogGivenUp)});
    LogReader reader(use, context_);
    WalEnd end;
    const Status s = ReadWal(store_.log(), WalFamily(use->shard), use->shard, ~Lsn{0}, context_.cancelled, &reader, nullptr, &end);
    use->trimmed_to = end.trimmed_to;
    report_->pins.insert(report_->pins.end(), reader.pins_.begin(), reader.pins_.end());
    return s;
  }

  const OfflineStore& store_;
  const InspectOptions& options_;
  const OpsContext& context_;
  InspectReport* const report_;
};

}  // namespace

std::string_view NameOf(PinReason reason) {
  switch (reason) {
    case PinReason::kNotStored:
      return "not stored";
    case PinReason::kNotTrimmed:
      return "stored, not trimmed";
    case PinReason::kQuarantined:
      return "quarantined";
  }
  return "";
}

std::string_view ReleaseOf(PinReason reason) {
  switch (reason) {
    case PinReason::kNotStored:
      return "a checkpoint of the shard (an open store makes one by itself; a closed one when it is opened or recovered)";
    case PinReason::kNotTrimmed:
      return "the archiver, when it takes them; without one the next checkpoint";
    case PinReason::kQuarantined:
      return "the shard's damaged file back in its place, or a restored snapshot; then a checkpoint";
  }
  return "";
}

std::uint64_t ChunkClassEnd(std::size_t i) { return 16ULL << i; }

std::uint64_t InspectReport::PinnedBytes() const {
  std::uint64_t bytes = 0;
  for (const LogPin& pin : pins) bytes += pin.bytes;
  return bytes;
}

Result<InspectReport> Inspect(const OfflineStore& store, const InspectOptions& options, const OpsContext& context) {
  InspectReport report;
  report.now_ms = Clock::System()->NowMs();
  if (Status s = Inspection(store, options, context, &report).Run(); !s.ok()) return s;
  return report;
}

Status ScanChunkRows(const OfflineStore& store, ShardId shard, const OpsContext& context,
                     const std::function<void(const ChunkMeta&, std::uint64_t bytes)>& take) {
  auto it = store.data()->NewIterator(
      ChunkFamily(shard), {.lower = std::string(1, kChunkKeyTag), .upper = std::string(1, kChunkKeyTag + 1), .fill_cache = false});
  if (!it.ok()) return it.status();
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
  ChunkMeta meta;
  for ((*it)->Seek(std::string(1, kChunkKeyTag)); (*it)->Valid(); (*it)->Next()) {
    if (!DecodeChunkKey((*it)->key(), &meta)) return BadChunkKey((*it)->key());
    const std::string_view value = (*it)->value();
    if (!PeekChunkValue(value, &meta)) return DataLoss("the value of a chunk row does not decode; `chronolith verify` names it");
    take(meta, value.size());
    bytes += value.size() + kChunkKeyBytes;
    if (++rows % kRowsPerLook != 0) continue;
    context.Add(std::exchange(bytes, 0));
    if (Status s = context.CheckCancelled(); !s.ok()) return s;
  }
  context.Add(bytes);
  return (*it)->status();
}

}  // namespace chronolith::ops

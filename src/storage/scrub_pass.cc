#include "storage/scrub_pass.h"

#include <optional>
#include <utility>

#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kSliceBytes = 1 << 20;  // of rows, read by one cursor
constexpr int kLogTriesMax = 10;
constexpr std::uint64_t kStepsShared = 4;

using CheckRow = Status (*)(std::string_view key, std::string_view value);

Status CheckChunkRow(std::string_view key, std::string_view value) {
  if (key == kChunkStateKey) {
    ChunkState state;
    return DecodeChunkState(key, value, &state);
  }
  if (key.starts_with(kTombstoneKeyTag)) {
    TombstonePart part;
    return DecodeTombstone(key, value, &part);
  }
  ChunkMeta meta;
  std::string_view payload;
  std::string buffer;
  if (!DecodeChunkKey(key, &meta)) return BadChunkKey(key);
  return DecodeChunkValue(key, value, &meta, &payload, &buffer);
}

Status CheckIndexRow(std::string_view key, std::string_view value) {
  using namespace index_rows;
  constexpr std::size_t kLongKeyBytes = 1 + sizeof(Ordinal);
  switch (key.empty() ? '\0' : key[0]) {
    case kStatePrefix:
      return DecodeState(value).status();
    case kLabelsPrefix:
    case kMetadataPrefix: {
      LongRow row;
      std::string_view payload;
      return key.size() == kLongKeyBytes ? DecodeLongRow(key, value, &row) : OpenValue(key, value, &payload);
    }
    case kHashPrefix: {
      HashSets sets;
      return DecodeHashValue(key, value, &sets);
    }
    case kPostingsPrefix: {
      std::vector<PostingSets> entries;
      return DecodePostings(key, value, &entries);
    }
    default:
      return index_rows::Damaged(key, "there are no such rows");
  }
}

class Pass : public VerifyVisitor {
 public:
  Pass(const ScrubSubject& subject, ScrubPosition from, const std::atomic<bool>& stop, ScrubWatcher* watcher)
      : subject_(subject), position_(std::move(from)), stop_(stop), watcher_(watcher) {}

  Status Run() {
    const std::uint64_t steps = ScrubSteps(subject_.shards->size());
    while (position_.step < steps) {
      Status status = stop_.load(std::memory_order_relaxed) ? Cancelled("the scrub was stopped") : Step();
      if (status.code() == StatusCode::kCancelled || status.code() == StatusCode::kUnavailable) return status;
      if (!status.ok()) Report(std::move(status));
      position_ = {position_.step + 1, ""};
      watcher_->OnPosition(position_);
    }
    return Status::Ok();
  }

 private:
  Status Step() {
    place_.clear();
    shard_.reset();
    if (position_.step < kStepsShared) {
      const bool log = position_.step < kStepsShared / 2;
      if (position_.step == 0 && position_.behind.empty()) CheckManifest();
      place_ = log ? "log" : "data";
      return Files(log ? subject_.log : subject_.data, position_.step % 2 == 0 ? kSharedFiles : kMetaFamily);
    }
    const std::uint64_t families = 3 * subject_.shards->size();
    const std::uint64_t of_rows = position_.step - kStepsShared;
    const std::uint64_t family = of_rows % families;
    const Shard& shard = *(*subject_.shards)[family / 3];
    if (!shard.quarantine.ok()) return Status::Ok();
    shard_ = shard.id;
    const bool rows = of_rows >= families;
    const std::string k = "." + std::to_string(shard.id);
    switch (family % 3) {
      case 0:
        place_ = rows ? "wal" + k : "log";
        return rows ? LogRows(shard) : Files(subject_.log, shard.wal_family);
      case 1:
        place_ = rows ? "index" + k : "data";
        return rows ? Rows(shard.index_family, CheckIndexRow) : Files(subject_.data, shard.index_family);
      default:
        place_ = rows ? "chunk" + k : "data";
        return rows ? Rows(shard.chunk_family, CheckChunkRow) : Files(subject_.data, shard.chunk_family);
    }
  }

  void Report(Status status, const std::string& what = "") {
    watcher_->OnProblem({what.empty() ? place_ : place_ + "/" + what, shard_, std::move(status)});
  }

  void CheckManifest() {
    const Result<StoreManifest> found = ReadStoreManifest(subject_.path);
    Status status = found.status();
    const std::string file = "file '" + subject_.path + "/" + std::string(kStoreFile) + "'";
    if (!found.ok() && status.code() != StatusCode::kIoError) status = DataLoss(status.message());
    if (found.status().code() == StatusCode::kNotFound) status = DataLoss(file + " is missing");
    if (found.ok() && !(*found == *subject_.manifest)) status = DataLoss(file + " is not what it was when the store was opened");
    place_ = kStoreFile;
    if (!status.ok()) Report(std::move(status));
  }

  // ---- Files ----

  Status Files(KvEngine* engine, FamilyId family) {
    if (!engine->Has(Capability::kVerify)) return Status::Ok();  // what is wrong is found by the rows
    return engine->VerifyChecksums(family, std::string(position_.behind), this);
  }
  bool OnBytes(std::uint64_t bytes) override { return Read(bytes, 0); }
  void OnFile(std::string_view file) override {
    position_.behind = file;
    watcher_->OnPosition(position_);
  }
  void OnDamage(std::string_view file, const Status& damage) override { Report(damage, std::string(file)); }

  // ---- Rows ----

  bool Read(std::uint64_t bytes, std::uint64_t rows) {
    return watcher_->OnRead(bytes, rows) && !stop_.load(std::memory_order_relaxed);
  }

  // A cursor would keep the files and memtables that it was made over: one for each slice.
  Status Rows(FamilyId family, CheckRow check) {
    for (bool more = true; more;) {
      std::uint64_t bytes = 0;
      std::uint64_t rows = 0;
      {
        IterateOptions iterate;
        iterate.fill_cache = false;
        if (!position_.behind.empty()) iterate.lower = position_.behind + '\0';
        Result<std::unique_ptr<KvIterator>> it = subject_.data->NewIterator(family, iterate);
        if (!it.ok()) return it.status();
        for ((*it)->Seek(iterate.lower); (*it)->Valid() && bytes < kSliceBytes; (*it)->Next()) {
          if (Status status = check((*it)->key(), (*it)->value()); !status.ok())
            Report(status.WithContext(place_), index_rows::PrintableKey((*it)->key()));
          bytes += (*it)->key().size() + (*it)->value().size();
          ++rows;
          position_.behind = (*it)->key();
        }
        more = (*it)->Valid();
        // What lies behind cannot be reached: a cursor does not tell where it might go on.
        if (Status status = (*it)->status(); !status.ok())
          Report(status.WithContext("rows behind " + index_rows::PrintableKey(position_.behind)), "rows");
      }
      watcher_->OnPosition(position_);
      if (!Read(bytes, rows)) return Cancelled("the scrub was stopped");
    }
    return Status::Ok();
  }

  // They are in memory, and not many: read in one go, so that a trim in the middle is not taken for a hole, and paid for
  // afterwards.
  Status LogRows(const Shard& shard) {
    Lsn trimmed_to = 0;
    for (int i = 0; i < kLogTriesMax && !subject_.log_failed(); ++i) {
      WalEnd end;
      Status status = ReadWal(subject_.log, shard.wal_family, shard.id, 0, &stop_, nullptr, nullptr, &end);
      if (status.code() == StatusCode::kCancelled) return status;
      if (status.ok()) return Read(end.bytes, end.records) ? Status::Ok() : Cancelled("the scrub was stopped");
      // The reader asks first how far the log is trimmed, and then looks at its rows.
      if (i > 0 && end.trimmed_to == trimmed_to) return subject_.log_failed() ? Status::Ok() : status;
      trimmed_to = end.trimmed_to;
    }
    return Status::Ok();
  }

  const ScrubSubject& subject_;
  ScrubPosition position_;
  const std::atomic<bool>& stop_;
  ScrubWatcher* const watcher_;
  std::string place_;
  std::optional<std::uint32_t> shard_;
};

}  // namespace

std::uint64_t ScrubSteps(std::size_t shards) { return kStepsShared + 6 * shards; }

Status RunScrubPass(const ScrubSubject& subject, ScrubPosition from, const std::atomic<bool>& stop, ScrubWatcher* watcher) {
  return Pass(subject, std::move(from), stop, watcher).Run();
}

}  // namespace chronolith

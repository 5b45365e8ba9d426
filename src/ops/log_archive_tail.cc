#include "ops/log_archive_tail.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "chronolith/archive_marks.h"
#include "chronolith/file_log_archiver.h"
#include "ops/offline_store.h"
#include "ops/work_share.h"
#include "storage/store_directory.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kBatchBytes = 1 << 20;

// Gives rows to the archiver, in batches.
class TailVisitor : public WalVisitor {
 public:
  TailVisitor(LogArchiver* archiver, WorkShare* share, ArchivedTail* tail) : archiver_(archiver), share_(share), tail_(tail) {}

  Status OnRow(ShardId shard, const WalRowHeader& row, std::string_view value) override {
    values_.emplace_back(value);
    rows_.push_back({shard, row.first_lsn, row.first_lsn + row.records - 1, row.epoch, row.write_time_ms, values_.back()});
    bytes_ += value.size();
    return bytes_ < kBatchBytes ? Status::Ok() : Flush();
  }
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView&) override { return Status::Ok(); }

  Status Flush() {
    if (rows_.empty()) return Status::Ok();
    if (Status s = archiver_->Archive(rows_); !s.ok()) return s;
    tail_->rows += rows_.size();
    tail_->bytes += bytes_;
    share_->Add(bytes_);
    rows_.clear();
    values_.clear();
    bytes_ = 0;
    return Status::Ok();
  }

 private:
  LogArchiver* const archiver_;
  WorkShare* const share_;
  ArchivedTail* const tail_;
  std::deque<std::string> values_;
  std::vector<ArchivedRow> rows_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Result<ArchivedTail> ArchiveTail(const std::string& store, const std::string& log_path, const std::string& directory,
                                 const OpsContext& context) {
  ArchivedTail tail;
  tail.time_ms = Clock::System()->NowMs();  // what is written from now on is not in it
  OfflineOptions log_only;
  log_only.log_path = log_path;
  log_only.data = false;
  log_only.logger = context.logger;
  Result<std::shared_ptr<LogInTables>> in_tables = PutLogInTables(store, log_only, context);
  if (!in_tables.ok()) return in_tables.status();
  log_only.log_in_tables = std::move(*in_tables);
  const Result<std::unique_ptr<OfflineStore>> source = OfflineStore::Open(store, log_only);
  if (!source.ok()) return source.status();
  FileLogArchiverOptions how;
  how.store = store;
  how.logger = context.logger;
  const Result<std::shared_ptr<LogArchiver>> archiver = OpenFileLogArchiver(directory, how);
  if (!archiver.ok()) return archiver.status();
  const EngineStats stats = (*source)->log()->Stats();
  std::uint64_t bytes = 0;
  for (ShardId shard = 0; shard < (*source)->shards(); ++shard) {
    const auto& family = stats.families[WalFamily(shard)];
    bytes += family.file_bytes + family.buffered_bytes;
  }
  context.Begin("archiving the log", bytes, "bytes");
  WorkShare share(context, bytes);
  TailVisitor visitor(archiver->get(), &share, &tail);
  ArchiveMark mark{.epoch = 0, .group = 0, .time_ms = tail.time_ms, .archived_to = {}};
  WalPlace last;
  for (ShardId shard = 0; shard < (*source)->shards(); ++shard) {
    WalEnd end;
    if (Status s = ReadWal((*source)->log(), WalFamily(shard), shard, std::numeric_limits<Lsn>::max(), context.cancelled, &visitor,
                           nullptr, &end);
        !s.ok()) {
      return s.WithContext((*source)->log_path());
    }
    if (Status s = visitor.Flush(); !s.ok()) return s;
    last = std::max(last, WalPlace{end.last_epoch, end.last_group});
    mark.archived_to.push_back(std::max(end.last_lsn, end.trimmed_to));
  }
  if (last.epoch == 0) return tail;  // the log is empty: the archive's last mark stands
  mark.epoch = last.epoch;
  mark.group = last.group;
  dynamic_cast<ArchiveMarks&>(**archiver).OnMark(mark);
  return tail;
}

}  // namespace chronolith::ops

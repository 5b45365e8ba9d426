// The log on its way to the host's archive, before it is trimmed.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "wal/sharded_wal.h"

namespace chronolith {
namespace {

constexpr std::size_t kBatchBytes = 1 << 20;

// Hands rows that end at or before `last` to the archiver, in batches; stops the reading behind them.
class ArchiveVisitor : public WalVisitor {
 public:
  ArchiveVisitor(LogArchiver* archiver, Lsn last, bool accept_loss) : archiver_(archiver), last_(last), accept_loss_(accept_loss) {}

  Status OnLoss(ShardId shard, const WalLoss& loss) override {
    if (!accept_loss_) return loss.why;
    if (loss.behind.epoch == 0 || loss.first > last_) return Status::Ok();
    const Status status = Flush();
    if (status.ok()) archiver_->OnGap(shard, loss.first, std::min(loss.last, last_));
    return status;
  }

  Status OnRow(ShardId shard, const WalRowHeader& row, std::string_view value) override {
    const Lsn row_end = row.first_lsn + row.records - 1;
    if (row_end > last_) return Cancelled("nothing more to archive");
    if (bytes_ + value.size() > kBatchBytes) {
      if (Status status = Flush(); !status.ok()) return status;
    }
    values_.emplace_back(value);
    rows_.push_back({shard, row.first_lsn, row_end, row.epoch, row.write_time_ms, {}});
    bytes_ += value.size();
    return Status::Ok();
  }
  Status OnRecord(ShardId, Lsn, const WalRowHeader&, const RecordView&) override { return Status::Ok(); }

  Status Flush() {
    if (rows_.empty()) return Status::Ok();
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i].value = values_[i];
    if (Status status = archiver_->Archive(rows_); !status.ok()) return status;
    archived_to_ = rows_.back().last_lsn;
    archived_bytes_ += bytes_;
    values_.clear();
    rows_.clear();
    bytes_ = 0;
    return Status::Ok();
  }
  Lsn archived_to() const { return archived_to_; }
  std::uint64_t archived_bytes() const { return archived_bytes_; }

 private:
  LogArchiver* const archiver_;
  const Lsn last_;
  const bool accept_loss_;
  std::vector<std::string> values_;
  std::vector<ArchivedRow> rows_;
  std::size_t bytes_ = 0;
  Lsn archived_to_ = 0;
  std::uint64_t archived_bytes_ = 0;
};

}  // namespace

Lsn ShardedWAL::Archive(WALShard* s, Lsn lsn) {
  ArchiveVisitor visitor(options_.archiver.get(), lsn, options_.accept_data_loss);
  WalEnd end;
  // Behind no LSN: the rows are wanted, not what is in their records. Their checksums are verified all the same.
  Status status = ReadWal(engine_, s->family_, s->shard_, std::numeric_limits<Lsn>::max(), nullptr, &visitor, nullptr, &end);
  const bool read = status.ok() || status.code() == StatusCode::kCancelled;
  if (read) status = visitor.Flush();
  s->archived_bytes_.Add(visitor.archived_bytes());

  Lsn trim_to = std::max(visitor.archived_to(), s->trimmed_to());
  Lsn gap_to = 0;
  std::uint64_t held = 0;
  std::uint64_t given_up = 0;
  {
    MutexLock lock(&s->rows_mu_);
    for (std::size_t i = 0; i < s->rows_.size() && s->RowEnd(i) <= lsn; ++i) {
      const bool logged = s->rows_[i].first_lsn <= s->RowEnd(i);
      if (logged && s->rows_[i].first_lsn > trim_to) held += s->rows_[i].bytes;
    }
    for (std::size_t i = 0; i < s->rows_.size() && held > options_.archive_backlog_bytes; ++i) {
      if (s->rows_[i].first_lsn <= trim_to) continue;
      gap_to = s->RowEnd(i);
      held -= s->rows_[i].bytes;
      given_up += s->rows_[i].bytes;
    }
  }
  if (!status.ok() && options_.logger) {
    options_.logger->Log(LogLevel::kWarning, "log archive, shard " + std::to_string(s->shard_) + ": " + status.ToString() + "; " +
                                                 std::to_string(held) + " bytes are kept for the next checkpoint");
  }
  if (gap_to > 0) {
    if (options_.logger) {
      options_.logger->Log(LogLevel::kError, "log archive, shard " + std::to_string(s->shard_) + ": LSN " +
                                                 std::to_string(trim_to + 1) + " to " + std::to_string(gap_to) +
                                                 " are trimmed unarchived (log_archive_backlog_bytes)");
    }
    options_.archiver->OnGap(s->shard_, trim_to + 1, gap_to);
    s->archive_gap_bytes_.Add(given_up);
    trim_to = gap_to;
  }
  s->archive_backlog_.store(held, std::memory_order_relaxed);
  return std::min(trim_to, lsn);
}

bool ShardedWAL::HasArchiveBacklog() const {
  for (const auto& s : shards_) {
    if (s->archive_backlog_.load(std::memory_order_relaxed) > 0) return true;
  }
  return false;
}

}  // namespace chronolith

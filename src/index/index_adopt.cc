// IndexShard::AdoptStored: what a checkpoint that was cut short has left of records that the log has lost.
//
// Labels rows come first in a checkpoint (index_checkpoint.cc). So such a series has its labels row, or nothing at all; its hash
// row and postings may be missing, in part or all. As a rule the log repeats the change and the next checkpoint writes all rows
// again; here the labels row does in its place.
#include <algorithm>
#include <utility>
#include <vector>

#include "index/index_impl.h"

namespace chronolith {
namespace {

// A run of changes is written, and leaves the memory, before the next is read.
constexpr std::size_t kRun = 16384;
constexpr std::size_t kRunBytes = 4UL << 20;  // of labels

struct StoredSeries {
  Ordinal ordinal;
  std::uint64_t hash;
  std::string labels;
};

}  // namespace

class IndexShard::Impl::Adoption {
 public:
  Adoption(Impl* index, const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn)
      : index_(index), whole_(whole), replayed_(replayed), lsn_(lsn) {}

  Result<AdoptedSeries> Run() {
    const Result<index_rows::State> state = State();
    if (!state.ok()) return state.status();
    const std::uint64_t vouched = state->next_ordinal;
    Status status = Scan(0, vouched);
    // What is damaged there is told by who reads it, as ever, and its ordinal is not given out again.
    if (status.code() == StatusCode::kDataLoss || status.code() == StatusCode::kIoError) status = Status::Ok();
    if (status.ok()) status = failure_;
    if (status.ok()) status = Scan(vouched, std::uint64_t{1} << 32);
    if (status.ok()) status = failure_;
    if (status.ok()) status = EndRun();
    if (!status.ok()) return status;
    return std::move(adopted_);
  }

 private:
  Status Scan(std::uint64_t from, std::uint64_t to) {
    std::vector<Ordinal> in_parts;
    const auto take = [this](Ordinal ordinal, const index_rows::LongRow& row) {
      if (failure_.ok()) failure_ = Take(ordinal, row);
    };
    const auto take_ordinal = [&](Ordinal ordinal) { in_parts.push_back(ordinal); };
    const Status scanned = index_->rows_.ScanLabels(from, to, RowReader::Cache::kLeave, take, take_ordinal);
    for (const Ordinal ordinal : in_parts) {
      std::vector<std::optional<index_rows::LongRow>> rows;
      if (Status s = index_->rows_.ReadLong(index_rows::kLabelsPrefix, {&ordinal, 1}, &rows); !s.ok()) return s;
      if (rows[0]) take(ordinal, *rows[0]);
    }
    return scanned;
  }

  Status Take(Ordinal ordinal, const index_rows::LongRow& row) {
    adopted_.next_ordinal = std::max(adopted_.next_ordinal, ordinal + std::uint64_t{1});
    if (row.removed) {
      if (row.removed_lsn > whole_.applied_lsn && !replayed_.removed.Contains(ordinal)) removed_.push_back(ordinal);
    } else if (ordinal >= whole_.next_ordinal && !replayed_.created.Contains(ordinal)) {
      series_.push_back({ordinal, row.hash, row.bytes});
      bytes_ += row.bytes.size();
    }
    if (series_.size() + removed_.size() < kRun && bytes_ < kRunBytes) return Status::Ok();
    if (Status s = EndRun(); !s.ok()) return s;
    // The state row stays as it is: it vouches for no more than before.
    const Result<index_rows::State> state = State();
    if (!state.ok()) return state.status();
    if (Status s = index_->Checkpoint({state->applied_lsn, state->next_ordinal, state->series}); !s.ok()) return s;
    index_->Evict(inserted_);
    return Status::Ok();
  }

  Status EndRun() {
    std::vector<std::uint64_t> hashes;
    inserted_.clear();
    for (const StoredSeries& series : series_) {
      hashes.push_back(series.hash);
      inserted_.push_back(series.ordinal);
    }
    index_->Evict(inserted_);  // one that a look-up has made resident would not be written
    std::vector<std::vector<Ordinal>> same_hash;
    if (Status s = index_->rows_.ReadHashes(hashes, &same_hash); !s.ok()) return s;
    for (const Ordinal ordinal : removed_) {
      if (Status s = Remove(ordinal); !s.ok()) return s;
    }
    for (std::size_t i = 0; i < series_.size(); ++i) {
      if (Status s = InsertNewest(series_[i], same_hash[i]); !s.ok()) return s;
    }
    series_.clear();
    removed_.clear();
    bytes_ = 0;
    return Status::Ok();
  }

  Result<index_rows::State> State() const {
    const Result<std::optional<index_rows::State>> state = index_->rows_.ReadState();
    if (!state.ok()) return state.status();
    return state->value_or(index_rows::State());
  }
  bool IsRemoved(Ordinal ordinal) const {
    MeasuredReaderLock lock(&index_->mu_);
    return index_->IsRemoved(ordinal);
  }
  Status Remove(Ordinal ordinal) {
    if (IsRemoved(ordinal)) return Status::Ok();
    adopted_.removed.Add(ordinal);
    return index_->Remove(ordinal, lsn_);
  }

  // The record that removed a series before it was created again may be lost, too.
  Status InsertNewest(const StoredSeries& series, std::vector<Ordinal> same_hash) {
    if (IsRemoved(series.ordinal)) return Status::Ok();
    const SeriesKey key{series.hash, series.labels};
    std::vector<Ordinal> same;
    if (const std::optional<Ordinal> resident = index_->FindResident(key)) same.push_back(*resident);
    std::vector<std::optional<index_rows::LongRow>> rows;
    std::erase(same_hash, series.ordinal);
    if (Status s = index_->rows_.ReadLong(index_rows::kLabelsPrefix, same_hash, &rows); !s.ok()) return s;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] && !rows[i]->removed && rows[i]->bytes == series.labels && !IsRemoved(same_hash[i])) same.push_back(same_hash[i]);
    }
    const bool newest = std::all_of(same.begin(), same.end(), [&](Ordinal other) { return other < series.ordinal; });
    for (const Ordinal other : same) {
      if (Status s = other < series.ordinal ? Remove(other) : Status::Ok(); !s.ok()) return s;
    }
    if (!newest) return Remove(series.ordinal);
    ++adopted_.inserted;
    if (index_->Insert(series.ordinal, key, lsn_)) return Status::Ok();
    return index_->HasRoom(series.ordinal, 1, series.labels.size())
               ? index_rows::Damaged(index_rows::OrdinalKey(index_rows::kLabelsPrefix, series.ordinal), "malformed labels")
               : ResourceExhausted("the index has no room for series that are stored");
  }

  Impl* const index_;
  const IndexState whole_;
  const ReplayedSeries& replayed_;
  const Lsn lsn_;
  std::vector<StoredSeries> series_;
  std::vector<Ordinal> removed_;
  std::size_t bytes_ = 0;
  std::vector<Ordinal> inserted_;
  Status failure_;  // not of the scan
  AdoptedSeries adopted_;
};

Result<AdoptedSeries> IndexShard::Impl::AdoptStored(const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn) {
  return Adoption(this, whole, replayed, lsn).Run();
}

Result<AdoptedSeries> IndexShard::AdoptStored(const IndexState& whole, const ReplayedSeries& replayed, Lsn lsn) {
  return impl_->AdoptStored(whole, replayed, lsn);
}

}  // namespace chronolith

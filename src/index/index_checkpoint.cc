// IndexShard::Checkpoint: the changes in memory become rows.
//
// Order within a checkpoint: labels and hashes of series, postings, metadata, and last the state row, whose applied_lsn vouches for
// all before it. Rows are idempotent: after a crash half-way the log repeats the changes and the rows are written again.
#include <algorithm>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "index/index_impl.h"
#include "index/row_writer.h"

namespace chronolith {
namespace {

// Series or pairs are encoded in runs of so many under one shared lock.
constexpr std::size_t kLockRun = 256;
constexpr std::size_t kPurgeRun = 4096;  // metadata rows read at once

}  // namespace

// One run of a checkpoint over a frozen delta, which nobody changes meanwhile.
class IndexShard::Impl::CheckpointWriter {
 public:
  CheckpointWriter(const Impl* index, const IndexDelta& delta)
      : index_(index), delta_(delta), rows_(index->engine_, index->options_.family, index->options_.epoch) {}

  Status Write(const index_rows::State& state) {
    OrdinalSet added;
    delta_.postings.AddTo(Symbols::kAll, &added);
    added.Subtract(delta_.removed);  // came and went since the last checkpoint
    Status s = WriteSeries(added.ToVector(), false);
    if (s.ok()) s = WriteSeries(delta_.removed.ToVector(), true);
    if (s.ok()) s = WriteHashes();
    if (s.ok()) s = WritePostings();
    if (s.ok()) s = WriteMetadata();
    if (s.ok()) s = rows_.Put(index_rows::StateKey(), index_rows::EncodeState(state));
    return s.ok() ? rows_.Finish() : s;
  }

 private:
  struct HashChange {
    std::uint64_t hash;
    Ordinal ordinal;
    bool removed;
  };
  struct PairRemoval {
    PairId pair;
    Ordinal ordinal;
    friend auto operator<=>(const PairRemoval&, const PairRemoval&) = default;
  };
  struct EncodedSeries {
    std::size_t end;
    std::uint64_t hash;
  };

  // Labels rows; collects what the other rows need.
  Status WriteSeries(const std::vector<Ordinal>& ordinals, bool removed) {
    std::string encoded;
    std::vector<EncodedSeries> run;
    for (std::size_t begin = 0; begin < ordinals.size(); begin += kLockRun) {
      const std::span<const Ordinal> some(ordinals.data() + begin, std::min(kLockRun, ordinals.size() - begin));
      CopySeries(some, removed, &encoded, &run);
      std::size_t at = 0;
      for (std::size_t i = 0; i < some.size(); ++i) {
        index_rows::LongRow row;
        row.removed = removed;
        row.removed_lsn = removed ? delta_.removals.at(some[i]) : 0;
        row.hash = run[i].hash;
        const std::string_view labels = std::string_view(encoded).substr(at, run[i].end - at);
        at = run[i].end;
        if (Status s = rows_.PutLong(index_rows::kLabelsPrefix, some[i], row, labels); !s.ok()) return s;
        hashes_.push_back({run[i].hash, some[i], removed});
      }
    }
    return Status::Ok();
  }

  void CopySeries(std::span<const Ordinal> ordinals, bool removed, std::string* encoded, std::vector<EncodedSeries>* run) {
    encoded->clear();
    run->clear();
    MeasuredReaderLock lock(&index_->mu_);
    for (const Ordinal ordinal : ordinals) {
      index_->series_.AppendLabels(ordinal, index_->symbols_, encoded);
      const std::size_t begin = run->empty() ? 0 : run->back().end;
      run->push_back({encoded->size(), index_->series_.HashOf(ordinal, std::string_view(*encoded).substr(begin))});
      if (!removed) continue;
      removals_.push_back({Symbols::kAll, ordinal});
      index_->series_.ForEachPair(ordinal, [&](PairId pair) { removals_.push_back({pair, ordinal}); });
    }
  }

  // In order of keys, which engines take faster; equal hashes share one row.
  Status WriteHashes() {
    std::sort(hashes_.begin(), hashes_.end(),
              [](const HashChange& a, const HashChange& b) { return std::tie(a.hash, a.ordinal) < std::tie(b.hash, b.ordinal); });
    std::string key;
    std::string value;
    std::vector<Ordinal> added;
    std::vector<Ordinal> removed;
    for (std::size_t i = 0; i < hashes_.size();) {
      added.clear();
      removed.clear();
      const std::uint64_t hash = hashes_[i].hash;
      for (; i < hashes_.size() && hashes_[i].hash == hash; ++i)
        (hashes_[i].removed ? removed : added).push_back(hashes_[i].ordinal);
      key.clear();
      index_rows::AppendHashKey(hash, &key);
      value.clear();
      index_rows::AppendHashValue(key, added, removed, &value);
      if (Status s = rows_.Merge(key, value); !s.ok()) return s;
    }
    return Status::Ok();
  }

  // One operand a (pair, high half), in order of keys as well.
  Status WritePostings() {
    std::sort(removals_.begin(), removals_.end());
    std::vector<PairId> pairs;
    for (PairId pair = 0; pair < delta_.postings.end(); ++pair) {
      if (delta_.postings.Has(pair)) pairs.push_back(pair);
    }
    for (const PairRemoval& removal : removals_) pairs.push_back(removal.pair);
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    std::vector<std::pair<index_rows::PairKey, PairId>> keys;
    keys.reserve(pairs.size());
    for (std::size_t begin = 0; begin < pairs.size(); begin += kLockRun) {
      MeasuredReaderLock lock(&index_->mu_);
      for (std::size_t i = begin; i < std::min(begin + kLockRun, pairs.size()); ++i) {
        const Label label = index_->symbols_.LabelOf(pairs[i]);
        keys.emplace_back(index_rows::MakePairKey(label.name, label.value), pairs[i]);
      }
    }
    std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first.bytes < b.first.bytes; });
    for (auto& [key, pair] : keys) {
      OrdinalSet added;
      OrdinalSet removed;
      delta_.postings.AddTo(pair, &added);
      for (auto removal = std::lower_bound(removals_.begin(), removals_.end(), PairRemoval{pair, 0});
           removal != removals_.end() && removal->pair == pair; ++removal) {
        removed.Add(removal->ordinal);
      }
      if (!delta_.removed.empty()) added.Subtract(delta_.removed);
      if (Status s = WritePair(&key, added, removed); !s.ok()) return s;
    }
    return Status::Ok();
  }

  Status WritePair(index_rows::PairKey* key, const OrdinalSet& added, const OrdinalSet& removed) {
    const std::size_t key_bytes = key->bytes.size();
    OrdinalSet all(added);
    all.UnionWith(removed);
    const std::vector<Ordinal> ordinals = all.ToVector();
    for (std::size_t i = 0; i < ordinals.size();) {
      const std::uint32_t high = ordinals[i] >> 16;
      if (ordinals.back() >> 16 == high && i == 0) {
        i = ordinals.size();
        if (Status s = WritePosting(key, high, added, removed); !s.ok()) return s;
        break;
      }
      OrdinalSet high_added;
      OrdinalSet high_removed;
      for (; i < ordinals.size() && ordinals[i] >> 16 == high; ++i) {
        (removed.Contains(ordinals[i]) ? high_removed : high_added).Add(ordinals[i]);
      }
      key->bytes.resize(key_bytes);
      if (Status s = WritePosting(key, high, high_added, high_removed); !s.ok()) return s;
    }
    return Status::Ok();
  }

  Status WritePosting(index_rows::PairKey* key, std::uint32_t high, const OrdinalSet& added, const OrdinalSet& removed) {
    index_rows::AppendHigh(static_cast<std::uint16_t>(high), &key->bytes);
    rows_.BeginRow(Op::Type::kMerge, key->bytes);
    index_rows::AppendPostingEntry(key->text, added, removed, rows_.buffer());
    return rows_.EndRow();
  }

  Status WriteMetadata() {
    std::string bytes;
    for (const auto& [ordinal, change] : delta_.metadata) {
      bytes.clear();
      index_rows::EncodeMetadata(change.metadata, &bytes);
      if (Status s = rows_.PutLong(index_rows::kMetadataPrefix, ordinal, {}, bytes); !s.ok()) return s;
    }
    return Status::Ok();
  }

  const Impl* const index_;
  const IndexDelta& delta_;
  IndexRowWriter rows_;
  std::vector<HashChange> hashes_;
  std::vector<PairRemoval> removals_;
};

void IndexShard::Impl::Freeze() {
  if (writing_ == nullptr) {
    writing_ = std::move(active_);
  } else {
    writing_->Merge(*active_);  // an earlier checkpoint failed: both are written now
  }
  active_ = std::make_unique<IndexDelta>();
}

void IndexShard::Impl::Cut() {
  MeasuredLock lock(&mu_);
  Freeze();
  cut_ = true;
}

Status IndexShard::Impl::Checkpoint(const IndexState& state) {
  MutexLock checkpoint(&checkpoint_mu_);
  std::shared_ptr<const IndexDelta> delta;
  {
    MeasuredLock lock(&mu_);
    if (!std::exchange(cut_, false)) Freeze();
    delta = writing_;
  }
  const index_rows::State row{state.applied_lsn, std::max(state.next_ordinal, stored_next_ordinal_), state.series};
  CheckpointWriter writer(this, *delta);
  if (Status s = writer.Write(row); !s.ok()) {
    return s.WithContext("checkpoint of index shard " + std::to_string(options_.shard));
  }
  stored_next_ordinal_ = row.next_ordinal;
  FinishCheckpoint(*delta);
  return Status::Ok();
}

Status IndexShard::Impl::PurgeRemoved(const OrdinalSet& gone, Lsn trimmed_to, OrdinalSet* left) {
  MutexLock checkpoint(&checkpoint_mu_);  // who writes rows is alone
  const std::vector<Ordinal> all = gone.ToVector();
  if (all.empty()) return Status::Ok();
  {
    MeasuredReaderLock lock(&mu_);
    *left = PendingRemovals();  // the next checkpoint writes their rows, perhaps for the first time
  }
  left->IntersectWith(gone);
  std::vector<Ordinal> found;
  const auto take = [&](Ordinal ordinal, const index_rows::LongRow& row) {
    if (!gone.Contains(ordinal)) return;
    if (row.removed && row.removed_lsn <= trimmed_to) {
      found.push_back(ordinal);
    } else {
      left->Add(ordinal);
    }
  };
  if (Status s = rows_.ScanLabels(all.front(), all.back() + 1ULL, RowReader::Cache::kLeave, take); !s.ok()) return s;
  IndexRowWriter writer(engine_, options_.family, options_.epoch);
  std::vector<std::optional<index_rows::LongRow>> metadata;
  for (std::size_t begin = 0; begin < found.size(); begin += kPurgeRun) {
    const std::span<const Ordinal> some(found.data() + begin, std::min(kPurgeRun, found.size() - begin));
    if (Status s = rows_.ReadLong(index_rows::kMetadataPrefix, some, &metadata); !s.ok()) return s;
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (metadata[i] && metadata[i]->parts == 1) {
        if (Status s = writer.Delete(index_rows::OrdinalKey(index_rows::kMetadataPrefix, some[i])); !s.ok()) return s;
      }
      if (Status s = writer.Delete(index_rows::OrdinalKey(index_rows::kLabelsPrefix, some[i])); !s.ok()) return s;
    }
  }
  return writer.Finish();
}

// The rows hold the delta: forget it, the cache first (see CacheClient).
void IndexShard::Impl::FinishCheckpoint(const IndexDelta& written) {
  if (!written.postings.empty() || !written.removed.empty()) {
    std::vector<PairId> pairs;
    for (PairId pair = 0; pair < written.postings.end(); ++pair) {
      if (written.postings.Has(pair)) pairs.push_back(pair);
    }
    {
      MeasuredReaderLock lock(&mu_);
      if (!written.removed.empty()) pairs.push_back(Symbols::kAll);
      for (const Ordinal ordinal : written.removed.ToVector())
        series_.ForEachPair(ordinal, [&](PairId pair) { pairs.push_back(pair); });
    }
    cache_.BeginStamp();
    for (const Ordinal ordinal : written.removed.ToVector()) cache_.InvalidateLabels(ordinal);
    for (std::size_t begin = 0; begin < pairs.size(); begin += kLockRun) {
      MeasuredReaderLock lock(&mu_);
      for (std::size_t i = begin; i < std::min(begin + kLockRun, pairs.size()); ++i) {
        const Label label = symbols_.LabelOf(pairs[i]);
        cache_.Invalidate({PostingsKey::Kind::kPair, label.name, label.value});
      }
    }
  }
  std::shared_ptr<IndexDelta> dropped;  // freed after the lock
  MeasuredLock lock(&mu_);
  dropped = std::move(writing_);
  writing_ = nullptr;
  for (const auto& [ordinal, lsn] : dropped->removals) {
    if (series_.Contains(ordinal)) series_.Drop(ordinal, symbols_);
  }
  MaybeRebuild();
}

}  // namespace chronolith

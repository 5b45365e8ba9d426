#include "index/index_shard.h"

#include <algorithm>
#include <utility>

#include "index/index_impl.h"

namespace chronolith {
namespace {

// Stored series are looked up so many at a time: bounds memory, and the time that the lock is held to make them resident.
constexpr std::size_t kFindBatch = 1024;
constexpr std::size_t kLockRun = 128;
// Read-ahead: starts where so many found ordinals lie within four times their number, and doubles while they run on.
constexpr std::size_t kAheadRun = 8;
constexpr std::uint64_t kAheadFirst = 256;
constexpr std::uint64_t kAheadMax = 4096;
// One in so many FindResident calls is timed (two clock readings cost a sixth of one).
constexpr std::uint64_t kSampleMask = 15;
// Forgotten records are worth a rebuild from so many bytes on.
constexpr std::size_t kRebuildBytes = 64 << 10;

}  // namespace

// ---- Impl ----

IndexShard::Impl::Impl(KvEngine* engine, const IndexShardOptions& options)
    : engine_(engine),
      options_(options),
      rows_(engine, options.family),
      cache_(options.cache),
      active_(std::make_unique<IndexDelta>()) {}

Result<IndexState> IndexShard::Impl::Load() {
  Result<std::optional<index_rows::State>> state = rows_.ReadState();
  if (!state.ok()) return state.status();
  if (!state->has_value()) return IndexState{};
  const index_rows::State& stored = **state;
  const auto highs = static_cast<std::uint32_t>((std::min<std::uint64_t>(stored.next_ordinal, 1ULL << 32) + 0xffff) >> 16);
  const RowReader::Pair all{};
  std::vector<OrdinalSet> sets;
  if (highs > 0) {
    if (Status s = rows_.ReadPairs({&all, 1}, highs, &sets); !s.ok()) return s;
  }
  {
    MutexLock checkpoint(&checkpoint_mu_);
    stored_next_ordinal_ = stored.next_ordinal;
  }
  MeasuredLock lock(&mu_);
  next_ordinal_ = std::max(next_ordinal_, stored.next_ordinal);
  if (!sets.empty()) stored_only_ = std::move(sets[0]);
  return IndexState{stored.applied_lsn, stored.next_ordinal, stored.series};
}

std::optional<Ordinal> IndexShard::Impl::FindResident(const SeriesKey& key) const {
  std::optional<ScopedTimer> timer;
  if ((key.hash & kSampleMask) == 0) timer.emplace(&read_latency_);
  MeasuredReaderLock lock(&mu_);
  const Ordinal ordinal = series_.Find(key.hash, key.encoded, symbols_);
  if (ordinal == SeriesTable::kNone) return std::nullopt;
  return ordinal;
}

Status IndexShard::Impl::FindStored(std::span<const SeriesKey> keys, std::vector<std::optional<Ordinal>>* ordinals) {
  const ScopedTimer timer(&read_latency_);
  ordinals->assign(keys.size(), std::nullopt);
  for (std::size_t begin = 0; begin < keys.size(); begin += kFindBatch) {
    const std::size_t n = std::min(kFindBatch, keys.size() - begin);
    if (Status s = FindStoredSome(keys.subspan(begin, n), std::span(*ordinals).subspan(begin, n)); !s.ok()) return s;
  }
  return Status::Ok();
}

Status IndexShard::Impl::FindStoredSome(std::span<const SeriesKey> keys, std::span<std::optional<Ordinal>> ordinals) {
  // 1. What is resident, and whether anything else can be stored at all.
  std::vector<std::size_t> missing;
  {
    MeasuredReaderLock lock(&mu_);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Ordinal ordinal = series_.Find(keys[i].hash, keys[i].encoded, symbols_);
      if (ordinal != SeriesTable::kNone) {
        ordinals[i] = ordinal;
      } else {
        missing.push_back(i);
      }
    }
    if (stored_only_.empty()) missing.clear();
  }
  if (missing.empty()) return Status::Ok();

  // 2. Candidates by hash.
  std::vector<std::uint64_t> hashes;
  for (const std::size_t i : missing) hashes.push_back(keys[i].hash);
  std::vector<std::vector<Ordinal>> listed;
  if (Status s = rows_.ReadHashes(hashes, &listed); !s.ok()) return s;
  std::vector<Ordinal> candidates;
  std::vector<std::size_t> key_of;
  for (std::size_t m = 0; m < missing.size(); ++m) {
    for (const Ordinal ordinal : listed[m]) {
      candidates.push_back(ordinal);
      key_of.push_back(missing[m]);
    }
  }
  if (candidates.empty()) return Status::Ok();

  // 3. Equal hashes are not equal labels: compare.
  std::vector<std::optional<index_rows::LongRow>> labels;
  if (Status s = rows_.ReadLong(index_rows::kLabelsPrefix, candidates, &labels); !s.ok()) return s;
  std::vector<Ordinal> found;
  for (std::size_t begin = 0; begin < candidates.size(); begin += kLockRun) {
    MeasuredLock lock(&mu_);
    for (std::size_t c = begin; c < std::min(begin + kLockRun, candidates.size()); ++c) {
      const SeriesKey& key = keys[key_of[c]];
      if (!labels[c].has_value() || labels[c]->removed || labels[c]->bytes != key.encoded || IsRemoved(candidates[c])) continue;
      if (!series_.Contains(candidates[c])) {
        // Neither here nor stored: it was removed since the rows were read.
        if (!stored_only_.Contains(candidates[c])) continue;
        if (!HasRoomForFound(key.encoded.size())) {
          return ResourceExhausted("index shard " + std::to_string(options_.shard) + " has no room for more resident series");
        }
        if (!AddSeries(candidates[c], key, true)) continue;
        stored_only_.Remove(candidates[c]);
        found.push_back(candidates[c]);
      }
      ordinals[key_of[c]] = candidates[c];
    }
  }
  return found.empty() ? Status::Ok() : ReadAhead(std::move(found));
}

Status IndexShard::Impl::ReadAhead(std::vector<Ordinal> found) {
  const auto [lowest, highest] = std::minmax_element(found.begin(), found.end());
  const std::uint64_t from = *highest + 1ULL;
  std::uint64_t to = 0;
  {
    MeasuredLock lock(&mu_);
    const bool runs_on = ahead_ != 0 && *lowest >= ahead_ - std::min(ahead_, ahead_window_) && *highest < ahead_ + ahead_window_;
    const bool dense = found.size() >= kAheadRun && *highest - *lowest < 4 * found.size();
    if (!runs_on && !dense) {
      ahead_ = ahead_window_ = 0;
      return Status::Ok();
    }
    ahead_window_ = runs_on ? std::min(ahead_window_ * 2, kAheadMax) : kAheadFirst;
    ahead_ = to = from + ahead_window_;
  }
  struct Row {
    Ordinal ordinal;
    std::uint64_t hash;
    std::string labels;
  };
  std::vector<Row> rows;
  const Status s = rows_.ScanLabels(from, to, RowReader::Cache::kFill, [&](Ordinal ordinal, const index_rows::LongRow& row) {
    if (!row.removed) rows.push_back({ordinal, row.hash, row.bytes});
  });
  // What was asked for has been found: damage further on is for those who ask for it.
  if (!s.ok() && s.code() != StatusCode::kDataLoss && s.code() != StatusCode::kIoError) return s;
  for (std::size_t begin = 0; begin < rows.size(); begin += kLockRun) {
    MeasuredLock lock(&mu_);
    for (std::size_t i = begin; i < std::min(begin + kLockRun, rows.size()); ++i) {
      const Row& row = rows[i];
      if (!stored_only_.Contains(row.ordinal) || series_.Contains(row.ordinal) || !HasRoomForFound(row.labels.size())) continue;
      if (AddSeries(row.ordinal, {row.hash, row.labels}, true)) stored_only_.Remove(row.ordinal);
    }
  }
  return Status::Ok();
}

bool IndexShard::Impl::AddSeries(Ordinal ordinal, const SeriesKey& key, bool findable) {
  const std::size_t bytes = key.encoded.size();
  if (ordinal == SeriesTable::kNone || !symbols_.HasRoom(bytes, options_.label_bytes_max) || !series_.HasRoom(bytes)) return false;
  scratch_.ResizeZeroed(0);
  std::string_view rest = key.encoded;
  std::string_view pair;
  Label label;
  while (!rest.empty()) {
    if (!NextPair(&rest, &pair, &label)) return false;
    scratch_.push_back(symbols_.Intern(pair, label.name));
  }
  series_.Add({ordinal, key.hash, StableHash(key.encoded) != key.hash, findable}, scratch_);
  next_ordinal_ = std::max<std::uint64_t>(next_ordinal_, ordinal + 1ULL);
  return true;
}

bool IndexShard::Impl::IsRemoved(Ordinal ordinal) const {
  return active_->removed.Contains(ordinal) || (writing_ != nullptr && writing_->removed.Contains(ordinal));
}

bool IndexShard::Impl::HasRoom(Ordinal first, std::size_t n, std::size_t bytes) const {
  if (n > SeriesTable::kNone - std::uint64_t{first}) return false;
  MeasuredReaderLock lock(&mu_);
  for (std::size_t i = 0; i < n; ++i) {
    if (series_.Contains(static_cast<Ordinal>(first + i))) return false;
  }
  return symbols_.HasRoom(bytes, options_.label_bytes_max) && series_.HasRoom(bytes);
}

bool IndexShard::Impl::Insert(Ordinal ordinal, const SeriesKey& key, Lsn lsn) {
  const ScopedTimer timer(&write_latency_);
  MeasuredLock lock(&mu_);
  if (series_.Contains(ordinal)) return series_.HasLabels(ordinal, key.encoded, symbols_);
  if (!AddSeries(ordinal, key, true)) return false;
  active_->postings.Append(Symbols::kAll, ordinal);
  for (const PairId pair : scratch_) active_->postings.Append(pair, ordinal);
  active_->Note(lsn);
  if (!stored_only_.empty()) stored_only_.Remove(ordinal);
  return true;
}

void IndexShard::Impl::MarkRemoved(Ordinal ordinal, Lsn lsn) {
  if (IsRemoved(ordinal)) return;
  series_.HideFromFind(ordinal, symbols_);
  stored_only_.Remove(ordinal);
  active_->removed.Add(ordinal);
  active_->removals.emplace(ordinal, lsn);
  active_->Note(lsn);
}

Status IndexShard::Impl::MakeResident(std::span<const Ordinal> ordinals) { return MakeResident(ordinals, Marked::kSkip); }

Status IndexShard::Impl::MakeResident(std::span<const Ordinal> ordinals, Marked marked) {
  std::vector<Ordinal> missing;
  {
    MeasuredReaderLock lock(&mu_);
    for (const Ordinal ordinal : ordinals) {
      if (!series_.Contains(ordinal)) missing.push_back(ordinal);
    }
  }
  if (missing.empty()) return Status::Ok();
  std::vector<std::optional<index_rows::LongRow>> rows;
  if (Status s = rows_.ReadLong(index_rows::kLabelsPrefix, missing, &rows); !s.ok()) return s;
  MeasuredLock lock(&mu_);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    if (!rows[i].has_value() || series_.Contains(missing[i])) continue;
    if (rows[i]->removed && marked == Marked::kSkip) continue;
    if (!AddSeries(missing[i], {rows[i]->hash, rows[i]->bytes}, false)) {
      return index_rows::Damaged(index_rows::OrdinalKey(index_rows::kLabelsPrefix, missing[i]), "malformed labels");
    }
  }
  return Status::Ok();
}

Status IndexShard::Impl::Remove(Ordinal ordinal, Lsn lsn) {
  const ScopedTimer timer(&write_latency_);
  // The checkpoint needs its labels, to take it out of their postings. A row that is marked already says nothing of these: a crash
  // may have cut the checkpoint off that wrote it.
  while (true) {
    const std::uint64_t evictions = evictions_.load(std::memory_order_acquire);
    if (Status s = MakeResident({&ordinal, 1}, Marked::kTake); !s.ok()) return s;
    MeasuredLock lock(&mu_);
    if (series_.Contains(ordinal)) {
      MarkRemoved(ordinal, lsn);
      return Status::Ok();
    }
    // Evicted again before the lock was taken: once more. Else it is gone.
    if (evictions_.load(std::memory_order_relaxed) == evictions) return Status::Ok();
  }
}

void IndexShard::Impl::SetMetadata(Ordinal ordinal, const Metadata& metadata, Lsn lsn) {
  const ScopedTimer timer(&write_latency_);
  MeasuredLock lock(&mu_);
  active_->metadata.insert_or_assign(ordinal, IndexDelta::MetadataChange{metadata, lsn});
  active_->Note(lsn);
}

void IndexShard::Impl::Evict(std::span<const Ordinal> ordinals) {
  MeasuredLock lock(&mu_);
  if (!ordinals.empty()) evictions_.fetch_add(1, std::memory_order_release);  // under the lock: whoever finds one gone sees it
  for (const Ordinal ordinal : ordinals) {
    if (!series_.Contains(ordinal) || IsRemoved(ordinal)) continue;
    if (active_->postings.Contains(Symbols::kAll, ordinal)) continue;
    if (writing_ != nullptr && writing_->postings.Contains(Symbols::kAll, ordinal)) continue;
    series_.Drop(ordinal, symbols_);
    stored_only_.Add(ordinal);
  }
  MaybeRebuild();
}

// Building anew is simpler than holes, and rare: its cost is that of inserting the series that stay.
void IndexShard::Impl::MaybeRebuild() {
  if (series_.dead_bytes() < kRebuildBytes || series_.dead_bytes() < series_.record_bytes() / 2) return;
  if (writing_ != nullptr || !active_->removals.empty())
    return;  // a checkpoint reads pair ids; the removed must not be found again
  const Symbols old_symbols = std::exchange(symbols_, Symbols());
  const SeriesTable old_series = std::exchange(series_, SeriesTable());
  std::vector<Ordinal> ordinals;
  old_series.ForEach([&](Ordinal ordinal) { ordinals.push_back(ordinal); });
  std::string encoded;
  for (const Ordinal ordinal : ordinals) {
    encoded.clear();
    old_series.AppendLabels(ordinal, old_symbols, &encoded);
    AddSeries(ordinal, {old_series.HashOf(ordinal, encoded), encoded}, true);
  }
  Symbols* const symbols = &symbols_;  // the analysis of locks does not look into a lambda
  active_->postings.Rename([&](PairId pair) { return symbols->Intern(old_symbols.BytesOf(pair), old_symbols.LabelOf(pair).name); });
}

std::optional<Lsn> IndexShard::Impl::OldestUnwritten() const {
  MeasuredReaderLock lock(&mu_);
  if (writing_ == nullptr || !writing_->oldest_lsn.has_value()) return active_->oldest_lsn;
  return active_->oldest_lsn.has_value() ? std::min(*active_->oldest_lsn, *writing_->oldest_lsn) : writing_->oldest_lsn;
}

std::uint64_t IndexShard::Impl::resident_series() const {
  MeasuredReaderLock lock(&mu_);
  return series_.findable();
}

std::uint64_t IndexShard::Impl::memory_bytes() const {
  MeasuredReaderLock lock(&mu_);
  const auto bytes_of = [](const IndexDelta& delta) {
    return delta.postings.memory_bytes() + delta.removed.memory_bytes() + delta.removals.size() * 24 + delta.metadata.size() * 160;
  };
  return sizeof(*this) + symbols_.memory_bytes() + series_.memory_bytes() + stored_only_.memory_bytes() + bytes_of(*active_) +
         (writing_ != nullptr ? bytes_of(*writing_) : 0);
}

void IndexShard::Impl::FillStats(ShardStats* stats) const {
  {
    MeasuredReaderLock lock(&mu_);
    stats->series_resident = series_.findable();
    stats->series_total = series_.findable() + stored_only_.size();
  }
  stats->locks.push_back(mu_.ReadStats("index_read"));
  stats->locks.push_back(mu_.WriteStats("index_write"));
  stats->index_read_latency.Add(read_latency_.Snapshot());
  stats->index_write_latency.Add(write_latency_.Snapshot());
  stats->postings_cache_hits += cache_.hits();
  stats->postings_cache_misses += cache_.misses();
  stats->labels_cache_hits += cache_.labels_hits();
  stats->labels_cache_misses += cache_.labels_misses();
  stats->postings_cache_bytes += cache_.bytes();
}

// ---- The public face ----

IndexShard::IndexShard(KvEngine* engine, const IndexShardOptions& options) : impl_(std::make_unique<Impl>(engine, options)) {}
IndexShard::~IndexShard() = default;
Result<IndexState> IndexShard::Load() { return impl_->Load(); }
std::optional<Ordinal> IndexShard::FindResident(const SeriesKey& key) const { return impl_->FindResident(key); }
Status IndexShard::FindStored(std::span<const SeriesKey> keys, std::vector<std::optional<Ordinal>>* ordinals) {
  return impl_->FindStored(keys, ordinals);
}
bool IndexShard::HasRoom(Ordinal first, std::size_t n, std::size_t bytes) const { return impl_->HasRoom(first, n, bytes); }
bool IndexShard::Insert(Ordinal ordinal, const SeriesKey& key, Lsn lsn) { return impl_->Insert(ordinal, key, lsn); }
Status IndexShard::MakeResident(std::span<const Ordinal> ordinals) { return impl_->MakeResident(ordinals); }
Status IndexShard::Remove(Ordinal ordinal, Lsn lsn) { return impl_->Remove(ordinal, lsn); }
Status IndexShard::PurgeRemoved(const OrdinalSet& gone, Lsn trimmed_to, OrdinalSet* left) {
  return impl_->PurgeRemoved(gone, trimmed_to, left);
}
void IndexShard::SetMetadata(Ordinal ordinal, const Metadata& metadata, Lsn lsn) { impl_->SetMetadata(ordinal, metadata, lsn); }
void IndexShard::Evict(std::span<const Ordinal> ordinals) { impl_->Evict(ordinals); }
std::uint64_t IndexShard::evictions() const { return impl_->evictions(); }
Result<OrdinalSet> IndexShard::Select(std::span<const CompiledMatcher> matchers) const { return impl_->Select(matchers); }
Status IndexShard::LabelsOf(std::span<const Ordinal> ordinals, std::vector<Labels>* labels, bool removed_too) const {
  return impl_->LabelsOf(ordinals, labels, removed_too);
}
Status IndexShard::MetadataOf(std::span<const Ordinal> ordinals, std::vector<std::optional<Metadata>>* metadata) const {
  return impl_->MetadataOf(ordinals, metadata);
}
Result<std::optional<Metadata>> IndexShard::MetadataOf(Ordinal ordinal) const {
  std::vector<std::optional<Metadata>> metadata;
  if (Status s = impl_->MetadataOf({&ordinal, 1}, &metadata); !s.ok()) return s;
  return std::move(metadata[0]);
}
Status IndexShard::LabelNames(const OrdinalSet* within, std::vector<std::string>* names, const WorkBounds& bounds) const {
  return impl_->LabelNames(within, names, bounds);
}
Status IndexShard::LabelValues(std::string_view name, const OrdinalSet* within, std::vector<std::string>* values,
                               const WorkBounds& bounds) const {
  return impl_->LabelValues(name, within, values, bounds);
}
void IndexShard::Cut() { impl_->Cut(); }
Status IndexShard::Checkpoint(const IndexState& state) { return impl_->Checkpoint(state); }
std::optional<Lsn> IndexShard::OldestUnwritten() const { return impl_->OldestUnwritten(); }
std::uint64_t IndexShard::resident_series() const { return impl_->resident_series(); }
std::uint64_t IndexShard::memory_bytes() const { return impl_->memory_bytes(); }
void IndexShard::FillStats(ShardStats* stats) const { impl_->FillStats(stats); }

}  // namespace chronolith

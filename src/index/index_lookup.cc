// IndexShard: ordinals to labels and metadata; names and values of labels.
#include <algorithm>
#include <utility>

#include "index/index_impl.h"

namespace chronolith {
namespace {

// Labels are copied in runs of so many under one shared lock, so that a writer waits at most about 100 us.
constexpr std::size_t kLockRun = 256;
// The labels of so many stored series at once go to the cache; more is a scan, which would push out what is asked for often.
constexpr std::size_t kCachedLabelsMax = 512;
// Where at least one in so many ordinals of a run is wanted, their rows are read one after the other: 0.3 us each instead of 1.8
// us.
constexpr std::size_t kDenseFactor = 4;
// Up to so many series, their labels are looked at instead of the postings of all values.
constexpr std::uint64_t kByLabelsMax = 512;

bool AnyOf(const OrdinalSet& ordinals, const OrdinalSet* within, const OrdinalSet& removed) {
  if (removed.empty()) return within == nullptr ? !ordinals.empty() : ordinals.IntersectionSize(*within) > 0;
  OrdinalSet live(ordinals);
  live.Subtract(removed);
  return within == nullptr ? !live.empty() : live.IntersectionSize(*within) > 0;
}

}  // namespace

bool IndexShard::Impl::AnyInDelta(PairId pair, const OrdinalSet* within, const OrdinalSet& removed) const {
  return active_->postings.AnyOf(pair, within, removed) || (writing_ != nullptr && writing_->postings.AnyOf(pair, within, removed));
}

OrdinalSet IndexShard::Impl::PendingRemovals() const {
  OrdinalSet removed(active_->removed);
  if (writing_ != nullptr) removed.UnionWith(writing_->removed);
  return removed;
}

Status IndexShard::Impl::LabelsOf(std::span<const Ordinal> ordinals, std::vector<Labels>* labels, bool removed_too) const {
  const ScopedTimer timer(&read_latency_);
  labels->clear();
  labels->resize(ordinals.size());
  std::vector<Ordinal> stored;
  std::vector<std::size_t> places;
  const std::uint64_t stamp = cache_.stamp();
  for (std::size_t begin = 0; begin < ordinals.size(); begin += kLockRun) {
    MeasuredReaderLock lock(&mu_);
    const bool removals = !active_->removed.empty() || (writing_ != nullptr && !writing_->removed.empty());
    for (std::size_t i = begin; i < std::min(begin + kLockRun, ordinals.size()); ++i) {
      const Ordinal ordinal = ordinals[i];
      if (!series_.Contains(ordinal)) {
        // A checkpoint that was cut short may have stored later ones, of records that the log has lost.
        if (ordinal >= next_ordinal_ && !removed_too) continue;
        stored.push_back(ordinal);
        places.push_back(i);
      } else if (removed_too || !removals || !IsRemoved(ordinal)) {
        std::string encoded;
        series_.AppendLabels(ordinal, symbols_, &encoded);
        (*labels)[i] = Labels::FromEncoded(std::move(encoded));
      }
    }
  }
  const bool cached = stored.size() <= kCachedLabelsMax;
  if (cached) {
    std::size_t missing = 0;
    for (std::size_t i = 0; i < stored.size(); ++i) {
      std::string encoded;
      if (cache_.GetLabels(stored[i], &encoded)) {
        (*labels)[places[i]] = Labels::FromEncoded(std::move(encoded));
        continue;
      }
      stored[missing] = stored[i];
      places[missing++] = places[i];
    }
    stored.resize(missing);
  }
  if (!cached && std::is_sorted(stored.begin(), stored.end()) && stored.back() - stored.front() < stored.size() * kDenseFactor) {
    std::size_t at = 0;
    std::size_t left = 0;  // not found: those in several parts
    const auto take = [&](Ordinal ordinal, const index_rows::LongRow& row) {
      for (; at < stored.size() && stored[at] < ordinal; ++at) {
        stored[left] = stored[at];
        places[left++] = places[at];
      }
      if (at == stored.size() || stored[at] != ordinal) return;
      if (!row.removed || removed_too) (*labels)[places[at]] = Labels::FromEncoded(row.bytes);
      ++at;
    };
    const std::uint64_t end = std::uint64_t{stored.back()} + 1;
    const Status s = rows_.ScanLabels(stored.front(), end, RowReader::Cache::kLeave, take);
    // The damaged row may be of a series that is not wanted: what was not reached is looked up below.
    if (!s.ok() && s.code() != StatusCode::kDataLoss && s.code() != StatusCode::kIoError) return s;
    for (; at < stored.size(); ++at) {
      stored[left] = stored[at];
      places[left++] = places[at];
    }
    stored.resize(left);
  }
  if (stored.empty()) return Status::Ok();
  std::vector<std::optional<index_rows::LongRow>> rows;
  if (Status s = rows_.ReadLong(index_rows::kLabelsPrefix, stored, &rows); !s.ok()) return s;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (!rows[i].has_value() || (rows[i]->removed && !removed_too)) continue;
    if (cached && !rows[i]->removed) cache_.PutLabels(stored[i], stamp, rows[i]->bytes);
    (*labels)[places[i]] = Labels::FromEncoded(std::move(rows[i]->bytes));
  }
  return Status::Ok();
}

template <typename Offer>
Status IndexShard::Impl::OfferLabels(const OrdinalSet& few, const Offer& offer) const {
  std::vector<Labels> labels;
  if (Status s = LabelsOf(few.ToVector(), &labels, false); !s.ok()) return s;
  for (const Labels& series : labels) offer(series);
  return Status::Ok();
}

Status IndexShard::Impl::MetadataOf(std::span<const Ordinal> ordinals, std::vector<std::optional<Metadata>>* metadata) const {
  const ScopedTimer timer(&read_latency_);
  metadata->assign(ordinals.size(), std::nullopt);
  std::vector<Ordinal> stored;
  std::vector<std::size_t> places;
  for (std::size_t begin = 0; begin < ordinals.size(); begin += kLockRun) {
    MeasuredReaderLock lock(&mu_);
    for (std::size_t i = begin; i < std::min(begin + kLockRun, ordinals.size()); ++i) {
      if (const auto it = active_->metadata.find(ordinals[i]); it != active_->metadata.end()) {
        (*metadata)[i] = it->second.metadata;
        continue;
      }
      if (writing_ != nullptr) {
        if (const auto it = writing_->metadata.find(ordinals[i]); it != writing_->metadata.end()) {
          (*metadata)[i] = it->second.metadata;
          continue;
        }
      }
      stored.push_back(ordinals[i]);
      places.push_back(i);
    }
  }
  std::vector<std::optional<index_rows::LongRow>> rows;
  if (Status s = rows_.ReadLong(index_rows::kMetadataPrefix, stored, &rows); !s.ok()) return s;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (!rows[i].has_value()) continue;
    if (!index_rows::DecodeMetadata(rows[i]->bytes, &(*metadata)[places[i]].emplace())) {
      return index_rows::Damaged(index_rows::OrdinalKey(index_rows::kMetadataPrefix, stored[i]), "malformed metadata");
    }
  }
  return Status::Ok();
}

Status IndexShard::Impl::LabelNames(const OrdinalSet* within, StringPage* names) const {
  if (within != nullptr && within->size() <= kByLabelsMax) {
    return OfferLabels(*within, [names](const Labels& series) {
      for (const Label& label : series) {
        if (names->Wants(label.name)) names->Add(label.name);
      }
    });
  }
  const ScopedTimer timer(&read_latency_);
  OrdinalSet removed;
  {
    MeasuredReaderLock lock(&mu_);
    removed = PendingRemovals();
    if (!active_->postings.empty() || (writing_ != nullptr && !writing_->postings.empty())) {
      for (std::uint32_t id = 0; id < symbols_.names() && names->GoesOn(); ++id) {
        const std::string_view name = symbols_.NameOf(id);
        if (!names->Wants(name)) continue;
        for (const PairId pair : symbols_.PairsOf(id)) {
          if (!AnyInDelta(pair, within, removed)) continue;
          names->Add(name);
          break;
        }
      }
    }
  }
  return rows_.ScanPairs(
      {.from = names->after(),
       .ends = [names](std::string_view name, std::string_view) { return !names->GoesOn() || names->IsBehind(name); }},
      [](std::string_view name, std::string_view) { return !name.empty(); },
      [&](std::string_view name, std::string_view, const OrdinalSet& ordinals) {
        if (!names->Wants(name)) return false;
        if (!AnyOf(ordinals, within, removed)) return true;
        names->Add(name);
        return false;
      });
}

Status IndexShard::Impl::LabelValues(std::string_view name, const OrdinalSet* within, StringPage* values) const {
  if (within != nullptr && within->size() <= kByLabelsMax) {
    return OfferLabels(*within, [name, values](const Labels& series) {
      const std::string_view value = series.Get(name);
      if (values->Wants(value)) values->Add(value);
    });
  }
  const ScopedTimer timer(&read_latency_);
  OrdinalSet removed;
  {
    MeasuredReaderLock lock(&mu_);
    removed = PendingRemovals();
    for (const PairId pair : symbols_.PairsOf(name)) {
      if (!values->GoesOn()) break;
      const std::string_view value = symbols_.LabelOf(pair).value;
      if (values->Wants(value) && AnyInDelta(pair, within, removed)) values->Add(value);
    }
  }
  return rows_.ScanPairs(
      {.name = &name,
       .from = values->after(),
       .ends = [values](std::string_view, std::string_view value) { return !values->GoesOn() || values->IsBehind(value); }},
      [values](std::string_view, std::string_view value) { return values->Wants(value); },
      [&](std::string_view, std::string_view value, const OrdinalSet& ordinals) {
        if (AnyOf(ordinals, within, removed)) values->Add(value);
        return true;
      });
}

}  // namespace chronolith

// IndexShard: ordinals to labels and metadata; names and values of labels.
#include <algorithm>
#include <iterator>
#include <set>
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

// Different strings, counted as they come.
class Distinct {
 public:
  explicit Distinct(const WorkBounds& bounds) : bounds_(bounds), taker_(bounds) {}

  bool Has(std::string_view text) const { return found_.contains(text); }
  void Add(std::string_view text) {
    if (Has(text) || !taker_.Take(kStringBytes + text.size())) return;
    found_.emplace(text);
  }
  // False where it is of no use to look on. Asked for each pair that there is.
  bool GoesOn() {
    if (++asked_ % kAskedBetweenChecks == 0 && bounds_.IsCancelled()) cancelled_ = true;
    return !cancelled_ && taker_.ok();
  }
  // All of them, in order.
  Status Take(std::vector<std::string>* out) {
    if (!taker_.ok()) return taker_.status();
    if (cancelled_) return bounds_.Check();
    out->clear();
    out->reserve(found_.size());
    while (!found_.empty()) out->push_back(std::move(found_.extract(found_.begin()).value()));
    return Status::Ok();
  }

 private:
  // Here, and in the lists that the caller makes of them.
  static constexpr std::uint64_t kStringBytes = 160;
  static constexpr std::uint32_t kAskedBetweenChecks = 1024;

  const WorkBounds bounds_;
  StepTaker taker_;
  std::set<std::string, std::less<>> found_;
  std::uint32_t asked_ = 0;
  bool cancelled_ = false;
};

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
        if (ordinal >= next_ordinal_) continue;
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

Status IndexShard::Impl::LabelNames(const OrdinalSet* within, std::vector<std::string>* names, const WorkBounds& bounds) const {
  Distinct found(bounds);
  if (within != nullptr && within->size() <= kByLabelsMax) {
    std::vector<Labels> labels;
    if (Status s = LabelsOf(within->ToVector(), &labels, false); !s.ok()) return s;
    for (const Labels& series : labels) {
      for (const Label& label : series) found.Add(label.name);
    }
  } else {
    const ScopedTimer timer(&read_latency_);
    OrdinalSet removed;
    {
      MeasuredReaderLock lock(&mu_);
      removed = PendingRemovals();
      if (!active_->postings.empty() || (writing_ != nullptr && !writing_->postings.empty())) {
        for (const auto& [name, pairs] : symbols_.names()) {
          if (!found.GoesOn()) break;
          for (const PairId pair : pairs) {
            if (!AnyInDelta(pair, within, removed)) continue;
            found.Add(name);
            break;
          }
        }
      }
    }
    const Status s = rows_.ScanPairs(
        nullptr, {}, [&](std::string_view name, std::string_view) { return !name.empty() && found.GoesOn(); },
        [&](std::string_view name, std::string_view, const OrdinalSet& ordinals) {
          if (found.Has(name)) return false;
          if (!AnyOf(ordinals, within, removed)) return true;
          found.Add(name);
          return false;
        });
    if (!s.ok()) return s;
  }
  return found.Take(names);
}

Status IndexShard::Impl::LabelValues(std::string_view name, const OrdinalSet* within, std::vector<std::string>* values,
                                     const WorkBounds& bounds) const {
  Distinct found(bounds);
  if (within != nullptr && within->size() <= kByLabelsMax) {
    std::vector<Labels> labels;
    if (Status s = LabelsOf(within->ToVector(), &labels, false); !s.ok()) return s;
    for (const Labels& series : labels) {
      const std::string_view value = series.Get(name);
      if (!value.empty()) found.Add(value);
    }
  } else {
    const ScopedTimer timer(&read_latency_);
    OrdinalSet removed;
    {
      MeasuredReaderLock lock(&mu_);
      removed = PendingRemovals();
      const PodVector<PairId>* pairs = symbols_.PairsOf(name);
      if (pairs != nullptr) {
        for (const PairId pair : *pairs) {
          if (!found.GoesOn()) break;
          if (AnyInDelta(pair, within, removed)) found.Add(symbols_.LabelOf(pair).value);
        }
      }
    }
    const Status s = rows_.ScanPairs(
        &name, {}, [&](std::string_view, std::string_view value) { return !value.empty() && found.GoesOn() && !found.Has(value); },
        [&](std::string_view, std::string_view value, const OrdinalSet& ordinals) {
          if (AnyOf(ordinals, within, removed)) found.Add(value);
          return true;
        });
    if (!s.ok()) return s;
  }
  return found.Take(values);
}

}  // namespace chronolith

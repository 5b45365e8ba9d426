#include "ops/store_cardinality.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <span>
#include <tuple>
#include <utility>

#include "base/hash.h"
#include "ops/cardinality_top.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::uint32_t kNoName = 0xffffffff;

struct CountedName {
  NameCount count;
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;
};

// A pair is told by the hash of its bytes; its value by the labels of the first series that has it.
struct Pair {
  std::uint64_t first = 0;  // SeriesRef::id
  std::uint32_t series = 0;
  std::uint32_t name = 0;
  std::uint32_t bytes = 0;  // of the value
};

// Lets a map keyed by std::string be asked with a std::string_view.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return StableHash(s); }
};

bool PairHasMore(const Pair& a, const Pair& b) { return std::tie(b.series, a.first, a.name) < std::tie(a.series, b.first, b.name); }
bool HasMoreBytes(const LabelBytes& a, const LabelBytes& b) { return std::tie(b.bytes, a.name) < std::tie(a.bytes, b.name); }
using TopPairs = Top<Pair, decltype(&PairHasMore)>;

class Counting {
 public:
  Counting(StorageImpl* storage, const StoreCardinalityOptions& options)
      : storage_(storage), options_(options), top_pairs_(options.top, PairHasMore), metrics_(options.top, PairHasMore) {}

  // Goes over the series once for each part of the pairs; how many parts there are, the first time tells.
  Result<StoreCardinality> Run() {
    for (; part_ < parts_ && report_.complete; ++part_) {
      const Result<bool> all = storage_->VisitLabels(options_.deadline, options_.cancelled, [this](auto refs, auto labels) {
        for (std::size_t i = 0; i < refs.size(); ++i) AddSeries(refs[i], labels[i]);
      });
      if (all.status().code() == StatusCode::kDeadlineExceeded) {
        report_.complete = false;
      } else if (!all.ok()) {
        return all.status();
      }
      report_.partial |= all.ok() && !*all;
      EndPart();
    }
    for (const auto& [top, out] : {std::pair(&top_pairs_, &report_.pairs), std::pair(&metrics_, &report_.metrics)}) {
      if (Status s = Name(top->Take(), out); !s.ok()) return s;
    }
    TakeNames();
    const Result<HeadExtent> head = storage_->HeadExtents();
    if (!head.ok()) return head.status();
    report_.head_chunks = head->chunks;
    report_.head_min_time = head->min_time;
    report_.head_max_time = head->max_time;
    return std::move(report_);
  }

 private:
  void AddSeries(SeriesRef ref, const Labels& labels) {
    if (labels.empty()) return;  // it is gone
    report_.series += part_ == 0 ? 1 : 0;
    std::size_t place = 0;
    for (const Label& label : labels) {
      const std::uint32_t n = NameOf(label.name, place++);
      if (n == kNoName) continue;
      names_[n].count.series += part_ == 0 ? 1 : 0;
      const std::uint64_t hash = StableHash(label.value) ^ std::rotl(names_[n].hash, 31);
      if ((hash & (parts_ - 1)) != part_) continue;
      const auto [pair, is_new] = pairs_.try_emplace(hash, Pair{ref.id, 0, n, static_cast<std::uint32_t>(label.value.size())});
      ++pair->second.series;
      if (is_new && part_ == 0 && pairs_.size() > options_.pairs_at_once) Halve();
    }
  }

  // Series that follow each other often have the same names in the same places.
  std::uint32_t NameOf(std::string_view name, std::size_t place) {
    if (place >= last_.size()) last_.resize(place + 1, kNoName);
    if (last_[place] != kNoName && names_[last_[place]].count.name == name) return last_[place];
    const auto it = by_name_.find(name);
    if (it != by_name_.end()) return last_[place] = it->second;
    if (names_.size() >= options_.names_max) {
      report_.complete = false;
      return kNoName;
    }
    const auto n = static_cast<std::uint32_t>(names_.size());
    names_.push_back({.count = {std::string(name), 0, 0}, .hash = StableHash(name)});
    by_name_.emplace(name, n);
    return last_[place] = n;
  }

  void Halve() {
    parts_ *= 2;
    absl::erase_if(pairs_, [this](const auto& pair) { return (pair.first & (parts_ - 1)) != part_; });
  }

  void EndPart() {
    for (const auto& [hash, pair] : pairs_) {
      ++report_.label_pairs;
      ++names_[pair.name].count.values;
      names_[pair.name].bytes += pair.bytes;
      if (top_pairs_.Wants(pair.series)) top_pairs_.Offer(pair);
      if (names_[pair.name].count.name == kMetricName && metrics_.Wants(pair.series)) metrics_.Offer(pair);
    }
    pairs_.clear();
  }

  Status Name(const std::vector<Pair>& pairs, std::vector<PairCount>* out) {
    std::vector<SeriesRef> refs;
    for (const Pair& pair : pairs) refs.push_back({pair.first});
    std::vector<Labels> labels;
    if (Status s = storage_->LabelsOf(refs, &labels, /*skip_replaying=*/true); !s.ok()) return s;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const std::string& name = names_[pairs[i].name].count.name;
      const std::string_view value = labels[i].Get(name);
      if (!value.empty()) out->push_back({name, std::string(value), pairs[i].series});  // empty: the series is gone
    }
    std::sort(out->begin(), out->end(), MoreSeries);
    return Status::Ok();
  }

  void TakeNames() {
    report_.label_names = names_.size();
    Top<NameCount, decltype(&NameHasMoreValues)> by_values(options_.top, NameHasMoreValues);
    Top<LabelBytes, decltype(&HasMoreBytes)> by_bytes(options_.top, HasMoreBytes);
    for (const CountedName& name : names_) {
      by_values.Offer(name.count);
      by_bytes.Offer({name.count.name, name.bytes});
    }
    report_.names_by_values = by_values.Take();
    report_.names_by_bytes = by_bytes.Take();
  }

  StorageImpl* const storage_;
  const StoreCardinalityOptions& options_;
  StoreCardinality report_;
  std::uint64_t part_ = 0;
  std::uint64_t parts_ = 1;  // a power of two: by the lowest bits of the hash
  absl::flat_hash_map<std::uint64_t, Pair> pairs_;
  std::vector<CountedName> names_;
  absl::flat_hash_map<std::string, std::uint32_t, StringHash, std::equal_to<>> by_name_;
  std::vector<std::uint32_t> last_;  // the name at each place of the last series
  TopPairs top_pairs_;
  TopPairs metrics_;
};

}  // namespace

Result<StoreCardinality> CountStoreCardinality(Storage* storage, const StoreCardinalityOptions& options) {
  return Counting(StorageImpl::Of(storage), options).Run();
}

}  // namespace chronolith::ops

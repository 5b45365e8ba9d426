#include "ops/store_compare.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/hash.h"
#include "ops/series_piece.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kBetweenItems = 64 << 10;

bool Same(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

bool Same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) { return Same(x, y); });
}

// What both kinds have in common, and of what type it is in each.
template <typename H>
bool SameShape(const H& a, const H& b) {
  return a.reset_hint == b.reset_hint && a.schema == b.schema && Same(a.zero_threshold, b.zero_threshold) && Same(a.sum, b.sum) &&
         a.positive_spans == b.positive_spans && a.negative_spans == b.negative_spans && Same(a.custom_values, b.custom_values);
}

bool Same(const Histogram& a, const Histogram& b) {
  if (a.index() != b.index()) return false;
  if (const auto* x = std::get_if<IntHistogram>(&a)) {
    const auto& y = std::get<IntHistogram>(b);
    return SameShape(*x, y) && x->zero_count == y.zero_count && x->count == y.count && x->positive_deltas == y.positive_deltas &&
           x->negative_deltas == y.negative_deltas;
  }
  const auto& x = std::get<FloatHistogram>(a);
  const auto& y = std::get<FloatHistogram>(b);
  return SameShape(x, y) && Same(x.zero_count, y.zero_count) && Same(x.count, y.count) &&
         Same(x.positive_counts, y.positive_counts) && Same(x.negative_counts, y.negative_counts);
}

bool Same(const Exemplar& a, const Exemplar& b) {
  return a.timestamp == b.timestamp && Same(a.value, b.value) && a.labels == b.labels;
}

// Ids by the hash of the labels.
struct ById {
  std::uint64_t hash;
  SeriesRef ref;
};

class StoreCompare {
 public:
  StoreCompare(const OpsContext& context, Storage* original, Storage* copy, const StoreCompareOptions& options,
               std::vector<StoreFigures>* figures)
      : context_(context),
        original_(StorageImpl::Of(original)),
        copy_(StorageImpl::Of(copy)),
        options_(options),
        figures_(figures) {}

  Status Run() {
    const Result<Timestamp> floor = original_->Floor();
    const Result<Timestamp> other = copy_->Floor();
    const Result<std::vector<SeriesRef>> ids = original_->SeriesIds({});
    for (const Status& s : {floor.status(), other.status(), ids.status()}) {
      if (!s.ok()) return s;
    }
    if (*floor != *other) {
      return DataLoss("the retention floor is " + std::to_string(*other) + " in the copy, not " + std::to_string(*floor));
    }
    figures_->assign(copy_->Stats().shards.size(), {});
    context_.Begin("comparing", ids->size(), "series");
    if (Status s = LoadCopy(); !s.ok()) return s;
    const std::size_t at_once = options_.series_at_once;
    for (std::size_t begin = 0; begin < ids->size(); begin += at_once) {
      const auto some = std::span(*ids).subspan(begin, std::min(at_once, ids->size() - begin));
      if (Status s = Piece(some); !s.ok()) return s;
    }
    if (matched_ != by_hash_.size()) {
      return DataLoss("the copy has " + std::to_string(by_hash_.size() - matched_) + " series that the original does not have");
    }
    return Status::Ok();
  }

 private:
  Status LoadCopy() {
    const Result<std::vector<SeriesRef>> ids = copy_->SeriesIds({});
    if (!ids.ok()) return ids.status();
    by_hash_.reserve(ids->size());
    std::vector<Labels> labels;
    for (std::size_t begin = 0; begin < ids->size(); begin += options_.series_at_once) {
      if (Status s = context_.CheckCancelled(); !s.ok()) return s;
      const auto some = std::span(*ids).subspan(begin, std::min(options_.series_at_once, ids->size() - begin));
      if (Status s = copy_->LabelsOf(some, &labels); !s.ok()) return s;
      for (std::size_t i = 0; i < some.size(); ++i) by_hash_.push_back({StableHash(labels[i].encoded()), some[i]});
    }
    std::sort(by_hash_.begin(), by_hash_.end(), [](const ById& a, const ById& b) { return a.hash < b.hash; });
    return Status::Ok();
  }

  struct Found {
    std::vector<SeriesRef> refs;
    std::vector<Labels> labels;
  };
  // The series of the copy with these labels; labels whose hash is that of others are told apart.
  Result<Found> InCopy(const std::vector<Labels>& labels) const {
    std::vector<SeriesRef> candidates;
    std::vector<std::size_t> of;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::uint64_t hash = StableHash(labels[i].encoded());
      auto it = std::lower_bound(by_hash_.begin(), by_hash_.end(), hash, [](const ById& a, std::uint64_t h) { return a.hash < h; });
      for (; it != by_hash_.end() && it->hash == hash; ++it) {
        candidates.push_back(it->ref);
        of.push_back(i);
      }
    }
    Found found;
    std::vector<Labels> theirs;
    if (Status s = copy_->LabelsOf(candidates, &theirs); !s.ok()) return s;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (theirs[i] != labels[of[i]]) continue;
      found.refs.push_back(candidates[i]);
      found.labels.push_back(std::move(theirs[i]));
    }
    return found;
  }

  Status Piece(std::span<const SeriesRef> refs) {
    std::vector<Labels> labels;
    if (Status s = original_->LabelsOf(refs, &labels); !s.ok()) return s;
    Result<Found> in_copy = InCopy(labels);
    if (!in_copy.ok()) return in_copy.status();
    matched_ += in_copy->refs.size();
    const SeriesPieceOptions options{.cancelled = context_.cancelled};
    auto a = SeriesPiece::Open(original_, refs, std::move(labels), options);
    if (!a.ok()) return a.status();
    auto b = SeriesPiece::Open(copy_, in_copy->refs, std::move(in_copy->labels), options);
    if (!b.ok()) return b.status();
    bool more = (*b)->Next();
    while ((*a)->Next()) {
      const bool there = more && (*b)->labels() == (*a)->labels();
      const Status same = OneSeries(a->get(), there ? b->get() : nullptr);
      if (!same.ok()) return same.WithContext((*a)->labels().ToString());
      if (there) more = (*b)->Next();
      context_.Add(1);
      if (items_ < kBetweenItems) continue;
      items_ = 0;
      if (Status s = context_.CheckCancelled(); !s.ok()) return s;
      if (Status s = options_.between ? options_.between() : Status::Ok(); !s.ok()) return s;
    }
    return (*a)->status().ok() ? (*b)->status() : (*a)->status();
  }

  Status OneSeries(SeriesPiece* a, SeriesPiece* b) {
    StoreFigures figures;
    if (Status s = Samples(a->samples(), b == nullptr ? nullptr : b->samples(), &figures); !s.ok()) return s;
    const Result<std::vector<Exemplar>> exemplars = a->Exemplars();
    const Result<std::optional<Metadata>> metadata = a->SeriesMetadata();
    if (!exemplars.ok()) return exemplars.status();
    if (!metadata.ok()) return metadata.status();
    figures.exemplars = exemplars->size();
    figures.metadata = metadata->has_value() ? 1 : 0;
    items_ += figures.items();
    if (b == nullptr) return figures.items() == 0 ? Status::Ok() : DataLoss("is not in the copy");
    const Result<std::vector<Exemplar>> copied = b->Exemplars();
    const Result<std::optional<Metadata>> copied_metadata = b->SeriesMetadata();
    if (!copied.ok()) return copied.status();
    if (!copied_metadata.ok()) return copied_metadata.status();
    const auto same = [](const Exemplar& x, const Exemplar& y) { return Same(x, y); };
    if (!std::equal(exemplars->begin(), exemplars->end(), copied->begin(), copied->end(), same)) {
      return DataLoss("has other exemplars in the copy (" + std::to_string(copied->size()) + ", not " +
                      std::to_string(exemplars->size()) + ")");
    }
    if (*metadata != *copied_metadata) return DataLoss("has other metadata in the copy");
    figures.series = 1;
    (*figures_)[ShardOf(b->ref())].Add(figures);
    return Status::Ok();
  }

  static Status Samples(SampleIterator* original, SampleIterator* copy, StoreFigures* figures) {
    SampleReader a(original);
    SampleReader b(copy);
    while (true) {
      const ValueType type = a.Next();
      const ValueType other = b.Next();
      if (Status s = a.status(); !s.ok()) return s;
      if (Status s = b.status(); !s.ok()) return s;
      const std::string count = std::to_string(figures->samples + figures->histograms);
      if (type == ValueType::kNone && other == ValueType::kNone) return Status::Ok();
      if (type == ValueType::kNone) return DataLoss("has more samples in the copy than " + count);
      if (copy == nullptr) return DataLoss("has no samples in the copy");
      if (other == ValueType::kNone) return DataLoss("has only " + count + " samples in the copy");
      const bool same = type == other && a.timestamp() == b.timestamp() &&
                        (type == ValueType::kFloat ? Same(a.value(), b.value()) : Same(a.histogram(), b.histogram()));
      if (!same) return DataLoss("has another sample in the copy at " + std::to_string(a.timestamp()));
      ++(type == ValueType::kFloat ? figures->samples : figures->histograms);
    }
  }

  const OpsContext& context_;
  StorageImpl* const original_;
  StorageImpl* const copy_;
  const StoreCompareOptions& options_;
  std::vector<StoreFigures>* const figures_;
  std::vector<ById> by_hash_;
  std::uint64_t matched_ = 0;
  std::uint64_t items_ = 0;
};

}  // namespace

Status CompareStores(const OpsContext& context, Storage* original, Storage* copy, const StoreCompareOptions& options,
                     std::vector<StoreFigures>* figures) {
  return StoreCompare(context, original, copy, options, figures).Run();
}

}  // namespace chronolith::ops

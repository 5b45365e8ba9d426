#include "ops/series_list.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "format/series_id.h"
#include "query/damage_policy.h"
#include "query/label_order.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kMetadataAtOnce = 256;  // of one series at most 16 KiB

class SeriesList {
 public:
  SeriesList(Storage* storage, const SeriesListOptions& options, const std::function<void(const Labels&, const Metadata&)>& visit)
      : storage_(StorageImpl::Of(storage)), options_(options), visit_(visit) {}

  Result<SeriesListResult> Run() {
    const auto ids = MatchingIds(storage_, options_.selectors, options_.lookup);
    if (!ids.ok()) return ids.status();
    for (std::size_t begin = 0; begin < ids->values.size() && !result_.truncated; begin += options_.at_once) {
      const auto piece = std::span(ids->values).subspan(begin, std::min(options_.at_once, ids->values.size() - begin));
      if (Status s = ReadLabels(piece); !s.ok()) return s;
      if (Status s = VisitAll(); !s.ok()) return s;
    }
    result_.partial = ids->partial || damage_.skipped();
    return result_;
  }

 private:
  // Shard by shard, as damage leaves one out.
  Status ReadLabels(std::span<const SeriesRef> piece) {
    refs_.clear();
    labels_.clear();
    std::vector<Labels> found;
    while (!piece.empty()) {
      const ShardId shard = ShardOf(piece.front());
      const auto end = std::find_if(piece.begin(), piece.end(), [shard](SeriesRef ref) { return ShardOf(ref) != shard; });
      const auto some = piece.first(static_cast<std::size_t>(end - piece.begin()));
      piece = piece.subspan(some.size());
      if (Status s = storage_->LabelsOf(some, &found); !s.ok()) {
        if (Status left = damage_.Filter(shard, s); !left.ok()) return left;
        continue;
      }
      for (std::size_t i = 0; i < some.size(); ++i) {
        if (found[i].empty()) continue;  // removed meanwhile
        refs_.push_back(some[i]);
        labels_.push_back(std::move(found[i]));
      }
    }
    return Status::Ok();
  }

  Status VisitAll() {
    const std::vector<std::uint32_t> order = SortedByLabels(labels_);
    std::vector<SeriesRef> some;
    std::vector<std::optional<Metadata>> metadata;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (options_.lookup.limit != 0 && visited_ == options_.lookup.limit) {
        result_.truncated = true;
        return Status::Ok();
      }
      const std::size_t at = i % kMetadataAtOnce;
      if (options_.metadata && at == 0) {
        some.clear();
        for (std::size_t k = i; k < std::min(i + kMetadataAtOnce, order.size()); ++k) some.push_back(refs_[order[k]]);
        if (Status s = storage_->MetadataOf(some, &metadata); !s.ok()) return s;
      }
      visit_(labels_[order[i]], options_.metadata ? metadata[at].value_or(Metadata{}) : Metadata{});
      ++visited_;
    }
    return Status::Ok();
  }

  StorageImpl* const storage_;
  const SeriesListOptions& options_;
  const std::function<void(const Labels&, const Metadata&)>& visit_;
  DamagePolicy damage_{options_.lookup.skip_damaged};
  SeriesListResult result_;
  std::uint64_t visited_ = 0;
  std::vector<SeriesRef> refs_;  // of the piece
  std::vector<Labels> labels_;   // the same
};

Result<SeriesListResult> ListStrings(Storage* storage, const std::string* name, const std::vector<std::vector<Matcher>>& selectors,
                                     const LookupOptions& options, const VisitString& visit) {
  const auto end = StorageImpl::Of(storage)->VisitLabelStrings(name, selectors, options, visit);
  if (!end.ok()) return end.status();
  return SeriesListResult{end->truncated, end->partial};
}

}  // namespace

Result<SeriesListResult> ListSeries(Storage* storage, const SeriesListOptions& options,
                                    const std::function<void(const Labels&, const Metadata&)>& visit) {
  return SeriesList(storage, options, visit).Run();
}

Result<SeriesListResult> ListLabelNames(Storage* storage, const std::vector<std::vector<Matcher>>& selectors,
                                        const LookupOptions& options, const VisitString& visit) {
  return ListStrings(storage, nullptr, selectors, options, visit);
}

Result<SeriesListResult> ListLabelValues(Storage* storage, const std::string& name,
                                         const std::vector<std::vector<Matcher>>& selectors, const LookupOptions& options,
                                         const VisitString& visit) {
  return ListStrings(storage, &name, selectors, options, visit);
}

}  // namespace chronolith::ops

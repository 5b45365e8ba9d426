#include "ops/series_list.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "format/series_id.h"
#include "query/damage_policy.h"
#include "query/label_order.h"
#include "query/poll.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kMetadataAtOnce = 256;  // of one series at most 16 KiB
// Labels that are read before they are counted.
constexpr std::size_t kCountedAtOnce = 2048;

class SeriesList {
 public:
  SeriesList(Storage* storage, const SeriesListOptions& options, const std::function<Status(const Labels&, const Metadata&)>& visit)
      : storage_(StorageImpl::Of(storage)), options_(options), visit_(visit) {}

  Result<SeriesListResult> Run() {
    const auto ids = MatchingIds(storage_, options_.selectors, options_.lookup, options_.bounds);
    if (!ids.ok()) return ids.status();
    options_.bounds.ShrinkTo(options_.bounds.held_bytes() - ids->values.size() * sizeof(Ordinal));
    held_ = options_.bounds.held_bytes();
    const Poll poll(options_.lookup.deadline, options_.bounds.cancelled);
    for (auto left = std::span(ids->values); !left.empty() && !result_.truncated;) {
      if (Status s = poll.Check(); !s.ok()) return s;
      if (Status s = ReadLabels(&left); !s.ok()) return s;
      if (Status s = VisitAll(); !s.ok()) return s;
    }
    result_.partial = ids->partial || damage_.skipped();
    return result_;
  }

 private:
  // Of as many of `ids` as may be in memory together, which it takes away from their front. Shard by shard, as damage leaves one
  // out.
  Status ReadLabels(std::span<const SeriesRef>* ids) {
    refs_.clear();
    labels_.clear();
    labels_bytes_ = 0;
    options_.bounds.ShrinkTo(held_);
    std::vector<Labels> found;
    for (std::size_t room = options_.at_once; room > 0 && !ids->empty();) {
      const ShardId shard = ShardOf(ids->front());
      auto some = ids->first(std::min({room, ids->size(), options_.bounds.share == nullptr ? room : kCountedAtOnce}));
      const auto end = std::find_if(some.begin(), some.end(), [shard](SeriesRef ref) { return ShardOf(ref) != shard; });
      some = some.first(static_cast<std::size_t>(end - some.begin()));
      Status s = storage_->LabelsOf(some, &found);
      if (!s.ok()) {
        if (Status left = damage_.Filter(shard, s); !left.ok()) return left;
      } else {
        s = TakeRoom(found);
        if (!s.ok() && !refs_.empty()) return Status::Ok();  // a smaller piece
        if (!s.ok()) return s;
        for (std::size_t i = 0; i < some.size(); ++i) {
          if (found[i].empty()) continue;  // removed meanwhile
          refs_.push_back(some[i]);
          labels_.push_back(std::move(found[i]));
        }
      }
      room -= some.size();
      *ids = ids->subspan(some.size());
    }
    return Status::Ok();
  }

  // Sorting them takes twice as much again.
  Status TakeRoom(const std::vector<Labels>& labels) {
    if (options_.bounds.share == nullptr) return Status::Ok();
    std::uint64_t bytes = 0;
    for (const Labels& one : labels) bytes += one.encoded().size() + sizeof(Labels) + sizeof(SeriesRef);
    labels_bytes_ += bytes;
    return options_.bounds.Take(3 * bytes);
  }

  Status VisitAll() {
    const std::vector<std::uint32_t> order = SortedByLabels(labels_);
    options_.bounds.ShrinkTo(held_ + labels_bytes_);
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
      Status s = visit_(labels_[order[i]], options_.metadata ? metadata[at].value_or(Metadata{}) : Metadata{});
      if (!s.ok()) return s;
      ++visited_;
    }
    return Status::Ok();
  }

  StorageImpl* const storage_;
  const SeriesListOptions& options_;
  const std::function<Status(const Labels&, const Metadata&)>& visit_;
  DamagePolicy damage_{options_.lookup.skip_damaged};
  SeriesListResult result_;
  std::uint64_t visited_ = 0;
  std::uint64_t held_ = 0;          // of the share, by the ids
  std::uint64_t labels_bytes_ = 0;  // of the piece
  std::vector<SeriesRef> refs_;     // of the piece
  std::vector<Labels> labels_;      // the same
};

Result<SeriesListResult> ListStrings(Storage* storage, const std::string* name, const std::vector<std::vector<Matcher>>& selectors,
                                     const LookupOptions& options, const VisitString& visit) {
  const auto end = StorageImpl::Of(storage)->VisitLabelStrings(name, selectors, options, [&visit](std::string_view s) {
    visit(s);
    return Status::Ok();
  });
  if (!end.ok()) return end.status();
  return SeriesListResult{end->truncated, end->partial};
}

}  // namespace

Result<SeriesListResult> ListSeries(Storage* storage, const SeriesListOptions& options,
                                    const std::function<Status(const Labels&, const Metadata&)>& visit) {
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

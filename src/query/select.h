// Select: matchers and a time range to a streaming SeriesSet, over all shards of a store; and the look-ups of labels.
//
// Life of a query: each shard's index turns matchers into ordinals; the labels of all of them are fetched and sorted; then series
// are read in batches, in the order of their labels. A batch reads, shard by shard, first the head and then the store, so that a
// chunk which a checkpoint moves meanwhile is seen at least once; seen twice, it is taken from the head. What is left is per
// series: chunks that overlap no other are decoded in place, others are merged (series_cursor.h).
#ifndef CHRONOLITH_QUERY_SELECT_H_
#define CHRONOLITH_QUERY_SELECT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/work_bounds.h"
#include "block/chunk_store.h"
#include "chronolith/storage.h"
#include "head/head_view.h"
#include "index/index_shard.h"

namespace chronolith {

// One shard as a query sees it. Not owned.
struct ShardReader {
  ShardId shard = 0;
  const IndexShard* index = nullptr;
  const HeadView* head = nullptr;
  const ChunkStore* chunks = nullptr;
};

struct QueryContext {
  std::vector<ShardReader> shards;
  Status quarantine;     // not ok: shards are missing above, and why
  bool partial = false;  // shards are missing above because they do not serve yet, and the caller does without them
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;
  std::uint32_t max_samples_per_chunk = 240;
  std::shared_ptr<void> pin;  // kept alive by every SeriesSet: what the shards live in
};

// No matcher selects everything. kInvalidArgument: a bad matcher, start > end (start == end is an empty result).
// kResourceExhausted: more series match than options.max_series. kDeadlineExceeded and kCancelled also come later, from the set.
// kDataLoss names the shard, the family and the chunk, kIoError the shard, unless options.skip_damaged. Memory: the labels of all
// matching series, and about 64 MiB of chunks; where `bounds` has a share, its budget gives both, or
// kResourceExhausted and kFailedPrecondition, and batches are smaller where it has little. (bounds.cancelled is not looked at
// here.)
Result<std::unique_ptr<SeriesSet>> SelectSeries(std::shared_ptr<const QueryContext> context, const std::vector<Matcher>& matchers,
                                                TimeRange range, const SelectOptions& options, const WorkBounds& bounds = {});

// A cursor over series that are named by their ids, those without samples too.
class SeriesWalk : public SeriesSet {
 public:
  virtual bool has_samples() const = 0;  // of the series at hand
};
struct KnownSeries {
  SeriesRef ref;
  Labels labels;
};
// In the order that they are given in; neither matched, nor read from the index again, nor sorted. Errors as of SelectSeries;
// kNotFound where the context has no such shard.
Result<std::unique_ptr<SeriesWalk>> WalkSeries(std::shared_ptr<const QueryContext> context, std::vector<KnownSeries> series,
                                               TimeRange range, const WorkBounds& bounds);

// Where options.range is not the whole of time, only series with a chunk that overlaps it count. Sorted, distinct over all shards.
Result<Lookup<Labels>> LookupSeries(const QueryContext& context, const std::vector<Matcher>& matchers,
                                    const LookupOptions& options);
// Gives all series to `visit`, some thousand at a time: their ids, and the labels of each (empty: it is gone meanwhile). False:
// shards are missing, or damaged, and were left out. kDeadlineExceeded, kCancelled.
using VisitSeries = std::function<void(std::span<const SeriesRef> refs, std::span<const Labels> labels)>;
Result<bool> VisitLabels(const QueryContext& context, Deadline deadline, const std::atomic<bool>* cancelled,
                         const VisitSeries& visit);
// Gives the names of labels, or the values of the label `name`, one by one, in order and once, to `visit`, whose first error ends
// it: of the series that match any of `selectors` (none: all). Memory: 16 MiB, which the share of `bounds` counts, and 2 bytes a
// series where not all are meant.
struct ListEnd {
  bool truncated = false;  // by options.limit
  bool partial = false;    // by options.skip_damaged
};
using VisitString = std::function<Status(std::string_view)>;
Result<ListEnd> VisitLabelNames(const QueryContext& context, std::span<const std::vector<Matcher>> selectors,
                                const LookupOptions& options, const WorkBounds& bounds, const VisitString& visit);
Result<ListEnd> VisitLabelValues(const QueryContext& context, const std::string& name,
                                 std::span<const std::vector<Matcher>> selectors, const LookupOptions& options,
                                 const WorkBounds& bounds, const VisitString& visit);
// The same as a list, for which the share of `bounds` stands when they return.
Result<Lookup<std::string>> LookupLabelNames(const QueryContext& context, std::span<const std::vector<Matcher>> selectors,
                                             const LookupOptions& options, const WorkBounds& bounds = {});
Result<Lookup<std::string>> LookupLabelValues(const QueryContext& context, const std::string& name,
                                              std::span<const std::vector<Matcher>> selectors, const LookupOptions& options,
                                              const WorkBounds& bounds = {});
// Ascending by id; options.limit is not looked at.
Result<Lookup<SeriesRef>> LookupSeriesIds(const QueryContext& context, const std::vector<Matcher>& matchers,
                                          const LookupOptions& options = {}, const WorkBounds& bounds = {});
// Which of the ordinals (ascending, distinct) may have exemplars in the range: to ask for those of the others is a waste. One pass
// over the keys of their chunks, so about 0.1 us a chunk. kNotFound, kCancelled, kDataLoss.
Status MayHaveExemplars(const QueryContext& context, ShardId shard, std::span<const Ordinal> ordinals, TimeRange range,
                        const std::atomic<bool>* cancelled, std::vector<bool>* may);
// Ascending by timestamp, equal ones once. kNotFound where the context has no such shard.
Result<std::vector<Exemplar>> SelectExemplars(const QueryContext& context, ShardId shard, Ordinal ordinal, TimeRange range);

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_SELECT_H_

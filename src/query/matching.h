// What all queries begin with: matchers to series.
#ifndef CHRONOLITH_QUERY_MATCHING_H_
#define CHRONOLITH_QUERY_MATCHING_H_

#include <vector>

#include "query/damage_policy.h"
#include "query/poll.h"
#include "query/select.h"

namespace chronolith {

// kInvalidArgument where the range is reversed.
Status CheckRange(TimeRange range);

// The ordinals of each shard of the context that all matchers match. Where `range` is not the whole of time, only those with a
// chunk in it. kInvalidArgument, kResourceExhausted (more than max_series in all; 0: no bound; counted before the range is looked
// at).
Status MatchSeries(const QueryContext& context, const std::vector<Matcher>& matchers, TimeRange range, std::uint64_t max_series,
                   Poll* poll, DamagePolicy* damage, std::vector<OrdinalSet>* matched);

// The ordinals of a shard with data in the range, in head or store.
Status SeriesWithData(const ShardReader& shard, TimeRange range, OrdinalSet* ordinals);

// Null: the context has none, which NoShard says.
const ShardReader* ReaderOf(const QueryContext& context, ShardId shard);
Status NoShard(ShardId shard);

inline bool IsAllOfTime(TimeRange range) { return range == TimeRange{}; }

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_MATCHING_H_

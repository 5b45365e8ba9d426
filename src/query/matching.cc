#include "query/matching.h"

#include <algorithm>

#include "index/compiled_matcher.h"

namespace chronolith {

Status CheckRange(TimeRange range) {
  if (range.start <= range.end) return Status::Ok();
  return InvalidArgument("reversed time range: start " + std::to_string(range.start) + " is after end " +
                         std::to_string(range.end));
}

Status SeriesWithData(const ShardReader& shard, TimeRange range, OrdinalSet* ordinals) {
  range.start = std::max(range.start, shard.chunks->tombstones().floor());
  if (range.empty()) return Status::Ok();
  shard.head->OrdinalsWithData(range, ordinals);  // before the store: a checkpoint moves chunks from here to there
  return shard.chunks->OrdinalsWithData(range, ordinals);
}

Status MatchSeries(const QueryContext& context, const std::vector<Matcher>& matchers, TimeRange range, std::uint64_t max_series,
                   Poll* poll, DamagePolicy* damage, std::vector<OrdinalSet>* matched) {
  if (Status s = damage->Begin(context.quarantine, context.partial); !s.ok()) return s;
  std::vector<CompiledMatcher> compiled;
  if (Status s = CompiledMatcher::CompileAll(matchers, &compiled); !s.ok()) return s;
  std::uint64_t total = 0;
  matched->clear();
  for (const ShardReader& shard : context.shards) {
    if (Status s = poll->Check(); !s.ok()) return s;
    Result<OrdinalSet> ordinals = shard.index->Select(compiled);
    if (Status s = damage->Filter(shard.shard, ordinals.status()); !s.ok()) return s;
    matched->push_back(ordinals.ok() ? std::move(*ordinals) : OrdinalSet());
    total += matched->back().size();
  }
  if (max_series != 0 && total > max_series) {
    return ResourceExhausted(std::to_string(total) + " series match; the limit is " + std::to_string(max_series));
  }
  if (IsAllOfTime(range)) return Status::Ok();
  for (std::size_t i = 0; i < context.shards.size(); ++i) {
    if ((*matched)[i].empty()) continue;
    if (Status s = poll->Check(); !s.ok()) return s;
    OrdinalSet with_data;
    Status read = SeriesWithData(context.shards[i], range, &with_data);
    if (!read.ok()) with_data = OrdinalSet();
    if (Status s = damage->Filter(context.shards[i].shard, read); !s.ok()) return s;
    (*matched)[i].IntersectWith(with_data);
  }
  return Status::Ok();
}

const ShardReader* ReaderOf(const QueryContext& context, ShardId shard) {
  const auto it =
      std::find_if(context.shards.begin(), context.shards.end(), [&](const ShardReader& r) { return r.shard == shard; });
  return it == context.shards.end() ? nullptr : &*it;
}

Status NoShard(ShardId shard) { return NotFound("there is no shard " + std::to_string(shard)); }

}  // namespace chronolith

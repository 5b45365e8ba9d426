// Select: matchers and a time range to a streaming SeriesSet, over all shards of a store.
#ifndef CHRONOLITH_QUERY_SELECT_H_
#define CHRONOLITH_QUERY_SELECT_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/chunk_store.h"
#include "chronolith/storage.h"
#include "head/head_shard.h"
#include "index/index_shard.h"

namespace chronolith {

// One shard as a query sees it. Not owned.
struct ShardReader {
  ShardId shard = 0;
  const IndexShard* index = nullptr;
  const HeadShard* head = nullptr;
  const ChunkStore* chunks = nullptr;
};

struct QueryContext {
  std::vector<ShardReader> shards;
  DuplicatePolicy duplicate_policy = DuplicatePolicy::kLastWins;
  std::uint32_t max_samples_per_chunk = 240;
  std::shared_ptr<void> pin;  // kept alive by every SeriesSet: what the shards live in
};

Result<std::unique_ptr<SeriesSet>> SelectSeries(std::shared_ptr<const QueryContext> context, const std::vector<Matcher>& matchers,
                                                TimeRange range, const SelectOptions& options);
Result<Lookup<Labels>> LookupSeries(const QueryContext& context, const std::vector<Matcher>& matchers, const LookupOptions& options);
Result<Lookup<std::string>> LookupLabelNames(const QueryContext& context, const std::vector<Matcher>& matchers,
                                             const LookupOptions& options);
Result<Lookup<std::string>> LookupLabelValues(const QueryContext& context, const std::string& name,
                                              const std::vector<Matcher>& matchers, const LookupOptions& options);
Result<std::vector<SeriesRef>> LookupSeriesIds(const QueryContext& context, const std::vector<Matcher>& matchers);
Result<std::vector<Exemplar>> SelectExemplars(const QueryContext& context, ShardId shard, Ordinal ordinal, TimeRange range);

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_SELECT_H_

// Which labels make how many series: counted from the index's postings and the log's series records, not from series in memory.
#ifndef CHRONOLITH_OPS_CARDINALITY_H_
#define CHRONOLITH_OPS_CARDINALITY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/chunk_churn.h"
#include "ops/context.h"
#include "ops/offline_store.h"
#include "ops/shard_condition.h"

namespace chronolith::ops {

struct CardinalityOptions {
  std::size_t top = 10;
  // Reads the chunks, for samples by shard and churn by window and hour; takes as long as reading the files.
  bool chunks = true;
};

struct NameCount {
  std::string name;
  std::uint64_t series = 0;  // that have the label
  std::uint64_t values = 0;  // different ones
};
struct PairCount {
  std::string name;
  std::string value;
  std::uint64_t series = 0;
};

struct ShardCardinality {
  std::uint32_t shard = 0;
  ShardCondition condition;  // quarantined: nothing of it is counted; else what was not read is missing, here and in all sums
  std::uint64_t series = 0;  // the stored ones and those that only the log has
  std::uint64_t log_series = 0;
  std::uint64_t samples = 0;  // in stored chunks; 0 where they were not read
  std::uint64_t bytes = 0;    // of index.<k> and chunk.<k>
};

// Series by the hour in which the log says that they were created or removed.
struct LogHourChurn {
  std::uint64_t created = 0;
  std::uint64_t removed = 0;
};

struct CardinalityReport {
  std::uint64_t series = 0;
  std::uint64_t log_series = 0;           // of them: not in the tables yet
  std::uint64_t log_series_left_out = 0;  // of them: in no figure by label, for want of memory
  std::uint64_t label_names = 0;
  std::uint64_t label_pairs = 0;           // (name, value)
  std::vector<NameCount> names_by_series;  // each list: the largest first, equal ones by name and value
  std::vector<NameCount> names_by_values;
  std::vector<PairCount> pairs;
  std::vector<PairCount> metrics;  // the values of __name__
  std::vector<ShardCardinality> shards;
  std::map<Timestamp, WindowChurn> windows;        // by start; empty where chunks were not read
  std::map<std::int64_t, HourChurn> hours;         // the same
  std::map<std::int64_t, LogHourChurn> log_hours;  // by start, ms
  std::int64_t log_from_ms = 0;                    // the write time of the oldest row of the log; 0: it is empty

  bool complete() const { return AllComplete(shards); }  // else all figures are lower bounds
  std::vector<std::string> Problems() const { return ProblemsOf(shards); }
  // The fullest shard's series (samples) over the mean; 0 where there are none.
  double SeriesSkew() const;
  double SampleSkew() const;
};

// Exact but where the report says otherwise. Memory: the pairs of the series that only the log has, within half of
// OpsContext::memory_limit_bytes; 12 bytes a series of one shard; the engine's.
Result<CardinalityReport> CountCardinality(const OfflineStore& store, const CardinalityOptions& options, const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CARDINALITY_H_

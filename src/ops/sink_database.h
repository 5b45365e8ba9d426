// Replay into another Chronolith database.
#ifndef CHRONOLITH_OPS_SINK_DATABASE_H_
#define CHRONOLITH_OPS_SINK_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "chronolith/env.h"
#include "ops/record_sink.h"

namespace chronolith::ops {

struct DatabaseTargetOptions {
  std::string path;                             // created where it is missing
  std::string source;                           // the database that is read: the target must be another
  int shards = 16;                              // of a new one
  std::int64_t window_ms = 2 * 60 * 60 * 1000;  // the same
  std::uint64_t memory_limit_bytes = 256ULL << 20;
  std::shared_ptr<Logger> logger;                // may be null
  const std::atomic<bool>* cancelled = nullptr;  // OpsContext::cancelled
};

// Writes what it gets in the order of the log, a series at a time in its shard, and applies deletes to exactly the series that they
// name. So an empty database comes to answer queries as the source does, as far as the source's log reaches back. A series is
// created with its first sample, histogram, exemplar or metadata. The same again changes nothing.
//
// Flush: logged. Sync: synced. Refused: what the store refuses for good, by name. It is locked meanwhile, as by any writer.
std::unique_ptr<RecordTarget> NewDatabaseTarget(DatabaseTargetOptions options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SINK_DATABASE_H_

// The records of a log one by one, for people and scripts.
#ifndef CHRONOLITH_OPS_WAL_DUMP_H_
#define CHRONOLITH_OPS_WAL_DUMP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/offline_store.h"
#include "ops/wal_scan.h"

namespace chronolith::ops {

// A loss stands where the records would be that it took.
struct DumpedRecord {
  const ScannedRecord* record = nullptr;  // null: a loss
  const WalLoss* loss = nullptr;
  ShardId shard = 0;

  // Times of samples, histograms and exemplars; min above max where there are none.
  Timestamp min_time() const;
  Timestamp max_time() const;
};

struct DumpOptions {
  LogSelection selection;
  std::uint64_t limit = 0;  // records, of all shards together; 0: no bound
  bool labels = false;      // LabelsIn may be asked: the ordinals of each record are looked up
};

struct DumpReport {
  std::uint64_t records = 0;
  bool limited = false;               // there are more
  std::vector<std::string> problems;  // each names its shard, but for that of the data instance, which is the first
};

// Labels of the series that a record names; null where they are not known.
using LabelsIn = std::function<const Labels*(Ordinal)>;

// Shard after shard, in the order of LSNs. `take` gets each record; an error from it ends the dump and is returned. Memory: one row
// and the labels of one record.
Result<DumpReport> DumpLog(const OfflineStore& store, const DumpOptions& options, const OpsContext& context,
                           const std::function<Status(const DumpedRecord&, const LabelsIn&)>& take);

std::string_view NameOf(RecordType type);  // "samples", "series", ...

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_WAL_DUMP_H_

// One pass over a log archive, behind what a backup holds: which rows a restore takes, and whether all of them are there.
#ifndef CHRONOLITH_OPS_LOG_ARCHIVE_SCAN_H_
#define CHRONOLITH_OPS_LOG_ARCHIVE_SCAN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "format/store_manifest.h"
#include "ops/context.h"
#include "storage/log_archive.h"
#include "wal/sharded_wal.h"

namespace chronolith::ops {

// Where the log of a backup ends.
struct LogEnds {
  struct Shard {
    Lsn last_lsn = 0;                           // it holds all up to here
    std::uint64_t epoch = 0;                    // the last opening of the store that it knows of
    std::optional<std::int64_t> write_time_ms;  // of the last row, where the log has it still
  };
  std::vector<Shard> shards;
};

// Of the log instance `path` of a store, which is only read.
Result<LogEnds> ReadLogEnds(const std::string& path, const StoreManifest& manifest, const OpsContext& context);

// The part of an archive behind LogEnds, up to `cut`.
struct ArchivePlan {
  std::string directory;
  std::vector<ArchiveSegment> segments;  // from the one on where the part begins
  LogEnds from;
  WalPlace cut;  // the first group that is left out, in the order of writing
  std::uint64_t rows = 0, bytes = 0;
  std::uint64_t epoch_max = 0;
  std::int64_t reached_ms = 0;  // all rows that the store wrote up to then are in the backup or the part
  std::int64_t base_ms = 0;     // when the backup's newest row was written
  // Ok: the part ends where it was asked to. kFailedPrecondition: the archive does not go that far. kDataLoss: something is missing
  // or damaged in front of it.
  Status complete;
};

// Of the archive in `directory`, behind `from`, up to the first group that was written later than `to_ms`; without it to the last
// moment to which all shards go. kFailedPrecondition: the archive is another store's; the backup holds rows that are not in it;
// `base_taken_ms` stands for the time of rows that neither log nor archive has. Reads all of the part, and checks its checksums.
Result<ArchivePlan> PlanArchive(const std::string& directory, const StoreManifest& manifest, const LogEnds& from,
                                std::int64_t base_taken_ms, std::optional<std::int64_t> to_ms, const OpsContext& context);

// The rows of the part, of each shard in order, each with its header, verified. Views are valid during the call.
using ArchivedRowSink = std::function<Status(const ArchivedRow& row, const WalRowHeader& header)>;
Status ReadArchive(const ArchivePlan& plan, const OpsContext& context, const ArchivedRowSink& sink);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_ARCHIVE_SCAN_H_

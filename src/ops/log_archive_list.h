// What a log archive holds, and removing its oldest files.
#ifndef CHRONOLITH_OPS_LOG_ARCHIVE_LIST_H_
#define CHRONOLITH_OPS_LOG_ARCHIVE_LIST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "storage/log_archive.h"

namespace chronolith::ops {

// Rows of a shard, of LSNs that are dense.
struct ArchivedRun {
  ShardId shard = 0;
  Lsn first_lsn = 0, last_lsn = 0;
  std::int64_t first_ms = 0, last_ms = 0;  // when the first and the last row were written
  std::uint64_t rows = 0, bytes = 0;
};

struct ArchiveSummary {
  std::string uuid;
  std::uint64_t incarnation = 0;
  std::uint64_t segments = 0, bytes = 0;
  // By shard and LSN. Where a shard has several, what lies between was not archived.
  std::vector<ArchivedRun> runs;
  std::vector<ArchiveGap> gaps;       // of which the store has told
  std::optional<ArchiveMark> mark;    // the last one: a restore goes so far
  std::vector<std::string> problems;  // damaged files
};

// Reads all of it. kNotFound: nothing is archived there.
Result<ArchiveSummary> ListArchive(const std::string& directory, const OpsContext& context);

struct PrunedArchive {
  std::vector<ArchiveSegment> removed;
  std::uint64_t bytes = 0;  // of those
  std::uint64_t segments_left = 0, bytes_left = 0;
};

// Removes the files all of whose rows were written before `before_ms`, the oldest first; the last file stays. A backup that was
// made before what is then the first row is good for its own moment only. Beside a process that archives. `dry_run`: only says
// which.
Result<PrunedArchive> PruneArchive(const std::string& directory, std::int64_t before_ms, bool dry_run);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_ARCHIVE_LIST_H_

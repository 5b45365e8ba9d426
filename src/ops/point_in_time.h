// A backup and the log that was archived since: the parts of a restore to a moment between two backups (restore.h).
//
// How:
//   1. The archive is read once, behind the end of the backup's log: it says at which group commit the moment asked for lies, and
//      whether all rows in front of that are there (log_archive_scan.h). Nothing has been copied by then.
//   2. The rows up to there are put into the log of the copy, where they stood in the store's own.
//   3. The copy is opened as a store: the ordinary recovery replays them, within its memory limit, and checks that none is missing;
//      a checkpoint stores what they held.
#ifndef CHRONOLITH_OPS_POINT_IN_TIME_H_
#define CHRONOLITH_OPS_POINT_IN_TIME_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/log_archive_scan.h"

namespace chronolith::ops {

struct PointInTime {
  std::string archive;  // directory of the log archive
  // Rows written later than this (by the store's clock, milliseconds since 1970) are left out; none: as far as the archive goes.
  std::optional<std::int64_t> to_ms;
  bool allow_earlier = false;  // where the archive does not go that far: to the last moment to which it does
};

struct RestoreBase {
  std::string path;  // of the backup
  ArchivePlan plan;
  std::vector<std::string> passed_by;  // newer ones that cannot be used, and why
};

// `from`: a backup, or a directory of backups, which stands for its newest that can be read and holds nothing later than the
// moment. Refuses, saying why and what else can be done: kFailedPrecondition, kDataLoss.
Result<RestoreBase> ChooseBase(const std::string& from, const PointInTime& point, const OpsContext& context);

// Puts the rows of the plan into the log instance `path` of a copy of the store, which nobody has open. Synced.
Status AddArchivedRows(const ArchivePlan& plan, const std::string& path, const StoreManifest& manifest, const OpsContext& context);

// Opens the copy in `path`, which replays its log, and stores what that held.
Status StoreReplayed(const std::string& path, const std::string& engine, const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_POINT_IN_TIME_H_

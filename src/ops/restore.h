// A backup made into a store again.
//
// How:
//   1. The files are copied into DIR/.restore, each compared with the backup's description of it.
//   2. With a log archive: what was archived since joins the log of the copy, up to a moment, and is replayed (point_in_time.h).
//   3. Both instances are told that they are a new incarnation of the store: so the copy, the store that the backup was made of,
//   and
//      another copy never mix their files. It is opened read-only and scrubbed.
//   4. It is moved to DIR, the file STORE last.
// An interrupted restore leaves no store, and a directory .restore by which the next one knows that it may go on there.
#ifndef CHRONOLITH_OPS_RESTORE_H_
#define CHRONOLITH_OPS_RESTORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/stats.h"
#include "format/store_manifest.h"
#include "ops/backup_manifest.h"
#include "ops/context.h"
#include "ops/point_in_time.h"

namespace chronolith::ops {

struct RestoreOptions {
  std::uint64_t bytes_per_second = 0;  // copied, at most; 0: no bound
  std::optional<PointInTime> point;    // none: as the backup is
  bool dry_run = false;                // chooses and reads, as far as that is needed to say what would be done; writes nothing
};

struct RestoreReport {
  BackupManifest backup;
  StoreManifest store;
  std::uint64_t files = 0, bytes = 0;                  // copied
  std::uint64_t files_resumed = 0, bytes_resumed = 0;  // by a restore that was interrupted
  StorageStats stats;
  std::string from;  // the backup's directory
  // With RestoreOptions::point:
  std::uint64_t archived_rows = 0, archived_bytes = 0;  // added to what the backup holds
  std::int64_t reached_ms = 0;                          // all that the store wrote up to then is there
  std::vector<std::string> passed_by;                   // newer backups that cannot be used, and why
  Status shortfall;                                     // not ok: why it is not what was asked for (PointInTime::allow_earlier)
};

// `from`: a backup, or a directory of backups, which stands for its newest (ChooseBase: that is early enough). `to`: missing or
// empty, or what an interrupted restore left. kDataLoss: files of the backup (named) are damaged, or what was restored does not
// check; then there is no store in `to`. kFailedPrecondition: there is something else in `to`. kCancelled: the next restore goes on
// with what was copied.
Result<RestoreReport> Restore(const std::string& from, const std::string& to, const RestoreOptions& options,
                              const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RESTORE_H_

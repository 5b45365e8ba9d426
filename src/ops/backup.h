// Backups of a store, beside the process that writes to it or while none does.
//
// A directory of backups:
//   LOCK                     held while a backup is made
//   <UTC time>-<number>/     a backup: a store's layout, and the file BACKUP (backup_manifest.h), written last
//
// How one is made:
//   1. The files of both instances are held open (EngineFactory::HoldFiles): the log's, the data's, then the end of the log. So
//   what a
//      trim took from the log is in the data, and the log reaches what the data holds. This takes milliseconds; what a writer does
//      then is not in the copy. Nothing is written in the store's directory.
//   2. Tables that an earlier backup of this store has are linked from there; the others are copied, or linked where that is asked
//   for.
//      Each byte that is copied is checksummed, and compared with the checksum that the engine noted when it wrote the table.
//   3. The copy is opened, read-only, as a store. That replays its log, which fails where log and data do not fit each other,
//   because
//      a trim came between the steps of 1: then all of it again, keeping the tables.
//   4. BACKUP is written.
// A directory without BACKUP is what an interrupted backup left; the next one takes over its tables and removes the rest.
#ifndef CHRONOLITH_OPS_BACKUP_H_
#define CHRONOLITH_OPS_BACKUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/backup_manifest.h"
#include "ops/context.h"

namespace chronolith::ops {

struct BackupOptions {
  std::string log_path;      // where the log is, where that is not what the manifest says
  bool link_tables = false;  // hard links to the store's tables where its file system is the backup's: a flipped bit is shared
  std::uint64_t bytes_per_second = 0;  // read from the store, at most; 0: no bound
  int attempts = 5;
  bool dry_run = false;  // looks at the files and says what would be copied; writes nothing, `series` stays 0
};

struct BackupReport {
  BackupManifest manifest;
  std::string path;
  std::uint64_t files_copied = 0, bytes_copied = 0;
  std::uint64_t files_shared = 0, bytes_shared = 0;    // with the parent
  std::uint64_t files_linked = 0, bytes_linked = 0;    // to the store's own
  std::uint64_t files_resumed = 0, bytes_resumed = 0;  // copied by a backup that was interrupted
  std::uint64_t series = 0;
  int attempts = 1;
};

// Makes a backup of the store in `store` in the directory `to`, which is made where it is missing. kCancelled: what was copied is
// kept for the next one. kDataLoss names the damaged file: nothing of the kind is backed up. kFailedPrecondition: another backup is
// being made there, or the store is not whole.
Result<BackupReport> MakeBackup(const std::string& store, const std::string& to, const BackupOptions& options,
                                const OpsContext& context);

struct BackupEntry {
  std::string id;
  bool complete = false;
  Status status;            // of reading BACKUP; kNotFound where it is not complete
  BackupManifest manifest;  // where status is ok
};
// Oldest first.
Result<std::vector<BackupEntry>> ListBackups(const std::string& directory);
// `path`: a backup, or a directory of backups, which stands for its newest complete one.
Result<std::string> FindBackup(const std::string& path);

struct BackupProblem {
  std::string file;
  Status status;
};
struct BackupVerification {
  BackupManifest manifest;
  std::string path;
  std::uint64_t bytes = 0;  // read
  std::vector<BackupProblem> problems;
};
// Reads all files of the backup in `path` (FindBackup) and compares them with BACKUP.
Result<BackupVerification> VerifyBackup(const std::string& path, std::uint64_t bytes_per_second, const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_BACKUP_H_

// A LogArchiver that keeps the log in files: with it and a backup a store is restored to any moment since
// (`chronolith restore --archive`).
//
//   auto archiver = OpenFileLogArchiver("/archive/metrics", {.store = "metrics.db"});
//   if (!archiver.ok()) ...
//   options.log_archiver = *archiver;
//   auto store = Storage::Open(options, "metrics.db");
//
// The directory holds `segment-<number>` files that are only appended to (src/format/README.md, "The log archive"), and LOCK. Each
// belongs to one store in one incarnation: a restored copy of the store wants a directory of its own.
#ifndef CHRONOLITH_FILE_LOG_ARCHIVER_H_
#define CHRONOLITH_FILE_LOG_ARCHIVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "chronolith/env.h"
#include "chronolith/export.h"
#include "chronolith/log_archiver.h"
#include "chronolith/result.h"

namespace chronolith {

struct FileLogArchiverOptions {
  // The directory of the store whose log this is, as it is given to Storage::Open. Its identity is read there: now, where there is
  // a store, else with the first row.
  std::string store;
  // A new file is begun when one has this size. Smaller: archive files may be removed in smaller steps.
  std::uint64_t segment_bytes = 64ULL << 20;
  // Bytes of all files beyond which rows are refused with kResourceExhausted; 0 is no bound. What is refused stays in the log
  // (Options::log_archive_backlog_bytes). Nothing is removed by itself: the oldest files may be, by `chronolith archive prune` or
  // by hand, also while this is open; backups that are older than what is left are then good for their own moment only.
  std::uint64_t max_bytes = 0;
  std::shared_ptr<Logger> logger;  // null: silent
};

// Archive returns ok when its rows are synced: one write and one fdatasync a call. Rows that the archive has already are left out.
// An end that a crash tore off, of rows that the log still holds, is cut off at the next open.
//
// kFailedPrecondition: the directory is the archive of another store or incarnation, another process has it open, or its format is
// newer. kDataLoss: its last file is damaged in front of intact rows; nothing is appended to such an archive: name a new directory,
// and make a new backup.
//
// Thread safety: the archiver may be called from any thread. Lifetime: it holds the directory until it is destroyed.
CHRONOLITH_EXPORT Result<std::shared_ptr<LogArchiver>> OpenFileLogArchiver(const std::string& directory,
                                                                           const FileLogArchiverOptions& options);

}  // namespace chronolith

#endif  // CHRONOLITH_FILE_LOG_ARCHIVER_H_

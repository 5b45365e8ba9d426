// LogArchiver: sees the log before it is trimmed. With a snapshot and the rows archived since, a store can be restored to any
// moment between: each row carries when it was written.
#ifndef CHRONOLITH_LOG_ARCHIVER_H_
#define CHRONOLITH_LOG_ARCHIVER_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "chronolith/export.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith {

// One row of a shard's log: what one group commit logged of it. `value` is the row as it is stored, checksum included
// (src/format/README.md, "The log"); its key is 'r' and `first_lsn` in big-endian order.
struct ArchivedRow {
  std::uint32_t shard = 0;
  Lsn first_lsn = 0;
  Lsn last_lsn = 0;  // inclusive; LSNs of a shard are dense over rows
  std::uint64_t epoch = 0;
  std::int64_t write_time_ms = 0;
  std::string_view value;  // valid during the call
};

// Implemented by the host, given by Options::log_archiver; may serve several stores.
//
// All rows of a shard arrive in the order of their LSNs, each at least once before it is trimmed: again after an error, and after a
// restart or a failed trim. A row is known by (shard, first_lsn): it never changes, and only synced rows are given. Rows reach the
// archiver when a checkpoint has made them superfluous to the store, on the thread that does the checkpoint, never on a writer's.
//
// Thread safety: one call at a time for each store. A call delays that store's checkpoints, and so in the end its writers: copy to
// somewhere near (a file, a bounded queue) and return. Must not call the store.
class CHRONOLITH_EXPORT LogArchiver {
 public:
  virtual ~LogArchiver();
  // Keeps `rows`, all of one shard and at most about 1 MiB. Ok means that they are safe: the log forgets them. After an error the
  // log keeps them and all later rows of the shard, and the next checkpoint gives them again; see
  // Options::log_archive_backlog_bytes.
  virtual Status Archive(std::span<const ArchivedRow> rows) = 0;
  // Rows first_lsn to last_lsn (inclusive) of `shard` are about to be trimmed without having been archived, because the log had
  // held more than Options::log_archive_backlog_bytes for the archiver: restoring past them needs a snapshot made later than this.
  // May come more than once for the same rows.
  virtual void OnGap(std::uint32_t shard, Lsn first_lsn, Lsn last_lsn) = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_LOG_ARCHIVER_H_

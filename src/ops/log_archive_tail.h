// The end of a closed store's log, into its archive: what no checkpoint has handed over.
#ifndef CHRONOLITH_OPS_LOG_ARCHIVE_TAIL_H_
#define CHRONOLITH_OPS_LOG_ARCHIVE_TAIL_H_

#include <cstdint>
#include <string>

#include "chronolith/result.h"
#include "ops/context.h"

namespace chronolith::ops {

struct ArchivedTail {
  std::uint64_t rows = 0, bytes = 0;  // that the log holds; the archive leaves out those that it has
  std::int64_t time_ms = 0;           // the archive is now good for restores up to then
};

// Adds all that the log of the store in `store` holds to the archive in `directory`. The store is only read; nobody may have it, or
// the archive, open for writing. `log_path`: where the log is, where that is not what the manifest says.
// kFailedPrecondition: the archive is another store's, or open elsewhere. kDataLoss: the log lacks records, or they do not decode.
Result<ArchivedTail> ArchiveTail(const std::string& store, const std::string& log_path, const std::string& directory,
                                 const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_LOG_ARCHIVE_TAIL_H_

// Whether a copy of a store is whole, as the store itself tells.
#ifndef CHRONOLITH_OPS_WHOLE_STORE_H_
#define CHRONOLITH_OPS_WHOLE_STORE_H_

#include <string>

#include "chronolith/result.h"
#include "chronolith/storage.h"
#include "ops/context.h"

namespace chronolith::ops {

// Opens the store read-only, which replays its log and compares it with what is stored; with `scrub` reads all of it, too.
// Two phases of progress. kDataLoss where any shard is not whole, or anything is damaged. Where the log is more than memory should
// hold that is done to a copy among temporary files, in which the log is stored, as far as there is room for one; what the log
// has stored already is then not scrubbed.
Result<StorageStats> CheckWholeStore(const std::string& path, const std::string& engine, bool scrub, const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_WHOLE_STORE_H_

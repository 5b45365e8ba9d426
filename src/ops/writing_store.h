// Stores that operations write to: as patient as an operation is, and not more than its disk or who waits for it.
#ifndef CHRONOLITH_OPS_WRITING_STORE_H_
#define CHRONOLITH_OPS_WRITING_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "ops/context.h"

namespace chronolith::ops {

// From here on whatever waits for memory or for room on a disk, Close too, ends soon after `*cancelled` is set, with kCancelled.
// `cancelled` may be null, and outlives the store.
void HeedCancel(const std::atomic<bool>* cancelled, Storage* store);

// With Options::backpressure_wait_ms of kPatienceMs, heeding context.cancelled.
Result<std::unique_ptr<Storage>> OpenToWrite(Options options, const std::string& path, const OpsContext& context);

// Whether a disk that is full is what `status` is about.
bool IsOfFullDisk(const Status& status);
// `status`; where that is an engine's words on a full disk, kResourceExhausted that names the directory, once, and what to do.
Status OfFullDisk(const Status& status, const std::string& path);

// Whose disks the store at `path` writes to: that, and its log's where that is elsewhere.
std::vector<std::string> StoreDirectories(const std::string& path);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_WRITING_STORE_H_

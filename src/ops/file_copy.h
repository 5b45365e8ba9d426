// Copying and reading files whole: checksummed, synced, paced, to be interrupted between two pieces.
#ifndef CHRONOLITH_OPS_FILE_COPY_H_
#define CHRONOLITH_OPS_FILE_COPY_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "chronolith/result.h"
#include "ops/context.h"
#include "storage/pacer.h"
#include "storage/path_lock.h"

namespace chronolith::ops {

// Counts bytes as progress and lets no more than so many a second pass. Thread safety: one thread.
class Pace {
 public:
  // 0: no bound.
  Pace(const OpsContext& context, std::uint64_t bytes_per_second) : context_(context), pacer_(bytes_per_second, 0) {}
  // Waits as long as these bytes are ahead of their time. kCancelled.
  Status Pass(std::uint64_t bytes);

 private:
  const OpsContext& context_;
  Pacer pacer_;
};

// Fills the buffer from `offset` on and returns how much there was; less only at the end.
using ReadAt = std::function<Result<std::size_t>(std::uint64_t offset, std::span<char> buffer)>;

// The first `bytes` as a new file, written and synced before it has its name `to` (which the caller syncs, with SyncDirectory);
// what had the name is replaced. Returns their CRC32C. kDataLoss: the source is shorter.
Result<std::uint32_t> CopyFile(const ReadAt& source, std::uint64_t bytes, const std::string& to, Pace* pace);
// All of a file.
Status CopyFile(const std::string& from, const std::string& to, Pace* pace);
// An engine's instance that nobody writes to, into a new directory: its tables as symbolic links, which no engine ever writes to;
// the other files copied, LOCK left out. kIoError: one of them cannot be read.
Status CopyInstanceFiles(const std::string& from, const std::string& to, const OpsContext& context);
// kNotFound. kDataLoss: it has another length than `bytes`.
Result<std::uint32_t> ChecksumOfFile(const std::string& path, std::uint64_t bytes, Pace* pace);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_FILE_COPY_H_

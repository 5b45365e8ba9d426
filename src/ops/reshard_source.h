// The store that a reshard reads, and what its copy needs.
#ifndef CHRONOLITH_OPS_RESHARD_SOURCE_H_
#define CHRONOLITH_OPS_RESHARD_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "chronolith/storage.h"
#include "format/store_manifest.h"
#include "ops/context.h"
#include "ops/recovered_copy.h"
#include "ops/reshard.h"
#include "ops/reshard_progress.h"

namespace chronolith::ops {

// Open to be read: whole, and as it was at one moment.
struct ReshardSource {
  // Where the log is more than a 256th of the memory limit a copy in `copies` is recovered, and read in its place; "": never.
  // kDataLoss: a shard is quarantined; the message says what to do.
  static Result<ReshardSource> Open(const std::string& path, const ReshardOptions& options, const OpsContext& context,
                                    const std::string& copies = "");
  // With the source's names in place of those of the copy.
  Status OfSource(const Status& status) const;
  // On the disk of the copy. An engine may hold twice what it is about to write anew; a store leaves room for its log.
  std::uint64_t RoomNeeded(const OpsContext& context) const;

  StoreManifest manifest;
  std::unique_ptr<RecoveredCopy> copy;  // may be null
  std::unique_ptr<Storage> store;
  StoreMoment moment;
  std::uint64_t data_bytes = 0, log_bytes = 0;
  std::uint64_t memory_bytes = 0;  // that it takes

 private:
  Status RecoverCopy(const std::string& path, const std::string& log_path, const OpsContext& context, const std::string& parent);
};

// Of a store that is read, which has a third of StoreMemoryBytes, or of one that is written beside one that takes `other_bytes`,
// which has the rest. 64 MiB at least.
enum class StoreUse : std::uint8_t { kRead, kWrite };
Options ReshardStoreOptions(const std::string& engine, StoreUse use, const OpsContext& context, std::uint64_t other_bytes = 0);
// kInvalidArgument.
Status CheckReshard(const std::string& source, const std::string& target, const ReshardOptions& options);
std::string WithoutSlash(std::string path);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RESHARD_SOURCE_H_

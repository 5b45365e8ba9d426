// A store rewritten to another number of shards.
//
// How, in the directory TARGET.resharding, which one process at a time has:
//   1. A store with the new number of shards is made there, in db/. Everything that the source shows is copied into it, series by
//      series; PROGRESS says how much of it is synced. Where memory would not hold what of the source's log is not stored, a copy
//      of the source is recovered in chronolith-recover-*, and read in its place; each call begins with a new one.
//   2. It is closed, opened read-only, and both stores are read side by side and compared, bit by bit. Then it is scrubbed.
//   3. db/ is renamed to TARGET. PROGRESS is renamed to TARGET.resharded, which goes when the directory has gone.
// Interrupted anywhere, the same call goes on: at step 1 with what was copied. The source is only read, and whoever would write to
// it is refused meanwhile. The new store is one of its own: its uuid is another, its epochs and LSNs begin anew.
#ifndef CHRONOLITH_OPS_RESHARD_H_
#define CHRONOLITH_OPS_RESHARD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/store_copy.h"

namespace chronolith::ops {

inline constexpr std::uint32_t kReshardShardsMax = 31;

struct ReshardOptions {
  std::uint32_t shards = 0;               // of the new store, 1 to 31
  std::string log_path;                   // of the source, where it is not where its manifest says
  std::uint64_t bytes_per_second = 0;     // read and written by this process, on average; 0: no bound
  bool restart = false;                   // throws away what an interrupted call has left
  std::size_t batch_items = 32 << 10;     // logged together in the copy
  std::uint64_t sync_items = 1ULL << 20;  // copied before what is there is synced, and PROGRESS written
  // Called where so many series are synced in the copy: a call that goes on begins behind them at the earliest.
  std::function<void(std::uint64_t series)> on_synced;
};

struct ReshardShard : StoreFigures {
  std::uint64_t bytes = 0;  // plan: of encoded chunks; else of the shard's files
};

struct ReshardReport {
  std::string source_uuid, target_uuid;  // hexadecimal; a plan has no target
  std::uint32_t source_shards = 0;
  std::uint64_t source_bytes = 0, target_bytes = 0;  // of the data's files; a plan has none of the target
  std::uint64_t source_log_bytes = 0;                // of the rows that the source's log holds; a plan has it only
  std::uint64_t room_needed = 0, room_free = 0;      // on the disk of the target
  std::vector<ReshardShard> shards;                  // of the target
  StoreFigures total;
  std::uint64_t resumed = 0;  // series that an earlier call had copied
};

// What a reshard would make: reads every chunk of the source, and writes nothing. Beside a writer too. Errors as of Reshard.
Result<ReshardReport> PlanReshard(const std::string& source, const std::string& target, const ReshardOptions& options,
                                  const OpsContext& context);

// kAlreadyExists: there is something at `target`. kFailedPrecondition: a process writes to the source (names the lock), another one
// reshards to the target, or what an interrupted call left is of another source, or of this one before it was written to.
// kDataLoss: shards of the source are damaged, or the copy is not the same; there is no store at `target` then.
// kResourceExhausted: the disk has too little room. kCancelled: the same call goes on.
Result<ReshardReport> Reshard(const std::string& source, const std::string& target, const ReshardOptions& options,
                              const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RESHARD_H_

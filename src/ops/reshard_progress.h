// The file PROGRESS of a reshard that is under way: what it reads and writes, and how far it is.
//
// Lines of text, each ended by '\n', fields separated by one blank:
//   chronolith reshard 1
//   source UUID INCARNATION SHARDS
//   log EPOCH LSN                             a shard of the source, in order: where its log ended. All SHARDS of them
//   target UUID SHARDS
//   step STEP POSITION AT_ONCE                STEP: "copying", "copied" or "compared"; POSITION: series that are synced in the
//                                             target, of a scan in pieces of AT_ONCE
//   shard SERIES SAMPLES HISTOGRAMS EXEMPLARS METADATA     a shard of the target, in order; once it is compared
//   end CRC32C                                of all bytes before this line
#ifndef CHRONOLITH_OPS_RESHARD_PROGRESS_H_
#define CHRONOLITH_OPS_RESHARD_PROGRESS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "ops/store_copy.h"

namespace chronolith::ops {

inline constexpr std::string_view kReshardProgressFile = "PROGRESS";

// Tells a store from what it was before, or from another one. Every opening for writing makes new epochs.
struct StoreMoment {
  struct Log {
    std::uint64_t epoch = 0;
    Lsn lsn = 0;
    friend bool operator==(const Log&, const Log&) = default;
  };
  std::string uuid;  // hexadecimal
  std::uint64_t incarnation = 0;
  std::vector<Log> logs;  // one a shard
  friend bool operator==(const StoreMoment&, const StoreMoment&) = default;
};

enum class ReshardStep : std::uint8_t { kCopying, kCopied, kCompared };

struct ReshardProgress {
  StoreMoment source;
  std::string target_uuid;
  std::uint32_t shards = 0;
  ReshardStep step = ReshardStep::kCopying;
  std::uint64_t position = 0;
  std::uint64_t series_at_once = 0;
  std::vector<StoreFigures> figures;  // of each shard of the target; kCompared only
  friend bool operator==(const ReshardProgress&, const ReshardProgress&) = default;
};

std::string EncodeReshardProgress(const ReshardProgress& progress);
// kDataLoss, kFailedPrecondition (another format).
Result<ReshardProgress> DecodeReshardProgress(std::string_view text);
// The message names the file. kNotFound: there is none.
Result<ReshardProgress> ReadReshardProgress(const std::string& path);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_RESHARD_PROGRESS_H_

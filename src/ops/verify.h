// Whether a store's files say what they should, each for itself and of each other: everything is read, nothing is written.
#ifndef CHRONOLITH_OPS_VERIFY_H_
#define CHRONOLITH_OPS_VERIFY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/offline_store.h"

namespace chronolith::ops {

enum class ProblemKind : std::uint8_t {
  kInstance,   // STORE, or an instance as a whole, cannot be opened
  kFile,       // bytes of a file of the engine's do not match their checksum, or it is gone
  kRow,        // a row does not match its checksum, does not decode, or cannot be read
  kLog,        // the log lacks records, or has some that do not decode; its epochs do not follow each other
  kOrder,      // log, index and chunks disagree about how far the store has come
  kLabels,     // labels that are not those of their hash, or belong to another shard
  kPosting,    // a posting lists a series without that label, or does not list one that has it
  kHash,       // the same of the row that leads from a hash of labels to the series
  kOrdinal,    // a series number that was never given out, or was given out twice; data without a series
  kChunk,      // samples that do not decode, or are not those that the row says
  kTombstone,  // a stored delete is incomplete
};
std::string_view NameOf(ProblemKind kind);    // "file", "row", ...
std::string_view AdviceOn(ProblemKind kind);  // what to do, a sentence

struct VerifyProblem {
  ProblemKind kind = ProblemKind::kRow;
  std::optional<ShardId> shard;  // none: what all shards share
  std::string where;             // family and row, or a file
  std::string what;
  friend bool operator==(const VerifyProblem&, const VerifyProblem&) = default;
};

struct ShardVerification {
  ShardId shard = 0;
  std::uint64_t series = 0;
  std::uint64_t rows = 0;       // of index and chunks
  std::uint64_t row_bytes = 0;  // keys and values
  std::uint64_t chunks = 0;
  std::uint64_t samples = 0;  // in chunks, exemplars too
  std::uint64_t log_records = 0;
  std::uint64_t problems = 0;
};

struct VerifyOptions {
  std::vector<ShardId> shards;         // none: all, and what they share
  bool decode = true;                  // false: the samples in chunks are not decoded
  std::uint64_t bytes_per_second = 0;  // 0: no bound
  OfflineOptions store;                // engines, log path
};

inline constexpr std::size_t kProblemsListedMax = 1000;  // of each shard

struct VerifyReport {
  std::uint64_t file_bytes = 0;  // read and compared with the engine's checksums
  std::vector<ShardVerification> shards;
  std::uint64_t problems_total = 0;
  std::vector<VerifyProblem> problems;  // by shard, what all share first
  std::vector<std::string> notes;       // what could not be compared, and why
};

// Checks shards on two pairs of threads: one reads files and compares checksums, the other follows it with the rows. Beside a
// process that writes, what is wrong with a shard is only told where a second look, at newly opened files, finds it again.
//
// What holds in a sound store:
//   files    match the checksums that the engine noted; rows match their own, and decode
//   log      LSNs are dense, epochs follow each other, records decode, their series are known; no series is created twice
//   order    trimmed_to <= applied_lsn of the chunks <= that of the index <= end of the log
//   index    labels, hash rows and postings say the same of every series below next_ordinal: compared by sums of hashes, 8 bytes a
//            series, and by name where those differ. (Sums of 64-bit hashes could agree by chance, one time in 10^19.)
//   chunks   belong to a series that the index has (or that was removed, where nothing of them is visible); samples, times and
//            window are those that row and key say; no later than the log
// Rows of a checkpoint that was cut short lie beyond applied_lsn and next_ordinal: the log must know them.
//
// kNotFound: there is no database. kInvalidArgument: there is no such shard. kCancelled. What is damaged is in the report.
// Memory: within OpsContext::memory_limit_bytes, but for the engine's (OfflineStore).
Result<VerifyReport> VerifyStore(const std::string& path, const VerifyOptions& options, const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_VERIFY_H_

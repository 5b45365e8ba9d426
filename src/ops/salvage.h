// What is sound of a damaged store, copied into a new one; what is not is listed.
#ifndef CHRONOLITH_OPS_SALVAGE_H_
#define CHRONOLITH_OPS_SALVAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "format/series_id.h"
#include "ops/context.h"

namespace chronolith::ops {

enum class LossKind : std::uint8_t {
  kFile,      // a file of the engine's is gone or unreadable; what was in it is told as far as it is known
  kSamples,   // of a series, or of several by number, in a window
  kLabels,    // samples are there, whose series they are is not known
  kLog,       // records of the log
  kMetadata,  // of a series
  kDeletes,   // what was deleted, or past retention, may be there again
  kRefused,   // read, and not taken by the new store
};
std::string_view NameOf(LossKind kind);
inline constexpr LossKind kLossKinds[] = {LossKind::kFile,     LossKind::kSamples, LossKind::kLabels, LossKind::kLog,
                                          LossKind::kMetadata, LossKind::kDeletes, LossKind::kRefused};

struct SalvageLoss {
  LossKind kind = LossKind::kSamples;
  std::optional<ShardId> shard;
  std::string series;                          // its labels; "": not known, or several
  std::optional<std::uint64_t> first_ordinal;  // series by number, last inclusive
  std::optional<std::uint64_t> last_ordinal;
  std::optional<Timestamp> start;  // of samples; end exclusive
  std::optional<Timestamp> end;
  std::uint64_t samples = 0;  // 0: not known how many
  Lsn first_lsn = 0;          // 0: none
  Lsn last_lsn = 0;           // 0: not known
  std::string what;
};

struct SalvageOptions {
  std::string log_path;          // where the log has been moved; "": where the manifest says
  bool keep_unlabelled = false;  // samples without labels stay, as {__salvaged__="<shard>-<ordinal>"}
  // Reads all the same and says what would be copied and what is lost; what the new store may refuse is not known then. Where an
  // engine must put something right, that is done in a directory for temporary files, which is removed.
  bool dry_run = false;
};

inline constexpr std::size_t kLossesListedMax = 100'000;

// In the directory of the new store: the whole list, and the report (salvage_list.h).
inline constexpr char kSalvageListName[] = "SALVAGED.jsonl";

struct SalvageReport {
  // What was salvaged, and how. `source_store`: its uuid and incarnation.
  std::string source, source_store;
  std::string log_path;
  bool keep_unlabelled = false;
  std::uint64_t shards = 0;
  std::uint64_t samples = 0;  // written to the new store, each at least once: the log may repeat what is stored
  std::uint64_t histograms = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t series = 0;             // of the new store
  std::uint64_t series_relabelled = 0;  // whose labels were put together from postings, and match their hash
  std::uint64_t unlabelled_kept = 0;
  std::uint64_t losses_total = 0;
  std::vector<SalvageLoss> losses;  // the first kLossesListedMax
  std::vector<std::string> notes;
};

// Reads, in the order of worth: stored chunks row by row, around what cannot be read; labels from their rows, else from the log's
// series records, else put together from postings; then the log's records beyond what is stored, around holes. Of a shard whose
// chunks are damaged also the log's earlier records.
//
// `source` is only read: tables are hard-linked (else copied) and the log is copied to `target`.salvage where an engine must put
// something right before it can read them. The new store is made there as well, and gets its name when it is whole and the list of
// what is lost is synced in it; what an interrupted run left there is removed by the next. One that was interrupted behind that is
// ended by the next of the same source with the same options, which returns its report. `target` must be missing or empty ("" with
// dry_run). Deletes and the retention floor are applied; series without samples are not carried over.
//
// Nobody should write to the source meanwhile: what is written then may be missing without being listed.
//
// kNotFound, kFailedPrecondition: the source is none, or the target is in use. kDataLoss: nothing can be read, or neither STORE
// nor an instance says what the store is.
// Memory: StoreMemoryBytes of seven eighths of the limit for the new store; one batch of rows, and what SalvageLabels keeps.
Result<SalvageReport> Salvage(const std::string& source, const std::string& target, const SalvageOptions& options,
                              const OpsContext& context);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_H_

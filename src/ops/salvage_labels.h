// The labels of a shard's series, wherever they can still be found. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_LABELS_H_
#define CHRONOLITH_OPS_SALVAGE_LABELS_H_

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ordinal_set.h"
#include "index/row_reader.h"
#include "ops/salvage.h"

namespace chronolith::ops {

// In this order: the series records of the log; the series' row; what postings list the series, if the hash row of these labels
// leads to it: then none is missing. Memory: 16 bytes a row of the log that creates series, 20,000 labels and those of one such
// row, and what is put together at once: of 16,384 series, and the outcome for ten times as many. Thread safety: one thread.
class SalvageLabels {
 public:
  // `index`: where the rows are; null: lost. `damaged`: tables of it are lost. `log`: null: lost.
  SalvageLabels(KvEngine* index, KvEngine* log, ShardId shard, SalvageReport* report, bool damaged = false);
  // A row of the log, in order, whose first series record begins with `first`.
  void NoteLogRow(Lsn row, Ordinal first);
  bool Find(Ordinal ordinal, Labels* labels);
  // Above all that are stored; 0: not known.
  std::uint64_t next_ordinal() const { return next_ordinal_; }
  // Whether the index lists the series; where a part of it is lost, not all are.
  bool Knows(Ordinal ordinal);
  bool KnowsAll();

  // `lost`: of one series, or none: of several. The first status of `take` that is not ok ends it.
  Status ForEachMetadata(const std::atomic<bool>* cancelled, const std::function<Status(Ordinal, const Metadata&)>& take,
                         const std::function<void(std::optional<Ordinal>, const Status&)>& lost);

 private:
  bool ReadRow(Ordinal ordinal, Labels* labels) const;
  bool ReadLog(Ordinal ordinal, Labels* labels);
  bool FindPutTogether(Ordinal ordinal, Labels* labels);
  // Of a slice of ordinals, those without a row that can be read.
  void PutTogether(Ordinal slice);
  OrdinalSet WithoutRow(Ordinal slice) const;
  void MakeRoom();
  // Each row of a prefix that can be read. Returns what the first error was, or ok.
  Status ScanAroundDamage(char prefix, const std::function<bool(std::string_view key, std::string_view value)>& take) const;

  KvEngine* const index_;
  const FamilyId family_;
  const RowReader rows_;
  KvEngine* const log_;
  const ShardId shard_;
  SalvageReport* const report_;
  std::uint64_t next_ordinal_ = 0;
  std::vector<std::pair<Lsn, Ordinal>> log_rows_;  // ascending in both
  Lsn last_row_ = 0;                               // whose series were read last: all of them are in the cache
  absl::flat_hash_map<Ordinal, Labels> cache_;
  absl::flat_hash_set<Ordinal> slices_;  // that were tried
  absl::flat_hash_map<Ordinal, std::string> put_together_;
  OrdinalSet relabelled_;
  std::optional<OrdinalSet> listed_;
  bool listed_all_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_LABELS_H_

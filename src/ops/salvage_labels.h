// The labels of a shard's series, wherever they can still be found. Internal to salvage.
#ifndef CHRONOLITH_OPS_SALVAGE_LABELS_H_
#define CHRONOLITH_OPS_SALVAGE_LABELS_H_

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/ordinal_set.h"
#include "index/row_reader.h"
#include "ops/salvage.h"

namespace chronolith::ops {

// In this order: the series records of the log; the series' row; what postings list the series, if the hash row of these labels
// leads to it: then none is missing. Memory: the labels of the log's records, 20,000 of rows, and those put together.
// Thread safety: one thread.
class SalvageLabels {
 public:
  // `index`: where the rows are; null: lost. `damaged`: tables of it are lost.
  SalvageLabels(KvEngine* index, ShardId shard, SalvageReport* report, bool damaged = false);
  void AddOfLog(Ordinal ordinal, std::string_view encoded) { of_log_.try_emplace(ordinal, encoded); }
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
  void PutTogether();
  OrdinalSet WithoutRow() const;
  // Each row of a prefix that can be read. Returns what the first error was, or ok.
  Status ScanAroundDamage(char prefix, const std::function<bool(std::string_view key, std::string_view value)>& take) const;

  KvEngine* const index_;
  const FamilyId family_;
  const RowReader rows_;
  SalvageReport* const report_;
  std::uint64_t next_ordinal_ = 0;
  absl::flat_hash_map<Ordinal, std::string> of_log_;
  absl::flat_hash_map<Ordinal, Labels> cache_;
  bool tried_ = false;
  std::map<Ordinal, Labels> put_together_;
  std::optional<OrdinalSet> listed_;
  bool listed_all_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_LABELS_H_

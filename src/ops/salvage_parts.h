// The parts of salvage. Internal to it.
#ifndef CHRONOLITH_OPS_SALVAGE_PARTS_H_
#define CHRONOLITH_OPS_SALVAGE_PARTS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronolith/kv_engine.h"
#include "chronolith/storage.h"
#include "format/store_manifest.h"
#include "interop/file_sink.h"
#include "ops/log_in_tables.h"
#include "ops/salvage.h"
#include "ops/salvage_list.h"
#include "ops/temporary_directory.h"
#include "storage/bad_log_tables.h"
#include "storage/unfinished.h"

namespace chronolith::ops {

// Collects what is lost. Thread safety: one thread.
class LossList {
 public:
  explicit LossList(SalvageReport* report) : report_(report) {}
  // Writes all of it to a new file, too.
  Status WriteTo(const std::string& path) { return file_.Create(path); }
  void Add(SalvageLoss loss) {
    if (file_.is_open()) file_.Append(LossJson(loss) + "\n");
    if (++report_->losses_total <= kLossesListedMax) report_->losses.push_back(std::move(loss));
  }
  void Note(std::string note) { report_->notes.push_back(std::move(note)); }
  // The file has its last line, and is synced.
  Status End() {
    file_.Append("{" + SummaryJson(*report_) + "}\n");
    return file_.Close();
  }

 private:
  SalvageReport* const report_;
  FileSink file_;
};

// Where an engine puts right what it must before it can read it. Thread safety: one thread.
class SalvageScratch {
 public:
  // "": a temporary directory, made where it is first asked for, and removed when this is destroyed.
  explicit SalvageScratch(std::string path) : path_(std::move(path)) {}
  Result<std::string> Path();
  bool temporary() const { return path_.empty(); }

 private:
  const std::string path_;
  std::unique_ptr<TemporaryDirectory> temporary_;
};

// A table of which nothing can be read, and the range of its keys, both inclusive.
struct LostTable {
  FamilyId family = 0;
  std::string file;
  std::string smallest, largest;
};

// A store's instances, as far as they can be read; what is put right lies in a scratch directory.
struct SalvageSource {
  StoreManifest manifest;
  std::shared_ptr<LogInTables> log_in_tables;  // what `log` reads; null: the log as it is, or a copy of it put right
  std::unique_ptr<KvEngine> log;               // null: lost
  std::unique_ptr<KvEngine> data;              // as it is; null: cannot be opened
  std::unique_ptr<KvEngine> rebuilt;           // from those of its tables that can be read; null: not needed, or in vain
  std::vector<LostTable> lost_tables;          // those of which the engine still knows the keys
  std::vector<BadLogTable> lost_log_tables;
  Unfinished unfinished;           // what an open gave up of the log that did not come to its end
  std::optional<Timestamp> floor;  // of retention: the highest that a shard has stored; none: no shard's can be read
  // Where the family's rows are; null: lost.
  KvEngine* DataOf(FamilyId family) const;
  bool IsDamaged(FamilyId family) const { return data == nullptr || !data->Damage(family).ok(); }
};
// What STORE says, or the copies of it that the instances have. kNotFound: there is no database. kDataLoss: none can be read.
Result<StoreManifest> FindSalvageManifest(const std::string& source, const SalvageOptions& options, const OpsContext& context,
                                          LossList* losses);
// Not ok: the store cannot be salvaged at all, or kCancelled.
Result<SalvageSource> OpenSalvageSource(const std::string& source, const StoreManifest& manifest, SalvageScratch* scratch,
                                        const SalvageOptions& options, const OpsContext& context, LossList* losses);

// About: of the rows of a shard's log, each of which is read kReadingsOfLog times. 0 where it is lost.
std::uint64_t LogBytesOf(const SalvageSource& source, ShardId shard);
inline constexpr std::uint64_t kReadingsOfLog = 3;

// Writes to the new store in batches. Thread safety: one thread.
class SalvageTarget {
 public:
  // `storage` null: counts only.
  SalvageTarget(Storage* storage, SalvageReport* report, LossList* losses) : storage_(storage), report_(report), losses_(losses) {}
  // Not ok: the new store takes nothing more.
  Status Write(ShardId shard, TimeSeries series);
  Status Flush();

 private:
  void TellRefused(const Refusal& refusal);

  Storage* const storage_;
  SalvageReport* const report_;
  LossList* const losses_;
  std::vector<TimeSeries> batch_;
  std::vector<ShardId> shards_;
  std::size_t items_ = 0;
};

// One shard. Not ok: kCancelled, or the new store takes nothing more.
Status SalvageShard(const SalvageSource& source, ShardId shard, const SalvageOptions& options, const OpsContext& context,
                    SalvageTarget* target, SalvageReport* report, LossList* losses);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_PARTS_H_

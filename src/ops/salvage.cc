#include "ops/salvage.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/posix_file.h"
#include "ops/file_copy.h"
#include "ops/reader_lock.h"
#include "ops/salvage_parts.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatchItems = 50'000;
constexpr char kMark[] = "SALVAGE";  // tells a scratch directory from anything else of that name

// The target must be missing or empty, and not within the source.
Status CheckTarget(const std::string& source, const std::string& target) {
  std::error_code error;
  if (fs::exists(target, error) && !(fs::is_directory(target, error) && fs::is_empty(target, error))) {
    return FailedPrecondition("the target " + target + " is not empty");
  }
  // The last step is a rename over it, which a mount point does not take.
  struct stat own {};
  struct stat above {};
  const std::string parent = fs::absolute(target, error).lexically_normal().parent_path().string();
  if (stat(target.c_str(), &own) == 0 && stat(parent.c_str(), &above) == 0 && own.st_dev != above.st_dev) {
    return FailedPrecondition("the target " + target + " is a mount point: name a directory in it");
  }
  const fs::path from = fs::weakly_canonical(source, error);
  const fs::path to = fs::weakly_canonical(target, error);
  if (std::mismatch(from.begin(), from.end(), to.begin(), to.end()).first == from.end()) {
    return InvalidArgument("the target " + target + " lies in the source");
  }
  return Status::Ok();
}

// Empties what an interrupted salvage left, and nothing else. The caller has its lock.
Status ClearScratch(const std::string& source, const std::string& scratch) {
  std::error_code error;
  std::vector<fs::path> remains;
  bool marked = fs::exists(scratch + "/" + kMark, error);
  for (const auto& entry : fs::directory_iterator(scratch, error)) {
    if (entry.path().filename() != kMark) remains.push_back(entry.path());
  }
  // Killed before the mark had its name, it leaves the mark under another, and nothing else.
  marked = marked || (remains.size() == 1 && remains[0].filename().string().starts_with(kMark));
  if (!marked && !remains.empty()) {
    return FailedPrecondition(scratch + " is in the way: it is not what an interrupted salvage left");
  }
  for (std::size_t i = 0; i < remains.size() && !error; ++i) fs::remove_all(remains[i], error);
  if (error) return ErrnoStatus("cannot clear " + scratch, error);
  return WriteSyncedFile(scratch, kMark, source + "\n");
}

Options TargetOptions(const StoreManifest& manifest, const OpsContext& context) {
  Options options;
  options.error_if_exists = true;
  options.engine = manifest.engine;
  options.shards = static_cast<int>(manifest.shards);
  options.window_ms = manifest.window_ms;
  options.scrub_interval_ms = 0;
  options.background_compaction = false;
  options.memory_limit_bytes = std::max<std::uint64_t>(context.memory_limit_bytes, 64ULL << 20);
  options.checkpoint_bytes = 64ULL << 20;
  // What the old store took this one takes.
  options.max_labels_per_series = 1U << 20;
  options.max_label_name_bytes = 1U << 20;
  options.max_label_value_bytes = 1U << 20;
  options.max_series = ~std::uint64_t{0} >> 1;
  options.logger = context.logger;
  return options;
}

Status Move(const std::string& from, const std::string& to) {
  std::error_code error;
  const fs::path parent = fs::absolute(to, error).parent_path();
  fs::create_directories(parent, error);
  if (!error) fs::rename(from, to, error);  // over an empty directory as well
  return error ? ErrnoStatus("cannot give " + from + " the name " + to, error) : SyncDirectory(parent.string());
}

Status SalvageAll(const SalvageSource& source, const std::string& store, const SalvageOptions& options, const OpsContext& context,
                  SalvageReport* report, LossList* losses) {
  Result<std::unique_ptr<Storage>> opened = Storage::Open(TargetOptions(source.manifest, context), store);
  if (!opened.ok()) return opened.status();
  SalvageTarget target(opened->get(), report, losses);
  std::uint64_t bytes = 0;
  for (ShardId shard = 0; shard < source.manifest.shards; ++shard) {
    KvEngine* const engine = source.DataOf(ChunkFamily(shard));
    if (engine != nullptr) bytes += engine->Stats().families[ChunkFamily(shard)].file_bytes;
  }
  context.Begin("salvaging", bytes, "bytes");
  Status s;
  for (ShardId shard = 0; s.ok() && shard < source.manifest.shards; ++shard) {
    s = SalvageShard(source, shard, options, context, &target, report, losses);
  }
  if (s.ok()) s = target.Flush();
  if (s.ok()) s = (*opened)->Checkpoint();
  const StorageStats stats = (*opened)->Stats();
  for (const ShardStats& shard : stats.shards) report->series += shard.series_total;
  const Status closed = (*opened)->Close();
  return s.ok() ? closed : s;
}

}  // namespace

std::string_view NameOf(LossKind kind) {
  switch (kind) {
    case LossKind::kFile:
      return "file";
    case LossKind::kSamples:
      return "samples";
    case LossKind::kLabels:
      return "labels";
    case LossKind::kLog:
      return "log";
    case LossKind::kMetadata:
      return "metadata";
    case LossKind::kRefused:
      return "refused";
  }
  return "";
}

Status SalvageTarget::Write(ShardId shard, TimeSeries series) {
  items_ += 1 + series.samples.size() + 8 * series.histograms.size() + series.exemplars.size();
  batch_.push_back(std::move(series));
  shards_.push_back(shard);
  return items_ < kBatchItems ? Status::Ok() : Flush();
}

Status SalvageTarget::Flush() {
  if (batch_.empty()) return Status::Ok();
  const WriteResult result = storage_->Write(batch_);
  if (!result.ok() && result.refused.empty()) return result.status.WithContext("writing to the new store");
  for (const TimeSeries& series : batch_) {
    report_->samples += series.samples.size();
    report_->histograms += series.histograms.size();
    report_->exemplars += series.exemplars.size();
  }
  for (const Refusal& refusal : result.refused) {
    const StatusCode code = refusal.reason.code();
    if (code != StatusCode::kInvalidArgument && code != StatusCode::kFailedPrecondition && code != StatusCode::kAlreadyExists) {
      return refusal.reason.WithContext("writing to the new store");
    }
    const TimeSeries& series = batch_[refusal.series];
    losses_->Add({.kind = LossKind::kRefused,
                  .shard = shards_[refusal.series],
                  .series = series.labels.ToString(),
                  .what = refusal.reason.message()});
  }
  batch_.clear();
  shards_.clear();
  items_ = 0;
  return Status::Ok();
}

Result<SalvageReport> Salvage(const std::string& source, const std::string& target, const SalvageOptions& options,
                              const OpsContext& context) {
  SalvageReport report;
  LossList losses(&report);
  std::string trimmed = target;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const std::string scratch = trimmed + ".salvage";
  const Result<StoreManifest> manifest = ReadStoreManifest(source);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->complete)
    return FailedPrecondition("the store in " + source + " was not created to its end: nothing was written to it");
  if (Status s = CheckTarget(source, trimmed); !s.ok()) return s;
  // Beside a writer files vanish, and would be told as lost.
  const auto undisturbed = ReaderLock::Take(source, options.log_path);
  if (!undisturbed.ok()) return undisturbed.status();
  std::error_code error;
  fs::create_directories(scratch, error);
  if (error) return ErrnoStatus("cannot create " + scratch, error);
  const auto lock = PathLock::Take(scratch, true, "salvages to " + trimmed);
  if (!lock.ok()) return lock.status();
  if (Status s = ClearScratch(source, scratch); !s.ok()) return s;
  {
    context.Begin("opening what is left", 0, "bytes");
    const Result<SalvageSource> opened = OpenSalvageSource(source, scratch, options, context, &losses);
    if (!opened.ok()) return opened.status();
    report.shards = opened->manifest.shards;
    const Status s = SalvageAll(*opened, scratch + "/db", options, context, &report, &losses);
    if (!s.ok()) return s;
    if (Status c = context.CheckCancelled(); !c.ok()) return c;
  }
  if (Status s = Move(scratch + "/db", trimmed); !s.ok()) return s;
  // The mark last: what is left in between is known for what it is.
  std::error_code ignored;
  if (ClearScratch(source, scratch).ok()) fs::remove_all(scratch, ignored);
  return report;
}

}  // namespace chronolith::ops

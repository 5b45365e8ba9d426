#include "ops/salvage.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "base/posix_file.h"
#include "ops/context.h"
#include "ops/disk_room.h"
#include "ops/file_copy.h"
#include "ops/reader_lock.h"
#include "ops/salvage_list.h"
#include "ops/salvage_parts.h"
#include "ops/target_path.h"
#include "ops/writing_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = "SALVAGE";  // tells a scratch directory from anything else of that name

// The target must be missing or empty, and not within the source.
Status CheckTarget(const std::string& source, const std::string& target) {
  std::error_code error;
  if (fs::exists(target, error) && !(fs::is_directory(target, error) && fs::is_empty(target, error))) {
    const std::string list = target + "/" + kSalvageListName;
    return FailedPrecondition("the target " + target + " is not empty" +
                              (fs::exists(list, error) ? ": it was salvaged before, and " + list + " says what was lost" : ""));
  }
  // The last step is a rename over it, which a mount point does not take.
  struct stat own {};
  struct stat above {};
  const std::string parent = fs::absolute(target, error).lexically_normal().parent_path().string();
  if (stat(target.c_str(), &own) == 0 && stat(parent.c_str(), &above) == 0 && own.st_dev != above.st_dev) {
    return FailedPrecondition("the target " + target + " is a mount point: name a directory in it");
  }
  if (LiesWithin(target, source)) return InvalidArgument("the target " + target + " lies in the source");
  return CheckOutsideDatabases(target);
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
  // An eighth is for the caches and tables of what is read.
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes - context.memory_limit_bytes / 8);
  options.checkpoint_bytes = 64ULL << 20;
  // What the old store took this one takes.
  options.max_labels_per_series = 1U << 20;
  options.max_label_name_bytes = 1U << 20;
  options.max_label_value_bytes = 1U << 20;
  options.max_series = ~std::uint64_t{0} >> 1;
  options.logger = context.logger;
  return options;
}

// The least that the new store takes: the tables that are there, and what a store leaves of its disk. How much of the tables is of
// deleted or replaced rows is not known, so a little more may be enough; where it is not, the new store says so.
Status LookForRoom(const std::string& source, const std::string& target) {
  constexpr std::uint64_t kFresh = 1 << 20;         // a store without samples
  constexpr std::uint64_t kKeptMost = 64ULL << 20;  // of TargetOptions' checkpoint
  constexpr std::uint64_t kDiskFraction = 16;       // of a small disk, as in disk_space.cc
  const Result<DiskRoom> room = RoomFor(target);
  if (!room.ok()) return room.status();
  const std::uint64_t kept = std::min(kKeptMost, room->capacity / kDiskFraction);
  return CheckRoom(target, room->free, kFresh + FileBytes(DataInstancePath(source), ".sst") + kept);
}

Status Move(const std::string& from, const std::string& to) {
  std::error_code error;
  const fs::path parent = fs::absolute(to, error).parent_path();
  fs::create_directories(parent, error);
  if (!error) fs::rename(from, to, error);  // over an empty directory as well
  return error ? ErrnoStatus("cannot give " + from + " the name " + to, error) : SyncDirectory(parent.string());
}

// `store`: "" for a dry run.
Status SalvageAll(const SalvageSource& source, const std::string& store, const SalvageOptions& options, const OpsContext& context,
                  SalvageReport* report, LossList* losses) {
  std::unique_ptr<Storage> storage;
  if (!store.empty()) {
    Result<std::unique_ptr<Storage>> opened = OpenToWrite(TargetOptions(source.manifest, context), store, context);
    if (!opened.ok()) return opened.status();
    storage = std::move(*opened);
  }
  SalvageTarget target(storage.get(), report, losses);
  std::uint64_t bytes = 0;
  for (ShardId shard = 0; shard < source.manifest.shards; ++shard) {
    KvEngine* const engine = source.DataOf(ChunkFamily(shard));
    if (engine != nullptr) bytes += engine->Stats().families[ChunkFamily(shard)].file_bytes;
    bytes += kReadingsOfLog * LogBytesOf(source, shard);
  }
  context.Begin("salvaging", bytes, "bytes");
  Status s;
  for (ShardId shard = 0; s.ok() && shard < source.manifest.shards; ++shard) {
    s = SalvageShard(source, shard, options, context, &target, report, losses);
  }
  if (s.ok()) s = target.Flush();
  if (storage == nullptr) return s;
  context.Begin("storing what was salvaged", 0, "");
  if (s.ok()) s = storage->Checkpoint();
  report->series = 0;  // what shards have told counts what was refused
  for (const ShardStats& shard : storage->Stats().shards) report->series += shard.series_total;
  const Status closed = storage->Close();
  return s.ok() ? closed : s;
}

// Opens the source and reads all of it.
Status ReadSource(const std::string& source, const StoreManifest& manifest, SalvageScratch* scratch, const std::string& store,
                  const SalvageOptions& options, const OpsContext& context, SalvageReport* report, LossList* losses) {
  context.Begin("opening what is left", 0, "");
  const Result<SalvageSource> opened = OpenSalvageSource(source, manifest, scratch, options, context, losses);
  if (!opened.ok()) return opened.status();
  report->shards = opened->manifest.shards;
  if (Status s = SalvageAll(*opened, store, options, context, report, losses); !s.ok()) return OfFullDisk(s, store);
  return context.CheckCancelled();
}

// The last steps. Killed between any two of them, the next run goes on: IsDoneBut.
Status Finish(const std::string& source, const std::string& scratch, const std::string& target, const OpsContext& context,
              LossList* losses) {
  context.Begin("finishing", 3, "steps");
  if (Status s = losses->End(); !s.ok()) return s;
  std::error_code error;
  fs::rename(scratch + "/" + kSalvageListName, scratch + "/db/" + kSalvageListName, error);
  if (error) return ErrnoStatus("cannot put the list of losses into " + scratch + "/db", error);
  if (Status s = SyncDirectory(scratch + "/db"); !s.ok()) return s;
  context.Add(1);
  if (Status s = Move(scratch + "/db", target); !s.ok()) return s;
  context.Add(1);
  // The mark last: what is left in between is known for what it is.
  if (ClearScratch(source, scratch).ok()) fs::remove_all(scratch, error);
  context.Add(1);
  return Status::Ok();
}

// Whether the salvage that *report names has ended but for clearing up. Then *report is what the target's list says.
Result<bool> IsDoneBut(const std::string& scratch, const std::string& target, SalvageReport* report) {
  std::error_code error;
  std::ifstream mark(scratch + "/" + kMark);
  if (!mark || fs::exists(scratch + "/db", error) || !fs::exists(target + "/" + kSalvageListName, error)) return false;
  if (std::string(std::istreambuf_iterator<char>(mark), {}) != report->source + "\n") return false;
  Result<SalvageReport> made = ReadSalvageList(target + "/" + kSalvageListName);
  if (!made.ok()) return made.status();
  const auto what = [](const SalvageReport& r) { return std::tie(r.source, r.source_store, r.log_path, r.keep_unlabelled); };
  if (what(*made) != what(*report)) return false;
  *report = std::move(*made);
  return true;
}

Status ClearUp(const std::string& source, const std::string& scratch, const std::string& target) {
  const auto lock = PathLock::Take(scratch, true, "salvages to " + target);
  if (!lock.ok()) return lock.status();
  std::error_code ignored;
  if (Status s = ClearScratch(source, scratch); !s.ok()) return s;
  fs::remove_all(scratch, ignored);
  return Status::Ok();
}

std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
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
    case LossKind::kDeletes:
      return "deletes";
    case LossKind::kRefused:
      return "refused";
  }
  return "";
}

Result<std::string> SalvageScratch::Path() {
  if (!temporary()) return path_;
  if (temporary_ == nullptr) {
    auto made = TemporaryDirectory::Make("salvage");
    if (!made.ok()) return made.status();
    temporary_ = std::move(*made);
  }
  return temporary_->path();
}

Result<SalvageReport> Salvage(const std::string& source, const std::string& target, const SalvageOptions& options,
                              const OpsContext& context) {
  const std::string trimmed = WithoutSlashes(target);
  const std::string scratch = trimmed + ".salvage";
  SalvageReport report{.source = source, .log_path = options.log_path, .keep_unlabelled = options.keep_unlabelled};
  LossList losses(&report);
  const Result<StoreManifest> manifest = FindSalvageManifest(source, options, context, &losses);
  if (!manifest.ok()) return manifest.status();
  if (!manifest->complete)
    return FailedPrecondition("the store in " + source + " was not created to its end: nothing was written to it");
  if (options.dry_run != target.empty()) return InvalidArgument("a dry run has no target, and anything else has one");
  report.source_store = manifest->UuidHex() + "." + std::to_string(manifest->incarnation);
  const Result<bool> done = options.dry_run ? false : IsDoneBut(scratch, trimmed, &report);
  if (!done.ok()) return done.status();
  if (*done) {
    if (Status s = ClearUp(source, scratch, trimmed); !s.ok()) return s;
    return report;
  }
  if (Status s = options.dry_run ? Status::Ok() : CheckTarget(source, trimmed); !s.ok()) return s;
  // Beside a writer files vanish, and would be told as lost.
  const std::string log_path = options.log_path.empty() ? LogInstancePath(source, *manifest) : options.log_path;
  const auto undisturbed = ReaderLock::TakeInstances(source, DataInstancePath(source), log_path);
  if (!undisturbed.ok()) return undisturbed.status();
  if (options.dry_run) {
    SalvageScratch temporary("");
    if (Status s = ReadSource(source, *manifest, &temporary, "", options, context, &report, &losses); !s.ok()) return s;
    return report;
  }
  std::error_code error;
  fs::create_directories(scratch, error);
  if (error) return ErrnoStatus("cannot create " + scratch, error);
  const auto lock = PathLock::Take(scratch, true, "salvages to " + trimmed);
  if (!lock.ok()) return lock.status();
  if (Status s = ClearScratch(source, scratch); !s.ok()) return s;
  if (Status s = LookForRoom(source, trimmed); !s.ok()) {
    if (ClearScratch(source, scratch).ok()) fs::remove_all(scratch, error);
    return s;
  }
  if (Status s = losses.WriteTo(scratch + "/" + kSalvageListName); !s.ok()) return s;
  SalvageScratch beside(scratch);
  if (Status s = ReadSource(source, *manifest, &beside, scratch + "/db", options, context, &report, &losses); !s.ok()) return s;
  if (Status s = Finish(source, scratch, trimmed, context, &losses); !s.ok()) return s;
  return report;
}

}  // namespace chronolith::ops

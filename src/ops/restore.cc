#include "ops/restore.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "base/posix_file.h"
#include "chronolith/engine_registry.h"
#include "ops/backup.h"
#include "ops/file_copy.h"
#include "ops/whole_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWorkName = "/.restore";
constexpr const char* kWhatName = "/WHAT";
constexpr const char* kInstances[] = {"data", "log"};

// What is restored, for those who find the directory.
std::string What(const RestoreReport& report, const RestoreOptions& options) {
  std::string what = "backup " + report.backup.id + "\n";
  if (options.point) {
    what += "archive " + options.point->archive + "\n";
    what += "to " + (options.point->to_ms ? std::to_string(*options.point->to_ms) : "the end") + "\n";
  }
  return what;
}

class Restoring {
 public:
  // `plan` may be null.
  Restoring(std::string to, const RestoreOptions& options, const ArchivePlan* plan, const OpsContext& context,
            RestoreReport* report)
      : from_(report->from),
        to_(std::move(to)),
        plan_(plan),
        work_(to_ + kWorkName),
        context_(context),
        report_(report),
        what_(What(*report, options)),
        pace_(context, options.bytes_per_second) {}

  Status Run() {
    if (Status s = Prepare(); !s.ok()) return s;
    const auto lock = PathLock::Take(work_, true, "restores to " + to_);
    if (!lock.ok()) return lock.status();
    if (Status s = TakeBack(); !s.ok()) return s;
    if (Status s = WriteSyncedFile(work_, kWhatName + 1, what_); !s.ok()) return s;
    if (Status s = CopyAll(); !s.ok()) return s;
    const Result<StoreManifest> source = ReadStoreManifest(work_);
    if (!source.ok()) return source.status();
    report_->store = ManifestOfCopy(*source);
    if (plan_ != nullptr) {
      if (Status s = AddArchivedRows(*plan_, work_ + "/log", report_->store, context_); !s.ok()) return s;
    }
    // No interruption from here to the check.
    const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(report_->store.engine);
    if (!factory.ok()) return factory.status();
    for (EngineOptions options : {DataInstanceOptions(report_->store), LogInstanceOptions(report_->store)}) {
      options.logger = context_.logger;
      const std::string path = options.instance == InstanceRole::kData ? DataInstancePath(work_) : work_ + "/log";
      if (Status s = IdentifyCopy(factory->get(), path, std::move(options), report_->store); !s.ok()) return s;
    }
    if (Status s = WriteStoreManifest(work_, report_->store); !s.ok()) return s;
    if (plan_ != nullptr && plan_->rows > 0) {
      if (Status s = StoreReplayed(work_, report_->store.engine, context_); !s.ok())
        return s.WithContext("replaying archived rows");
    }
    context_.Begin("checking what was restored", 0, "bytes");
    Result<StorageStats> stats = CheckWholeStore(work_, report_->store.engine, true, context_);
    if (!stats.ok()) {
      return stats.status().code() == StatusCode::kCancelled ? stats.status()
                                                             : stats.status().WithContext("what was restored does not check");
    }
    report_->stats = std::move(*stats);
    return Publish();
  }

 private:
  Status Prepare() const {
    std::error_code error;
    fs::create_directories(to_, error);
    if (error) return ErrnoStatus("cannot create " + to_, error);
    const bool interrupted = fs::is_directory(work_, error);
    for (const auto& entry : fs::directory_iterator(to_, error)) {
      const std::string name = entry.path().filename().string();
      const bool ours = interrupted && (name == ".restore" || name == "data" || name == "log");
      if (!ours) return FailedPrecondition(to_ + " is not empty (it holds " + name + "): name a new directory");
    }
    if (!error) fs::create_directory(work_, error);
    if (error) return ErrnoStatus("cannot prepare " + to_, error);
    const std::uintmax_t free = fs::space(to_, error).available;
    // Archived rows lie in the log while they are stored as chunks.
    const std::uint64_t needed = report_->backup.bytes() + 2 * report_->archived_bytes;
    if (!error && !interrupted && free < needed) {
      fs::remove(work_, error);
      return ResourceExhausted("the disk of " + to_ + " has " + std::to_string(free) + " bytes left, this takes " +
                               std::to_string(needed));
    }
    return Status::Ok();
  }

  // A restore that was interrupted while it moved what was ready.
  Status TakeBack() const {
    std::error_code error;
    for (const char* instance : kInstances) {
      const std::string moved = to_ + "/" + instance;
      if (fs::exists(moved, error)) fs::rename(moved, work_ + "/" + instance, error);
      if (error) return ErrnoStatus("cannot take " + moved + " back", error);
    }
    return RemoveSyncedFile(work_, kStoreFile);
  }

  Status CopyAll() {
    std::error_code error;
    std::set<std::string> tables;
    for (const BackupFile& file : report_->backup.files) {
      if (file.immutable) tables.insert(file.name);
    }
    for (const char* instance : kInstances) {
      const std::string directory = work_ + "/" + instance;
      fs::create_directory(directory, error);
      std::vector<fs::path> unlisted;
      for (const auto& entry : fs::directory_iterator(directory, error)) {
        const std::string name = std::string(instance) + "/" + entry.path().filename().string();
        if (!tables.contains(name)) unlisted.push_back(entry.path());
      }
      for (std::size_t i = 0; i < unlisted.size() && !error; ++i) fs::remove_all(unlisted[i], error);
      if (error) return ErrnoStatus("cannot clear " + directory, error);
    }
    context_.Begin("restore", report_->backup.bytes(), "bytes");
    for (const BackupFile& file : report_->backup.files) {
      if (Status s = Copy(file); !s.ok()) return s;
    }
    for (const char* instance : kInstances) {
      if (Status s = SyncDirectory(work_ + "/" + instance); !s.ok()) return s;
    }
    return Status::Ok();
  }

  Status Copy(const BackupFile& file) {
    const std::string to = work_ + "/" + file.name;
    if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    if (file.immutable) {
      const Result<std::uint32_t> there = ChecksumOfFile(to, file.bytes, &pace_);
      if (there.status().code() == StatusCode::kCancelled) return there.status();
      if (there.ok() && *there == file.crc32c) {
        ++report_->files_resumed;
        report_->bytes_resumed += file.bytes;
        return Status::Ok();
      }
    }
    const std::string path = from_ + "/" + file.name;
    const auto source = SourceFile::Open(path);
    if (source.status().code() == StatusCode::kNotFound) return DataLoss(path + " is missing from the backup");
    if (!source.ok()) return source.status();
    const Result<std::uint64_t> size = (*source)->Size();
    if (!size.ok()) return size.status();
    const auto read = [&](std::uint64_t at, std::span<char> buffer) { return (*source)->Read(at, buffer); };
    const Result<std::uint32_t> crc = CopyFile(read, file.bytes, to, &pace_);
    if (!crc.ok()) return crc.status().code() == StatusCode::kCancelled ? crc.status() : crc.status().WithContext(path);
    if (*crc != file.crc32c || *size != file.bytes) {
      unlink(to.c_str());
      return DataLoss(path + " is damaged: it is not what the backup's description says; nothing was restored from it");
    }
    ++report_->files;
    report_->bytes += file.bytes;
    return Status::Ok();
  }

  Status Publish() const {
    std::error_code error;
    for (const char* instance : kInstances) {
      fs::rename(work_ + "/" + instance, to_ + "/" + instance, error);
      if (error) return ErrnoStatus("cannot move what was restored to " + to_, error);
    }
    if (Status s = SyncDirectory(to_); !s.ok()) return s;
    const std::string store = std::string(kStoreFile);
    fs::rename(work_ + "/" + store, to_ + "/" + store, error);
    if (error) return ErrnoStatus("cannot move what was restored to " + to_, error);
    // What says whose it is goes last: IsDoneBut.
    std::vector<fs::path> rest;
    for (const auto& entry : fs::directory_iterator(work_, error)) {
      if (entry.path().filename() != kWhatName + 1) rest.push_back(entry.path());
    }
    for (const fs::path& path : rest) fs::remove_all(path, error);
    fs::remove_all(work_, error);
    return SyncDirectory(to_);
  }

  const std::string from_;
  const std::string to_;
  const ArchivePlan* const plan_;
  const std::string work_;
  const OpsContext& context_;
  RestoreReport* const report_;
  const std::string what_;
  Pace pace_;
};

// A restore of the same that was killed between its last two steps.
bool IsDoneBut(const std::string& to, const BackupManifest& backup, const std::string& what) {
  std::error_code error;
  if (!fs::is_directory(to + kWorkName, error)) return false;
  std::ifstream file(to + kWorkName + kWhatName);
  const bool same = file ? std::string(std::istreambuf_iterator<char>(file), {}) == what : fs::is_empty(to + kWorkName, error);
  if (!same || error) return false;
  const Result<StoreManifest> store = ReadStoreManifest(to);
  return store.ok() && store->UuidHex() == backup.uuid && store->parent == backup.incarnation;
}

}  // namespace

Result<RestoreReport> Restore(const std::string& from, const std::string& to, const RestoreOptions& options,
                              const OpsContext& context) {
  RestoreReport report;
  std::optional<ArchivePlan> plan;
  if (options.point) {
    Result<RestoreBase> base = ChooseBase(from, *options.point, context);
    if (!base.ok()) return base.status();
    report.from = base->path;
    plan = std::move(base->plan);
    report.archived_rows = plan->rows;
    report.archived_bytes = plan->bytes;
    report.reached_ms = plan->reached_ms;
    report.shortfall = plan->complete;
  } else {
    Result<std::string> path = FindBackup(from);
    if (!path.ok()) return path.status();
    report.from = std::move(*path);
  }
  Result<BackupManifest> backup = ReadBackupManifest(report.from);
  if (!backup.ok()) return backup.status();
  report.backup = std::move(*backup);
  if (options.dry_run) return report;
  if (IsDoneBut(to, report.backup, What(report, options))) {
    std::error_code error;
    fs::remove_all(to + kWorkName, error);
    Result<StorageStats> stats = CheckWholeStore(to, report.backup.engine, false, context);
    if (!stats.ok()) return stats.status();
    Result<StoreManifest> store = ReadStoreManifest(to);
    if (!store.ok()) return store.status();
    report.store = std::move(*store);
    report.stats = std::move(*stats);
    return report;
  }
  Restoring restoring(to, options, plan ? &*plan : nullptr, context, &report);
  if (Status s = restoring.Run(); !s.ok()) return s;
  return report;
}

}  // namespace chronolith::ops

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
#include "interop/file_sink.h"
#include "ops/backup.h"
#include "ops/disk_room.h"
#include "ops/file_copy.h"
#include "ops/target_path.h"
#include "ops/whole_store.h"
#include "ops/writing_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWorkName = "/.restore";
constexpr const char* kWhatName = "/WHAT";
constexpr const char* kDoneName = "/.restored";  // WHAT, when all else is done
constexpr const char* kInstances[] = {"data", "log"};

// What is restored, for those who find the directory.
std::string What(const RestoreReport& report, const RestoreOptions& options) {
  // An id is a time and a number: another store's backup may have the same.
  std::string what = "backup " + report.backup.id + " of store " + report.backup.uuid + " incarnation " +
                     std::to_string(report.backup.incarnation) + "\n";
  if (options.point) {
    what += "archive " + options.point->archive + "\n";
    what += "to " + (options.point->to_ms ? std::to_string(*options.point->to_ms) : "the end") + "\n";
  }
  return what;
}

// The same, with what tells one restore from another of the same: where the archived log was cut, and whose the copy is.
std::string WhatIsDone(const std::string& what, const ArchivePlan* plan, const StoreManifest& store) {
  std::string done = what;
  if (plan != nullptr) {
    done += "cut at group " + std::to_string(plan->cut.group) + " of epoch " + std::to_string(plan->cut.epoch) + ", " +
            std::to_string(plan->reached_ms) + "\n";
  }
  return done + "store " + store.UuidHex() + " incarnation " + std::to_string(store.incarnation) + "\n";
}

// Of a restore that has its STORE. What says whose it is goes last: FindDone.
Status TidyUp(const std::string& to) {
  const std::string work = to + kWorkName;
  std::error_code error;
  if (fs::exists(work + kWhatName, error)) fs::rename(work + kWhatName, to + kDoneName, error);
  if (!error) fs::remove_all(work, error);
  if (error) return ErrnoStatus("cannot remove " + work, error);
  return RemoveSyncedFile(to, kDoneName + 1);
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
    if (Status s = WriteSyncedFile(work_, kWhatName + 1, WhatIsDone(what_, plan_, report_->store)); !s.ok()) return s;
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
    if (Status s = CheckOutsideDatabases(to_); !s.ok()) return s;
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
      return CheckRoom(to_, free, needed);
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
    FileSource source;
    const Status opened = source.Open(path);
    if (opened.code() == StatusCode::kNotFound) return DataLoss(path + " is missing from the backup");
    if (!opened.ok()) return opened;
    const Result<std::uint64_t> size = source.Size();
    if (!size.ok()) return size.status();
    const auto read = [&](std::uint64_t at, std::span<char> buffer) { return source.Read(at, buffer); };
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
    return TidyUp(to_);
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

// The store in `to`, where a restore was killed before it had tidied up. None: there is none. kFailedPrecondition: it is not what
// is asked for now.
Result<std::optional<StoreManifest>> FindDone(const std::string& to, const std::string& what, const ArchivePlan* plan) {
  std::error_code error;
  std::string evidence = to + kDoneName;
  if (!fs::exists(evidence, error)) evidence = to + kWorkName + kWhatName;
  if (!fs::exists(evidence, error) || !fs::exists(to + "/" + std::string(kStoreFile), error)) return std::optional<StoreManifest>();
  Result<StoreManifest> store = ReadStoreManifest(to);
  if (!store.ok()) return store.status();
  std::ifstream file(evidence);
  const std::string made(std::istreambuf_iterator<char>(file), {});
  if (made == WhatIsDone(what, plan, *store)) return std::optional<StoreManifest>(std::move(*store));
  return FailedPrecondition(to +
                            " holds a whole database; the restore that made it was interrupted behind that, and is not what is "
                            "asked for now: " +
                            what + "but: " + made + "Remove " + fs::path(evidence).parent_path().string() +
                            (evidence.ends_with(kDoneName) ? kDoneName : "") + " to use it, or name a new directory");
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
    report.passed_by = std::move(base->passed_by);
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
  Result<std::optional<StoreManifest>> done = FindDone(to, What(report, options), plan ? &*plan : nullptr);
  if (!done.ok()) return done.status();
  if (done->has_value()) {
    Result<StorageStats> stats = CheckWholeStore(to, report.backup.engine, false, context);
    if (!stats.ok()) return stats.status();
    if (Status s = TidyUp(to); !s.ok()) return s;
    report.store = std::move(**done);
    report.stats = std::move(*stats);
    return report;
  }
  Restoring restoring(to, options, plan ? &*plan : nullptr, context, &report);
  if (Status s = restoring.Run(); !s.ok()) return OfFullDisk(s, to);
  return report;
}

}  // namespace chronolith::ops

#include "ops/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "base/posix_file.h"
#include "chronolith/engine_registry.h"
#include "ops/file_copy.h"
#include "ops/held_store.h"
#include "ops/target_path.h"
#include "ops/whole_store.h"
#include "storage/store_directory.h"
#include "storage/unfinished.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

// One instance of the store, and where its files go.
struct Instance {
  std::string name;  // "data", "log"
  std::unique_ptr<HeldFiles> held;
  std::vector<InstanceFile> files;
};

// One backup while it is made.
class Copying {
 public:
  Copying(const BackupOptions& options, const OpsContext& context, const StoreManifest& store, std::string store_path,
          const BackupEntry* parent, BackupReport* report)
      : options_(options),
        context_(context),
        store_(store),
        store_path_(std::move(store_path)),
        log_path_(options.log_path.empty() ? LogInstancePath(store_path_, store) : options.log_path),
        parent_(parent),
        report_(report),
        pace_(context, options.bytes_per_second) {
    if (parent_ == nullptr) return;
    for (const BackupFile& file : parent_->manifest.files) {
      if (file.immutable) of_parent_[file.name] = &file;
    }
  }

  // What Try would copy and share.
  Status Count() {
    std::vector<Instance> instances;
    if (Status s = Hold(&instances); !s.ok()) return s;
    for (const Instance& instance : instances) {
      for (const InstanceFile& file : instance.files) {
        const bool shared = SharedFile(instance, file) != nullptr;
        ++(shared ? report_->files_shared : report_->files_copied);
        (shared ? report_->bytes_shared : report_->bytes_copied) += file.bytes;
        report_->manifest.files.push_back({instance.name + "/" + file.name, file.bytes, file.crc32c.value_or(0), file.immutable});
      }
    }
    return Status::Ok();
  }

  // *again: what is wrong may pass.
  Status Try(bool* again) {
    *again = true;
    *report_ = {.manifest = report_->manifest, .path = report_->path, .attempts = report_->attempts};
    report_->manifest.files.clear();
    std::vector<Instance> instances;
    if (Status s = Hold(&instances); !s.ok()) {
      *again = s.code() == StatusCode::kUnavailable;
      return s;
    }
    *again = false;
    if (Status s = PlaceAll(&instances); !s.ok()) return s;
    if (Status s = WriteStore(); !s.ok()) return s;
    const Result<StorageStats> whole = CheckWholeStore(report_->path, store_.engine, false, context_);
    if (!whole.ok()) {
      *again = whole.status().code() != StatusCode::kCancelled && whole.status().code() != StatusCode::kResourceExhausted;
      return *again ? OfTheSource(whole.status()).WithContext("what was copied is not whole") : whole.status();
    }
    for (const ShardStats& shard : whole->shards) report_->series += shard.series_total;
    return WriteSyncedFile(report_->path, kBackupFile, EncodeBackupManifest(report_->manifest));
  }

 private:
  Status Hold(std::vector<Instance>* instances) {
    const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(store_.engine);
    if (!factory.ok()) return factory.status();
    Result<HeldStore> held = HoldStore(factory->get(), DataInstancePath(store_path_), log_path_);
    if (!held.ok()) return held.status();
    report_->manifest.taken_ms = held->taken_ms;
    instances->push_back({"log", std::move(held->log.held), std::move(held->log.files)});
    instances->push_back({"data", std::move(held->data.held), std::move(held->data.files)});
    return Status::Ok();
  }

  Status PlaceAll(std::vector<Instance>* instances) {
    std::uint64_t total = 0;
    for (const Instance& instance : *instances) {
      for (const InstanceFile& file : instance.files) {
        if (SharedFile(instance, file) == nullptr) total += file.bytes;
      }
    }
    context_.Begin("backup", total, "bytes");
    for (Instance& instance : *instances) {
      const std::string directory = report_->path + "/" + instance.name;
      std::error_code error;
      fs::create_directories(directory, error);
      if (error) return ErrnoStatus("cannot create " + directory, error);
      if (Status s = RemoveUnlisted(instance, directory); !s.ok()) return s;
      for (std::size_t i = 0; i < instance.files.size(); ++i) {
        if (Status s = Place(instance, i, directory + "/" + instance.files[i].name); !s.ok()) return s;
      }
      if (Status s = SyncDirectory(directory); !s.ok()) return s;
    }
    return Status::Ok();
  }

  // What an interrupted backup, or an earlier attempt, left and this one has not.
  static Status RemoveUnlisted(const Instance& instance, const std::string& directory) {
    std::set<std::string> listed;
    for (const InstanceFile& file : instance.files) {
      if (file.immutable) listed.insert(file.name);
    }
    std::error_code error;
    std::vector<fs::path> unlisted;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (!listed.contains(entry.path().filename().string())) unlisted.push_back(entry.path());
    }
    for (std::size_t i = 0; i < unlisted.size() && !error; ++i) fs::remove_all(unlisted[i], error);
    return error ? ErrnoStatus("cannot clear " + directory, error) : Status::Ok();
  }

  // Of the parent, and the same.
  const BackupFile* SharedFile(const Instance& instance, const InstanceFile& file) const {
    const auto found = file.immutable ? of_parent_.find(instance.name + "/" + file.name) : of_parent_.end();
    if (found == of_parent_.end() || found->second->bytes != file.bytes) return nullptr;
    return file.crc32c && *file.crc32c != found->second->crc32c ? nullptr : found->second;
  }

  Status Place(const Instance& instance, std::size_t index, const std::string& to) {
    const InstanceFile& file = instance.files[index];
    BackupFile entry{instance.name + "/" + file.name, file.bytes, 0, file.immutable};
    const auto done = [&](std::uint32_t crc, std::uint64_t* files, std::uint64_t* bytes) {
      entry.crc32c = crc;
      *files += 1;
      *bytes += file.bytes;
      report_->manifest.files.push_back(entry);
      return Status::Ok();
    };
    if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    if (const BackupFile* shared = SharedFile(instance, file)) {
      const std::string from = parent_path() + "/" + entry.name;
      unlink(to.c_str());
      struct stat info {};
      const bool whole = stat(from.c_str(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == file.bytes;
      if (whole && link(from.c_str(), to.c_str()) == 0) {
        return done(shared->crc32c, &report_->files_shared, &report_->bytes_shared);
      }
    }
    if (file.immutable && file.crc32c) {
      const Result<std::uint32_t> there = ChecksumOfFile(to, file.bytes, &pace_);
      if (there.status().code() == StatusCode::kCancelled) return there.status();
      if (there.ok() && *there == *file.crc32c) return done(*there, &report_->files_resumed, &report_->bytes_resumed);
    }
    unlink(to.c_str());
    if (file.immutable && options_.link_tables && instance.held->Link(index, to).ok()) {
      const Result<std::uint32_t> crc = ChecksumOfFile(to, file.bytes, &pace_);
      if (!crc.ok()) return crc.status();
      if (Status s = CheckSource(instance, file, *crc); !s.ok()) return s;
      return done(*crc, &report_->files_linked, &report_->bytes_linked);
    }
    const auto read = [&](std::uint64_t at, std::span<char> buffer) { return instance.held->Read(index, at, buffer); };
    const Result<std::uint32_t> crc = CopyFile(read, file.bytes, to, &pace_);
    if (!crc.ok()) return crc.status().code() == StatusCode::kCancelled ? crc.status() : crc.status().WithContext(entry.name);
    if (Status s = CheckSource(instance, file, *crc); !s.ok()) {
      unlink(to.c_str());
      return s;
    }
    return done(*crc, &report_->files_copied, &report_->bytes_copied);
  }

  Status CheckSource(const Instance& instance, const InstanceFile& file, std::uint32_t crc) const {
    if (!file.crc32c || *file.crc32c == crc) return Status::Ok();
    const std::string directory = instance.name == "log" ? log_path_ : DataInstancePath(store_path_);
    return DataLoss(directory + "/" + file.name +
                    " is damaged: its bytes do not match the checksum that was noted when it was written");
  }

  // What the copy lacks is to be sought, and mended, in the database.
  Status OfTheSource(const Status& status) const {
    std::string text = status.message();
    for (const auto& [copy, source] : {std::pair(report_->path + "/log", log_path_), std::pair(report_->path, store_path_)}) {
      for (std::size_t at = text.find(copy); at != std::string::npos; at = text.find(copy, at + source.size())) {
        text.replace(at, copy.size(), source);
      }
    }
    return Status(status.code(), std::move(text));
  }

  // As the store's, but for the log, which is beside the data.
  Status WriteStore() {
    StoreManifest manifest = store_;
    manifest.log_path.clear();
    if (Status s = WriteStoreManifest(report_->path, manifest); !s.ok()) return s;
    std::error_code error;
    const std::string path = report_->path + "/" + std::string(kStoreFile);
    const std::uint64_t bytes = fs::file_size(path, error);
    if (error) return ErrnoStatus("cannot look at " + path, error);
    OpsContext silent = context_;
    silent.progress = nullptr;
    Pace pace(silent, 0);
    const Result<std::uint32_t> crc = ChecksumOfFile(path, bytes, &pace);
    if (!crc.ok()) return crc.status();
    report_->manifest.files.push_back({std::string(kStoreFile), bytes, *crc, false});
    return Status::Ok();
  }

  std::string parent_path() const { return fs::path(report_->path).parent_path().string() + "/" + parent_->id; }

  const BackupOptions& options_;
  const OpsContext& context_;
  const StoreManifest& store_;
  const std::string store_path_;
  const std::string log_path_;
  const BackupEntry* const parent_;
  BackupReport* const report_;
  Pace pace_;
  std::map<std::string, const BackupFile*> of_parent_;
};

// Gives what interrupted backups left the name of this one: the newest of them, the others are removed.
Status TakeOverRemains(const std::string& to, const std::vector<BackupEntry>& entries, const std::string& path) {
  std::error_code error;
  bool taken = false;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->complete) continue;
    const std::string remains = to + "/" + entry->id;
    if (taken) {
      fs::remove_all(remains, error);
    } else {
      // What would let the copy pass for a store goes first.
      if (Status s = RemoveSyncedFile(remains, kStoreFile); !s.ok()) return s;
      fs::rename(remains, path, error);
      taken = true;
    }
    if (error) return ErrnoStatus("cannot take over " + remains, error);
  }
  if (!taken) fs::create_directory(path, error);
  return error ? ErrnoStatus("cannot create " + path, error) : SyncDirectory(to);
}

}  // namespace

Result<std::vector<BackupEntry>> ListBackups(const std::string& directory) {
  std::error_code error;
  std::vector<BackupEntry> entries;
  for (const auto& found : fs::directory_iterator(directory, error)) {
    const std::string name = found.path().filename().string();
    if (BackupNumber(name) == 0) continue;
    Result<BackupManifest> manifest = ReadBackupManifest(found.path().string());
    BackupEntry entry{.id = name, .complete = manifest.status().code() != StatusCode::kNotFound, .status = manifest.status()};
    if (manifest.ok()) entry.manifest = std::move(*manifest);
    entries.push_back(std::move(entry));
  }
  if (error == std::errc::no_such_file_or_directory) return NotFound("there is no directory " + directory);
  if (error) return ErrnoStatus("cannot list " + directory, error);
  std::sort(entries.begin(), entries.end(),
            [](const BackupEntry& a, const BackupEntry& b) { return BackupNumber(a.id) < BackupNumber(b.id); });
  return entries;
}

Result<std::string> FindBackup(const std::string& path) {
  std::error_code error;
  if (fs::exists(path + "/" + std::string(kBackupFile), error)) return path;
  const Result<std::vector<BackupEntry>> entries = ListBackups(path);
  if (!entries.ok()) return entries.status();
  for (auto entry = entries->rbegin(); entry != entries->rend(); ++entry) {
    if (entry->complete) return path + "/" + entry->id;
  }
  return NotFound("there is no complete backup in " + path);
}

Result<BackupReport> MakeBackup(const std::string& store, const std::string& to, const BackupOptions& options,
                                const OpsContext& context) {
  const Result<StoreManifest> manifest = ReadStoreManifest(store);
  if (!manifest.ok()) return manifest.status();
  std::error_code error;
  if (!manifest->complete) return FailedPrecondition("the store in " + store + " was not created to its end: open it once");
  if (fs::exists(store + "/" + std::string(kUnfinishedFile), error)) {
    return FailedPrecondition("an open of " + store + " that gave up lost log records did not come to its end: repeat it first");
  }
  if (LiesWithin(to, store)) return InvalidArgument("the backup " + to + " lies in the store itself");
  if (Status s = CheckOutsideDatabases(to); !s.ok()) return s;
  std::unique_ptr<PathLock> lock;
  if (!options.dry_run) {
    fs::create_directories(to, error);
    if (error) return ErrnoStatus("cannot create " + to, error);
    Result<std::unique_ptr<PathLock>> taken = PathLock::Take(to + "/LOCK", false, "makes a backup there");
    if (!taken.ok()) return taken.status();
    lock = std::move(*taken);
  }
  Result<std::vector<BackupEntry>> entries = ListBackups(to);
  if (options.dry_run && entries.status().code() == StatusCode::kNotFound) entries = std::vector<BackupEntry>();
  if (!entries.ok()) return entries.status();

  BackupReport report;
  const BackupEntry* parent = nullptr;
  std::uint64_t number = 1;
  for (const BackupEntry& entry : *entries) {
    number = std::max(number, BackupNumber(entry.id) + 1);
    const bool same = entry.manifest.uuid == manifest->UuidHex() && entry.manifest.incarnation == manifest->incarnation;
    if (entry.status.ok() && same) parent = &entry;
  }
  report.manifest.id = BackupId(Clock::System()->NowMs(), number);
  report.manifest.uuid = manifest->UuidHex();
  report.manifest.incarnation = manifest->incarnation;
  report.manifest.shards = manifest->shards;
  report.manifest.engine = manifest->engine;
  if (parent != nullptr) report.manifest.parent = parent->id;
  report.path = to + "/" + report.manifest.id;
  Copying copying(options, context, *manifest, store, parent, &report);
  if (options.dry_run) {
    if (Status s = copying.Count(); !s.ok()) return s;
    return report;
  }
  if (Status s = TakeOverRemains(to, *entries, report.path); !s.ok()) return s;
  std::string before;
  while (true) {
    bool again = false;
    const Status s = copying.Try(&again);
    if (s.ok()) return report;
    // A checkpoint that came between says something else of the log each time: the same twice does not pass.
    const bool same = s.message() == std::exchange(before, s.message());
    if (!again || (same && s.code() != StatusCode::kUnavailable)) return s;
    if (report.attempts >= options.attempts) {
      return s.WithContext("tried " + std::to_string(report.attempts) + " times");
    }
    if (context.logger && !same)
      context.logger->Log(LogLevel::kInfo, "backup, attempt " + std::to_string(report.attempts) + ": " + s.message());
    ++report.attempts;
  }
}

Result<BackupVerification> VerifyBackup(const std::string& path, std::uint64_t bytes_per_second, const OpsContext& context) {
  const Result<std::string> found = FindBackup(path);
  if (!found.ok()) return found.status();
  Result<BackupManifest> manifest = ReadBackupManifest(*found);
  if (!manifest.ok()) return manifest.status();
  BackupVerification result;
  result.path = *found;
  result.manifest = std::move(*manifest);
  context.Begin("verify", result.manifest.bytes(), "bytes");
  Pace pace(context, bytes_per_second);
  for (const BackupFile& file : result.manifest.files) {
    const Result<std::uint32_t> crc = ChecksumOfFile(*found + "/" + file.name, file.bytes, &pace);
    if (crc.status().code() == StatusCode::kCancelled) return crc.status();
    if (crc.ok()) result.bytes += file.bytes;
    if (crc.ok() && *crc == file.crc32c) continue;
    result.problems.push_back({file.name, crc.ok() ? DataLoss("does not match its checksum") : crc.status()});
  }
  return result;
}

}  // namespace chronolith::ops

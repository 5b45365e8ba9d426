// Snapshots: a copy of both instances that is a store of its own, with an identity of its own.
#include <filesystem>
#include <utility>

#include "storage/core.h"

namespace chronolith {

// The instances of the copy still say that they are this store's. Each is opened for a moment, without the filters that drop rows:
// the one that drops what expires follows this store's floor, which may rise past the copy's.
Status Core::WriteCopyIdentity(const std::string& path, EngineOptions options, const StoreManifest& manifest) const {
  Result<std::shared_ptr<EngineFactory>> factory = options_.engines->Find(options_.engine);
  if (!factory.ok()) return factory.status();
  options.logger = options_.logger;
  options.compaction_reserve = CompactionReserve(options.instance);
  return IdentifyCopy(factory->get(), path, std::move(options), manifest);
}

Status Core::Snapshot(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!quarantine_.ok()) return quarantine_.WithContext("a snapshot needs all shards");
  if (fs::exists(path, error)) return AlreadyExists("snapshot target " + path + " exists; name a new directory");
  if (!options_.read_only) {
    if (Status status = Checkpoint(); !status.ok()) return status;
  }
  fs::create_directories(path, error);
  if (error) return IoError("cannot create snapshot directory " + path + ": " + error.message());
  Status status;
  {
    MutexLock upkeep(&upkeep_mu_);  // holds trimming
    // Data before log: what the data lacks is in the log, which is not trimmed meanwhile.
    status = data_engine_->CreateCheckpoint(path + "/data");
    if (status.ok() && !options_.read_only) status = SyncLog();
    if (status.ok()) status = log_engine_->CreateCheckpoint(path + "/log");
  }
  const StoreManifest manifest = ManifestOfCopy(manifest_);
  if (status.ok()) status = WriteCopyIdentity(path + "/data", data_options_, manifest);
  if (status.ok()) status = WriteCopyIdentity(path + "/log", log_options_, manifest);
  // Last: a directory without it is no store.
  if (status.ok()) status = WriteStoreManifest(path, manifest);
  return status.ok() ? status : status.WithContext("snapshot " + path);
}

}  // namespace chronolith

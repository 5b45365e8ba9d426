// Checkpoints, export and import of families.
#include <rocksdb/table_properties.h>
#include <rocksdb/utilities/checkpoint.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "plugins/common/engine_checks.h"
#include "plugins/rocksdb/export_manifest.h"
#include "plugins/rocksdb/file_sync.h"
#include "plugins/rocksdb/rocksdb_impl.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

Status CheckNew(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error)) return AlreadyExists("'" + path + "' exists");
  const fs::path parent = fs::absolute(path, error).parent_path();
  if (!fs::is_directory(parent, error)) return NotFound("'" + parent.string() + "' is not a directory");
  return Status::Ok();
}

bool HasRangeTombstones(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family) {
  rocksdb::TablePropertiesCollection tables;
  if (!db->GetPropertiesOfAllTables(family, &tables).ok()) return true;
  for (const auto& [file, properties] : tables) {
    if (properties->num_range_deletions > 0) return true;
  }
  return false;
}

}  // namespace

Status RocksDbEngine::CreateCheckpoint(const std::string& path) {
  if (Status s = CheckNew(path); !s.ok()) return s;
  if (options_.read_only) return FailedPrecondition("'" + path_ + "' is open read-only");
  if (Status s = SyncLog(); !s.ok()) return s;
  rocksdb::Checkpoint* checkpoint = nullptr;
  if (rocksdb::Status s = rocksdb::Checkpoint::Create(db_.get(), &checkpoint); !s.ok()) return FromRocks(s);
  const std::unique_ptr<rocksdb::Checkpoint> owner(checkpoint);
  // A log instance's log is complete: copying it is cheaper than flushing memtables that are about to be trimmed.
  const bool log_is_complete = TuningOf(options_.instance).log_every_write;
  const std::uint64_t flush_from_log_bytes = log_is_complete ? std::numeric_limits<std::uint64_t>::max() : 0;
  if (!log_is_complete) {  // the flush of the copying itself is not waited for after a full disk (FlushAndWait)
    std::vector<FamilyId> families;
    for (FamilyId i = 0; i < options_.families.size(); ++i) {
      if (families_[i].damage.ok()) families.push_back(i);
    }
    if (Status s = Flush(families); !s.ok()) return s;
  }
  const rocksdb::Status s = checkpoint->CreateCheckpoint(path, flush_from_log_bytes);
  if (!s.ok()) return FromRocks(s).WithContext("copying '" + path_ + "' to '" + path + "'");
  return SyncTree(db_->GetEnv(), path);  // 7.8.3 links log files that are not synced
}

Status RocksDbEngine::ExportFamily(FamilyId family, const std::string& path) {
  if (Status s = CheckFamily(family, true); !s.ok()) return s;
  if (Status s = CheckNew(path); !s.ok()) return s;
  // Importing loses range tombstones before RocksDB 8.1: compacting the whole family applies and removes them.
  if (Status s = Flush(std::span<const FamilyId>(&family, 1)); !s.ok()) return s;
  if (HasRangeTombstones(db_.get(), Handle(family))) {
    if (Status s = Compact(family, "", std::nullopt); !s.ok()) return s;
    if (HasRangeTombstones(db_.get(), Handle(family))) {
      return FailedPrecondition("family '" + options_.families[family].name +
                                "' holds range tombstones, which an export would lose");
    }
  }
  rocksdb::Checkpoint* checkpoint = nullptr;
  if (rocksdb::Status s = rocksdb::Checkpoint::Create(db_.get(), &checkpoint); !s.ok()) return FromRocks(s);
  const std::unique_ptr<rocksdb::Checkpoint> owner(checkpoint);
  rocksdb::ExportImportFilesMetaData* exported = nullptr;
  const rocksdb::Status s = checkpoint->ExportColumnFamily(Handle(family), path, &exported);
  const std::unique_ptr<rocksdb::ExportImportFilesMetaData> files(exported);
  if (!s.ok()) return FromRocks(s).WithContext("exporting family '" + options_.families[family].name + "'");
  if (Status w = WriteSyncedFile(db_->GetEnv(), path + "/" + kExportManifestName, EncodeExportManifest(*files)); !w.ok()) return w;
  return SyncTree(db_->GetEnv(), path);
}

Status RocksDbEngine::ImportFamily(FamilyId family, const std::string& path) {
  if (Status s = CheckFamily(family, true); !s.ok()) return s;
  std::ifstream file(path + "/" + kExportManifestName, std::ios::binary);
  if (!file) return NotFound("there is no family export at '" + path + "'");
  std::ostringstream bytes;
  bytes << file.rdbuf();
  const auto files = DecodeExportManifest(bytes.str(), path);
  if (!files.ok()) return files.status();

  MutexLock lock(&epochs_mu_);  // no writes meanwhile
  {
    auto it = NewIterator(family, {.fill_cache = false});
    if (!it.ok()) return it.status();
    (*it)->Seek("");
    if ((*it)->Valid()) return FailedPrecondition("family '" + options_.families[family].name + "' is not empty");
    if (Status s = (*it)->status(); !s.ok()) return s;
  }
  if (files->files.empty()) return Status::Ok();
  return ReplaceByImport(family, *files);
}

Status RocksDbEngine::ReplaceByImport(FamilyId family, const rocksdb::ExportImportFilesMetaData& files) {
  const FamilySpec& spec = options_.families[family];
  rocksdb::ColumnFamilyHandle* old = Handle(family);
  rocksdb::ColumnFamilyDescriptor tuned;
  if (rocksdb::Status s = old->GetDescriptor(&tuned); !s.ok()) return FromRocks(s);
  if (rocksdb::Status s = db_->DropColumnFamily(old); !s.ok()) return FromRocks(s);
  rocksdb::ColumnFamilyHandle* imported = nullptr;
  rocksdb::Status s = db_->CreateColumnFamilyWithImport(tuned.options, spec.name, {}, files, &imported);
  if (!s.ok()) {
    // Leave the family as it was found: there and empty.
    const Status failed = FromRocks(s).WithContext("importing family '" + spec.name + "'");
    if (rocksdb::Status again = db_->CreateColumnFamily(tuned.options, spec.name, &imported); !again.ok()) return FromRocks(again);
    families_[family].handle = imported;
    events_->SetHandle(db_.get(), spec.name, imported);
    retired_.push_back(old);
    return failed;
  }
  families_[family].handle = imported;
  events_->SetHandle(db_.get(), spec.name, imported);
  retired_.push_back(old);
  return Status::Ok();
}

}  // namespace chronolith

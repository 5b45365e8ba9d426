#include "storage/store_directory.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <vector>

#include "base/posix_file.h"
#include "index/postings_merge.h"

namespace chronolith {
std::string DataInstancePath(const std::string& path) { return path + "/data"; }

std::string LogInstancePath(const std::string& path, const StoreManifest& manifest) {
  return manifest.log_path.empty() ? path + "/log" : manifest.log_path;
}

EngineOptions DataInstanceOptions(const StoreManifest& manifest) {
  EngineOptions options;
  options.instance = InstanceRole::kData;
  options.families.push_back({"meta", FamilyRole::kMeta, nullptr, nullptr});
  const auto postings_merge = std::make_shared<PostingsMergeFunction>();
  for (ShardId i = 0; i < manifest.shards; ++i) {
    options.families.push_back({"index." + std::to_string(i), FamilyRole::kIndex, postings_merge, nullptr});
    options.families.push_back({"chunk." + std::to_string(i), FamilyRole::kChunk, nullptr, nullptr});
  }
  return options;
}

EngineOptions LogInstanceOptions(const StoreManifest& manifest) {
  EngineOptions options;
  options.instance = InstanceRole::kLog;
  options.families.push_back({"meta", FamilyRole::kMeta, nullptr, nullptr});
  for (ShardId i = 0; i < manifest.shards; ++i)
    options.families.push_back({"wal." + std::to_string(i), FamilyRole::kWal, nullptr, nullptr});
  return options;
}

namespace {

bool HoldsInstances(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path + "/data/CURRENT", ignored) || std::filesystem::exists(path + "/log/CURRENT", ignored);
}

std::string ManifestIsLost() {
  return ". Affected: all shards. There are files of a database, so its manifest was lost: put it back, every backup has it; else "
         "`chronolith salvage` makes a new database of what is there";
}

}  // namespace

Result<StoreManifest> ReadStoreManifest(const std::string& path) {
  const std::string file = path + "/" + std::string(kStoreFile);
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR)
      return NotFound("there is no database (no file " + file + ")" + (HoldsInstances(path) ? ManifestIsLost() : ""));
    return ErrnoStatus("cannot read " + file, error);
  }
  std::stringstream bytes;
  bytes << in.rdbuf();
  const std::string content = bytes.str();
  if (!content.starts_with(kStoreMagic)) {
    const std::string why = file + " is not a Chronolith manifest";
    return HoldsInstances(path) ? DataLoss(why + ManifestIsLost()) : FailedPrecondition(why + ": this is no database");
  }
  Result<StoreManifest> manifest = DecodeManifest(std::string_view(content).substr(kStoreMagic.size()));
  if (manifest.status().code() == StatusCode::kDataLoss) {
    return DataLoss(
        file + ": " + manifest.status().message() +
        ". Affected: all shards. Put it back, or restore a snapshot or a backup of the store; else `chronolith salvage` "
        "makes a new database of what is there");
  }
  return manifest.ok() ? std::move(manifest) : manifest.status().WithContext(file);
}

Status WriteStoreManifest(const std::string& path, const StoreManifest& manifest) {
  if (Status s = WriteSyncedFile(path, kStoreFile, std::string(kStoreMagic) + EncodeManifest(manifest)); !s.ok()) return s;
  // The directory itself may be new. One that may not be read belongs to somebody else, who made what is in it.
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::canonical(path, error).parent_path();
  if (error) return ErrnoStatus("cannot resolve " + path, error);
  const Status synced = SyncDirectory(parent.string());
  return synced.code() == StatusCode::kPermissionDenied ? Status::Ok() : synced;
}

Status CreationCutShort() {
  return NotFound(
      "the database is not made to its end: that was cut short, or is under way, and nothing was written to it yet. Who opens it "
      "for writing next (`chronolith recover`, an import) makes the rest; or remove the directory");
}

StoreManifest ManifestOfCopy(const StoreManifest& manifest) {
  StoreManifest copy = manifest;
  copy.log_path.clear();
  copy.complete = true;
  // Random, not the next number: two copies of one store must differ from each other as well.
  copy.parent = manifest.incarnation;
  std::random_device random;
  while (copy.incarnation == manifest.incarnation || copy.incarnation <= 1) {
    copy.incarnation = static_cast<std::uint64_t>(random()) << 32 | random();
  }
  return copy;
}

Status WriteIdentity(KvEngine* engine, const StoreManifest& manifest, std::span<const Op> more) {
  const std::string value = EncodeManifest(manifest);
  std::vector<Op> ops = {{Op::Type::kPut, kStoreKey, value}};
  ops.insert(ops.end(), more.begin(), more.end());
  const Batch batch{kMetaFamily, {}, 0, ops};
  EngineWriteOptions write;
  write.durability = Durability::kSynced;
  return engine->Write({&batch, 1}, write)[0];
}

Status IdentifyCopy(EngineFactory* factory, const std::string& path, EngineOptions options, const StoreManifest& manifest) {
  options.create_if_missing = false;
  options.read_only = false;
  options.background_threads = 1;
  Result<std::unique_ptr<KvEngine>> engine = factory->Open(path, options);
  if (!engine.ok()) return engine.status();
  const Status status = WriteIdentity(engine->get(), manifest);
  const Status closed = (*engine)->Close();
  return status.ok() ? closed : status;
}

Status CheckIdentity(KvEngine* engine, const StoreManifest& manifest, std::string_view instance) {
  std::string value;
  const std::string name = std::string(instance) + " instance";
  if (Status s = engine->Get(kMetaFamily, kStoreKey, &value); !s.ok()) return s.WithContext(name);
  const Result<StoreManifest> found = DecodeManifest(value);
  if (!found.ok()) return found.status().WithContext(name);
  if (found->uuid == manifest.uuid && found->incarnation == manifest.incarnation) return Status::Ok();
  return FailedPrecondition("the " + name + " belongs to store " + found->UuidHex() + " incarnation " +
                            std::to_string(found->incarnation) + ", the directory to " + manifest.UuidHex() + " incarnation " +
                            std::to_string(manifest.incarnation) + ": log and data of different copies were mixed");
}

}  // namespace chronolith

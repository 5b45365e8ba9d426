#include "ops/reshard_source.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/heap.h"
#include "base/posix_file.h"
#include "ops/target_path.h"
#include "ops/writing_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMemoryMin = 64ULL << 20;  // of a store
constexpr char kOfCopy[] = "on a copy: ";

StoreMoment MomentOf(const StoreManifest& manifest, const StorageStats& stats) {
  StoreMoment moment{.uuid = manifest.UuidHex(), .incarnation = manifest.incarnation, .logs = {}};
  for (const ShardStats& shard : stats.shards) moment.logs.push_back({shard.epoch, shard.last_lsn});
  return moment;
}

Status CheckWhole(const StorageStats& stats) {
  for (const ShardStats& shard : stats.shards) {
    if (shard.quarantine.empty()) continue;
    return DataLoss(shard.quarantine +
                    ". A reshard takes a whole database: put the file back, restore a backup, or salvage what is "
                    "sound into a new database and reshard that");
  }
  return Status::Ok();
}

// Of the files in a directory; 0 where there is none.
std::uint64_t FileBytes(const std::string& directory) {
  std::error_code error;
  std::uint64_t bytes = 0;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    const std::uintmax_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

Options ReshardStoreOptions(const std::string& engine, StoreUse use, const OpsContext& context, std::uint64_t other_bytes) {
  Options options;
  options.engine = engine;
  options.create_if_missing = false;
  options.read_only = use == StoreUse::kRead;
  const std::uint64_t stores = StoreMemoryBytes(context.memory_limit_bytes);
  const std::uint64_t other = std::min(std::max({stores / 3, kMemoryMin, other_bytes}), stores);
  options.memory_limit_bytes = std::max(use == StoreUse::kRead ? stores / 3 : stores - other, kMemoryMin);
  options.checkpoint_bytes = options.memory_limit_bytes / 8;
  options.logger = context.logger;
  options.scrub_interval_ms = 0;
  return options;
}

Result<ReshardSource> ReshardSource::Open(const std::string& path, const ReshardOptions& options, const OpsContext& context,
                                          const std::string& copies) {
  ReshardSource source;
  Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return manifest.status();
  source.manifest = std::move(*manifest);
  const std::string log_path = options.log_path.empty() ? LogInstancePath(path, source.manifest) : options.log_path;
  if (!copies.empty() && FileBytes(log_path) > context.memory_limit_bytes / 64) {
    auto copy = Rehearsal::Prepare(path, options.log_path, context, copies);
    if (!copy.ok()) return copy.status();
    source.copy = std::move(*copy);
    if (Status s = source.Recover(context); !s.ok()) return source.OfSource(s);
  }
  Options reading = ReshardStoreOptions(source.manifest.engine, StoreUse::kRead, context);
  reading.log_path = options.log_path;
  if (source.copy != nullptr) {
    reading.log_path = source.copy->log_path();
    reading.logger = source.copy->LoggerOfSource(reading.logger, kOfCopy);
  }
  Result<std::unique_ptr<Storage>> store = Storage::Open(reading, source.copy != nullptr ? source.copy->path() : path);
  if (!store.ok()) return source.OfSource(store.status());
  source.store = std::move(*store);
  const StorageStats stats = source.store->Stats();
  if (Status s = CheckWhole(stats); !s.ok()) return source.OfSource(s);
  if (source.copy == nullptr) source.moment = MomentOf(source.manifest, stats);
  source.memory_bytes = stats.memory_used_bytes;
  for (const FamilyStats& family : stats.data_engine.families) source.data_bytes += family.file_bytes;
  for (const ShardStats& shard : stats.shards) source.log_bytes += shard.wal_bytes_pinned;
  return source;
}

// Within the memory of a store that has a program of its own.
Status ReshardSource::Recover(const OpsContext& context) {
  context.Begin("recovering a copy", 0, "bytes");
  Options options = ReshardStoreOptions(manifest.engine, StoreUse::kWrite, context);
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  options.background_compaction = false;
  options.log_path = copy->log_path();
  options.logger = copy->LoggerOfSource(options.logger, kOfCopy);
  Result<std::unique_ptr<Storage>> recovered = OpenToWrite(options, copy->path(), context);
  if (!recovered.ok()) return recovered.status();
  const StorageStats stats = (*recovered)->Stats();
  if (Status s = CheckWhole(stats); !s.ok()) return s;
  // As a reader sees the source: to each log the opening has added the record that its epoch begins with.
  moment = MomentOf(manifest, stats);
  for (StoreMoment::Log& log : moment.logs) --log.lsn;
  Status status = context.CheckCancelled();
  if (status.ok()) status = (*recovered)->Checkpoint();
  const Status closed = (*recovered)->Close();
  recovered->reset();
  ReturnFreedMemory(context.memory_limit_bytes / 2);
  return status.ok() ? closed : status;
}

Status ReshardSource::OfSource(const Status& status) const {
  return status.ok() || copy == nullptr ? status : Status(status.code(), copy->OfSource(status.message()));
}

std::uint64_t ReshardSource::RoomNeeded(const OpsContext& context) const {
  const std::uint64_t log = 2 * ReshardStoreOptions(manifest.engine, StoreUse::kWrite, context).checkpoint_bytes + (16ULL << 20);
  return (data_bytes + log_bytes) * 3 / 2 + log;
}

Status CheckReshard(const std::string& source, const std::string& target, const ReshardOptions& options) {
  if (options.shards < 1 || options.shards > kReshardShardsMax) {
    return InvalidArgument("a database has 1 to 31 shards, not " + std::to_string(options.shards));
  }
  std::error_code error;
  if (target.empty()) return InvalidArgument("the new database needs a directory");
  if (fs::weakly_canonical(source, error) == fs::weakly_canonical(target, error)) {
    return InvalidArgument("the new database cannot be where the old one is");
  }
  return CheckOutsideDatabases(target);
}

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Result<std::uint64_t> FreeBytes(const std::string& target) {
  const fs::path parent = fs::absolute(target).parent_path();
  std::error_code error;
  const std::uintmax_t free = fs::space(parent, error).available;
  if (error) return ErrnoStatus("cannot look at the disk of " + parent.string(), error);
  return static_cast<std::uint64_t>(free);
}

}  // namespace chronolith::ops

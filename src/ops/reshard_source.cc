#include "ops/reshard_source.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/posix_file.h"
#include "ops/disk_room.h"
#include "ops/target_path.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMemoryMin = 64ULL << 20;  // of a store
constexpr std::uint64_t kLogPart = 256;            // of the memory limit: a log that takes more is recovered in a copy

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
  if (!copies.empty() && LogBytes(path, options.log_path) > context.memory_limit_bytes / kLogPart) {
    if (Status s = source.RecoverCopy(path, options.log_path, context, copies); !s.ok()) return s;
  }
  Options reading = ReshardStoreOptions(source.manifest.engine, StoreUse::kRead, context);
  reading.log_path = options.log_path;
  if (source.copy != nullptr) reading = source.copy->OptionsOf(reading);
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

Status ReshardSource::RecoverCopy(const std::string& path, const std::string& log_path, const OpsContext& context,
                                  const std::string& parent) {
  auto prepared = RecoveredCopy::Prepare(path, log_path, context, parent);
  if (!prepared.ok()) return prepared.status();
  copy = std::move(*prepared);
  if (Status s = copy->Recover(context); !s.ok()) return s;
  if (Status s = CheckWhole(copy->found()); !s.ok()) return OfSource(s);
  // As a reader sees the source: to each log the opening has added the record that its epoch begins with.
  moment = MomentOf(manifest, copy->found());
  for (StoreMoment::Log& log : moment.logs) --log.lsn;
  return Status::Ok();
}

Status ReshardSource::OfSource(const Status& status) const { return copy == nullptr ? status : copy->OfSource(status); }

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

}  // namespace chronolith::ops

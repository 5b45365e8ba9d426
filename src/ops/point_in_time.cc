#include "ops/point_in_time.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "chronolith/engine_registry.h"
#include "chronolith/storage.h"
#include "format/wal_record.h"
#include "interop/time_text.h"
#include "ops/backup.h"
#include "ops/context.h"
#include "ops/work_share.h"
#include "ops/writing_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kWriteBytes = 4 << 20;  // of rows, at once

Result<RestoreBase> PlanFor(const std::string& path, const PointInTime& point, const OpsContext& context) {
  const Result<BackupManifest> backup = ReadBackupManifest(path);
  if (!backup.ok()) return backup.status();
  const Result<StoreManifest> store = ReadStoreManifest(path);
  if (!store.ok()) return store.status();
  const Result<LogEnds> ends = ReadLogEnds(path + "/log", *store, context);
  if (!ends.ok()) return ends.status();
  Result<ArchivePlan> plan = PlanArchive(point.archive, *store, *ends, backup->taken_ms, point.to_ms, context);
  if (!plan.ok()) return plan.status();
  return RestoreBase{path, std::move(*plan), {}};
}

std::string Until(std::int64_t ms) { return interop::FormatTime(ms); }

Status TooLate(const RestoreBase& base, std::int64_t to_ms) {
  return FailedPrecondition("the backup " + base.path + " holds what was written until " + Until(base.plan.base_ms) +
                            ", later than " + Until(to_ms) + ": name an earlier backup");
}

// The plan, where it goes as far as it should.
Result<RestoreBase> Accept(RestoreBase base, const PointInTime& point) {
  const ArchivePlan& plan = base.plan;
  if (plan.complete.ok() || point.allow_earlier) return base;
  return Status(plan.complete.code(), plan.complete.message() + ". With the backup " + base.path +
                                          " it can be restored as it was at " + Until(plan.reached_ms) +
                                          " at the latest: ask for that time, or allow an earlier one");
}

// Writes rows of all shards in batches. Thread safety: one thread.
class RowWriter {
 public:
  RowWriter(KvEngine* engine, std::vector<Epoch> epochs) : engine_(engine), epochs_(std::move(epochs)), ops_(epochs_.size()) {}

  Status Add(const ArchivedRow& row) {
    keys_.push_back(WalKey(row.first_lsn));
    values_.emplace_back(row.value);
    ops_[row.shard].push_back({Op::Type::kPut, keys_.back(), values_.back()});
    bytes_ += row.value.size();
    return bytes_ < kWriteBytes ? Status::Ok() : Write();
  }
  Status Write() {
    std::vector<Batch> batches;
    for (ShardId shard = 0; shard < ops_.size(); ++shard) {
      if (!ops_[shard].empty()) batches.push_back({WalFamily(shard), {}, epochs_[shard], ops_[shard]});
    }
    EngineWriteOptions how;
    how.durability = Durability::kLogged;
    for (const Status& s : engine_->Write(batches, how)) {
      if (!s.ok()) return s.WithContext("writing archived rows");
    }
    for (std::vector<Op>& ops : ops_) ops.clear();
    keys_.clear();
    values_.clear();
    bytes_ = 0;
    return Status::Ok();
  }

 private:
  KvEngine* const engine_;
  const std::vector<Epoch> epochs_;  // of each shard's family
  std::vector<std::vector<Op>> ops_;
  std::deque<std::string> keys_, values_;
  std::uint64_t bytes_ = 0;
};

Status AddRows(const ArchivePlan& plan, KvEngine* engine, const StoreManifest& manifest, const OpsContext& context) {
  std::vector<Epoch> epochs;
  std::vector<FamilyId> families;
  for (ShardId shard = 0; shard < manifest.shards; ++shard) {
    const FamilyId family = WalFamily(shard);
    const Result<Epoch> epoch = engine->CurrentEpoch(family);
    if (!epoch.ok()) return epoch.status();
    // The next opening must be later than all that it replays.
    if (plan.epoch_max > *epoch) {
      if (Status s = engine->AcquireEpoch(family, plan.epoch_max); !s.ok()) return s;
    }
    epochs.push_back(std::max(*epoch, plan.epoch_max));
    families.push_back(family);
  }
  RowWriter writer(engine, std::move(epochs));
  context.Begin("adding archived rows", plan.bytes, "bytes");
  OpsContext silent = context;
  silent.progress = nullptr;
  const auto add = [&](const ArchivedRow& row, const WalRowHeader&) {
    context.Add(row.value.size());
    return writer.Add(row);
  };
  if (Status s = ReadArchive(plan, silent, add); !s.ok()) return s;
  if (Status s = writer.Write(); !s.ok()) return s;
  // Into tables: the next opening holds none of it in memory.
  return engine->Flush(families);
}

}  // namespace

Result<RestoreBase> ChooseBase(const std::string& from, const PointInTime& point, const OpsContext& context) {
  std::error_code error;
  if (std::filesystem::exists(from + "/" + std::string(kBackupFile), error)) {
    Result<RestoreBase> base = PlanFor(from, point, context);
    if (!base.ok()) return base.status();
    if (point.to_ms && base->plan.base_ms > *point.to_ms) return TooLate(*base, *point.to_ms);
    return Accept(std::move(*base), point);
  }
  const Result<ArchiveHeader> archive = ReadArchiveIdentity(point.archive);
  if (!archive.ok()) return archive.status();
  StoreManifest store;
  store.uuid = archive->uuid;
  const Result<std::vector<BackupEntry>> entries = ListBackups(from);
  if (!entries.ok()) return entries.status();
  Status too_late;
  Status unusable;  // the newest
  std::vector<std::string> passed_by;
  const auto pass_by = [&](const Status& why) {
    if (unusable.ok()) unusable = why;
    passed_by.push_back(why.message());
  };
  for (auto entry = entries->rbegin(); entry != entries->rend(); ++entry) {
    if (entry->complete && !entry->status.ok()) pass_by(entry->status);
    const BackupManifest& m = entry->manifest;
    if (!entry->status.ok() || m.uuid != store.UuidHex() || m.incarnation != archive->incarnation) continue;
    const std::string path = from + "/" + entry->id;
    Result<RestoreBase> base = PlanFor(path, point, context);
    if (base.status().code() == StatusCode::kCancelled) return base.status();
    if (!base.ok()) {
      pass_by(base.status().WithContext("the backup " + path));
      continue;
    }
    if (point.to_ms && base->plan.base_ms > *point.to_ms) {
      too_late = TooLate(*base, *point.to_ms);
      continue;
    }
    base->passed_by = passed_by;
    base = Accept(std::move(*base), point);
    if (base.ok() || unusable.ok()) return base;
    return Status(base.status().code(), base.status().message() + ". Newer ones were passed by: " + unusable.message());
  }
  if (!too_late.ok()) {
    too_late = too_late.WithContext("all backups in " + from + " are later; the earliest");
    return unusable.ok() ? too_late
                         : Status(too_late.code(), too_late.message() + ". Others were passed by: " + unusable.message());
  }
  if (!unusable.ok()) return unusable;
  return NotFound("there is no complete backup in " + from + " of the store that the archive " + point.archive + " belongs to (" +
                  store.UuidHex() + " incarnation " + std::to_string(archive->incarnation) + ")");
}

Status AddArchivedRows(const ArchivePlan& plan, const std::string& path, const StoreManifest& manifest, const OpsContext& context) {
  if (plan.rows == 0) return Status::Ok();
  const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(manifest.engine);
  if (!factory.ok()) return factory.status();
  EngineOptions options = LogInstanceOptions(manifest);
  options.create_if_missing = false;
  options.logger = context.logger;
  Result<std::unique_ptr<KvEngine>> engine = (*factory)->Open(path, options);
  if (!engine.ok()) return engine.status();
  const Status status = AddRows(plan, engine->get(), manifest, context);
  const Status closed = (*engine)->Close();
  return status.ok() ? closed : status;
}

Status StoreReplayed(const std::string& path, const std::string& engine, const OpsContext& context) {
  Options options;
  options.create_if_missing = false;
  options.engine = engine;
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  options.scrub_interval_ms = 0;
  options.logger = context.logger;
  options.wait_for_replay = false;  // so that replay can be interrupted
  options.on_replay = TellReplay(context, "replaying archived rows");
  Result<std::unique_ptr<Storage>> store = OpenToWrite(options, path, context);
  if (!store.ok()) return store.status();
  Status status;
  do {
    status = (*store)->WaitReady(std::chrono::steady_clock::now() + std::chrono::milliseconds(100));
    if (Status s = context.CheckCancelled(); !s.ok()) status = s;
  } while (status.code() == StatusCode::kResourceExhausted);
  if (status.ok()) status = (*store)->Checkpoint();
  const Status closed = (*store)->Close();
  return status.ok() ? closed : status;
}

}  // namespace chronolith::ops

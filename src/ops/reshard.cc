#include "ops/reshard.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "base/heap.h"
#include "base/posix_file.h"
#include "chronolith/storage.h"
#include "ops/disk_room.h"
#include "ops/file_copy.h"
#include "ops/process_pace.h"
#include "ops/reader_lock.h"
#include "ops/reshard_progress.h"
#include "ops/reshard_source.h"
#include "ops/store_compare.h"
#include "ops/temporary_directory.h"
#include "ops/whole_store.h"
#include "ops/writing_store.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

class Resharding {
 public:
  Resharding(std::string source, std::string target, const ReshardOptions& options, const OpsContext& context,
             ReshardReport* report)
      : source_path_(std::move(source)),
        target_(std::move(target)),
        work_(target_ + ".resharding"),
        db_(work_ + "/db"),
        progress_file_(work_ + "/" + std::string(kReshardProgressFile)),
        done_file_(target_ + ".resharded"),
        options_(options),
        context_(context),
        report_(report) {}

  Status Run() {
    if (Status s = Prepare(); !s.ok()) return s;
    const auto mine = PathLock::Take(work_, true, "reshards to " + target_);
    if (!mine.ok()) return mine.status();
    TemporaryDirectory::RemoveLeft(work_);
    const Status status = RunAlone();
    std::error_code error;
    if (!status.ok()) fs::remove(work_, error);  // where it is empty: nothing is there to go on with
    return status;
  }

 private:
  Status RunAlone() {
    bool renamed = false;
    if (Status s = LoadProgress(&renamed); !s.ok()) return s;
    if (renamed) return Finish();
    const auto lock = ReaderLock::Take(source_path_, options_.log_path);
    if (!lock.ok()) return lock.status();
    if (Status s = CopyAndCompare(); !s.ok()) return s;
    const Result<StorageStats> whole = CheckWholeStore(db_, manifest_.engine, true, context_);
    if (!whole.ok()) {
      return whole.status().code() == StatusCode::kCancelled ? whole.status()
                                                             : whole.status().WithContext("the copy does not check");
    }
    if (Status s = Publish(); !s.ok()) return s;
    return Finish();
  }

  Status Prepare() {
    std::error_code error;
    const bool begun = fs::is_directory(work_, error) || fs::exists(done_file_, error);
    if (!begun && fs::exists(fs::symlink_status(target_, error))) return TargetExists();
    Result<StoreManifest> source = ReadStoreManifest(source_path_);
    if (!source.ok()) return source.status();
    manifest_ = std::move(*source);
    fs::create_directory(work_, error);
    if (error) return ErrnoStatus("cannot create " + work_, error);
    for (const auto& entry : fs::directory_iterator(work_, error)) {
      const std::string name = entry.path().filename().string();
      if (name != "db" && !name.starts_with(kReshardProgressFile) && !name.starts_with("chronolith-")) {
        return FailedPrecondition(work_ + " is not what a reshard has left: it holds " + name + "; move it away");
      }
    }
    return error ? ErrnoStatus("cannot read " + work_, error) : Status::Ok();
  }

  Status TargetExists() const { return AlreadyExists(target_ + " exists: name a new directory"); }

  // *renamed: all is done but for removing the working directory.
  Status LoadProgress(bool* renamed) {
    Result<ReshardProgress> progress = ReadReshardProgress(progress_file_);
    const bool done = progress.status().code() == StatusCode::kNotFound;  // or not begun
    if (done) progress = ReadReshardProgress(done_file_);
    const StatusCode code = progress.status().code();
    if (!progress.ok() && code != StatusCode::kNotFound && !options_.restart) {
      return progress.status().WithContext("--restart begins anew");
    }
    std::error_code error;
    const Result<StoreManifest> there = ReadStoreManifest(target_);
    *renamed = progress.ok() && progress->step == ReshardStep::kCompared && there.ok() && !fs::exists(db_, error) &&
               there->UuidHex() == progress->target_uuid && progress->source.uuid == manifest_.UuidHex() &&
               progress->shards == options_.shards;
    if (!*renamed && fs::exists(fs::symlink_status(target_, error))) return TargetExists();
    if (progress.ok() && (*renamed || (!done && !options_.restart))) progress_ = std::move(*progress);
    if (*renamed) return Status::Ok();
    if (!done || !progress.ok()) return Status::Ok();
    fs::remove(done_file_, error);  // of a target that has gone since
    return error ? ErrnoStatus("cannot remove " + done_file_, error) : Status::Ok();
  }

  Status CopyAndCompare() {
    Result<ReshardSource> opened = ReshardSource::Open(source_path_, options_, context_, work_);
    if (!opened.ok()) return opened.status();
    ReshardSource source = std::move(*opened);
    manifest_ = source.manifest;
    report_->source_bytes = source.data_bytes;
    if (Status s = CheckProgress(source); !s.ok()) return s;
    if (Status s = LookForRoom(source); !s.ok()) return s;
    const Result<ProcessPace> pace = ProcessPace::Start(context_, options_.bytes_per_second);
    if (!pace.ok()) return pace.status();
    Status status = progress_ && progress_->step != ReshardStep::kCopying ? Status::Ok() : Copy(source, *pace);
    if (status.ok() && progress_->step == ReshardStep::kCopied) status = Compare(source, *pace);
    const Status closed = source.store->Close();
    return source.OfSource(status.ok() ? closed : status);
  }

  // What was left must be of this source, as it is now, and of the same kind. What is unusable of our own is removed.
  Status CheckProgress(const ReshardSource& source) {
    if (progress_) {
      const bool same_store = progress_->source.uuid == source.moment.uuid;
      if (!same_store || progress_->shards != options_.shards || progress_->series_at_once != kCopyAtOnce) {
        return FailedPrecondition(work_ + " is of another reshard (" + (same_store ? "" : "of another database, ") + "to " +
                                  std::to_string(progress_->shards) + " shards): finish that one, or --restart begins anew");
      }
      if (progress_->source != source.moment) {
        return FailedPrecondition(source_path_ + " was opened for writing since this reshard was begun: --restart begins anew");
      }
    }
    const Result<StoreManifest> there = ReadStoreManifest(db_);
    if (progress_ && there.ok() && there->UuidHex() == progress_->target_uuid) return Status::Ok();
    progress_.reset();
    std::error_code error;
    if (Status s = RemoveSyncedFile(work_, kReshardProgressFile); !s.ok()) return s;
    fs::remove_all(db_, error);
    return error ? ErrnoStatus("cannot remove " + db_, error) : Status::Ok();
  }

  Status LookForRoom(const ReshardSource& source) {
    const Result<DiskRoom> room = RoomFor(target_);
    if (!room.ok()) return room.status();
    const std::uint64_t needed = source.RoomNeeded(context_);
    const std::uint64_t there = FileBytes(DataInstancePath(db_)) + FileBytes(LogInstancePath(db_, {}));
    report_->room_needed = needed - std::min(needed, there);
    report_->room_free = room->free;
    return CheckRoom(target_, room->free, report_->room_needed);
  }

  Result<std::unique_ptr<Storage>> OpenTarget(StoreUse use, const ReshardSource& source) const {
    Options options = ReshardStoreOptions(manifest_.engine, use, context_, source.memory_bytes);
    options.create_if_missing = use == StoreUse::kWrite;
    options.shards = static_cast<int>(options_.shards);
    options.window_ms = manifest_.window_ms;
    options.background_compaction = false;
    // What the source has taken, under whatever limits, is taken here.
    options.max_series = std::numeric_limits<std::uint64_t>::max();
    options.max_labels_per_series = std::numeric_limits<std::uint32_t>::max();
    options.max_label_name_bytes = std::numeric_limits<std::uint32_t>::max();
    options.max_label_value_bytes = std::numeric_limits<std::uint32_t>::max();
    return OpenToWrite(options, db_, context_);
  }

  Status SaveProgress() const { return WriteSyncedFile(work_, kReshardProgressFile, EncodeReshardProgress(*progress_)); }

  Status Copy(const ReshardSource& source, const ProcessPace& pace) {
    const Result<std::unique_ptr<Storage>> target = OpenTarget(StoreUse::kWrite, source);
    if (!target.ok()) return target.status();
    Storage* const to = target->get();
    if (!progress_) {
      const Result<StoreManifest> made = ReadStoreManifest(db_);
      if (!made.ok()) return made.status();
      progress_ = ReshardProgress{.source = source.moment, .target_uuid = made->UuidHex(), .shards = options_.shards};
      progress_->series_at_once = kCopyAtOnce;
      if (Status s = SaveProgress(); !s.ok()) return s;
    }
    report_->resumed = progress_->position;
    StoreCopyReport copied;
    std::uint64_t synced = 0;  // items
    StoreCopyOptions options{.position = progress_->position, .batch_items = options_.batch_items};
    options.on_batch = [&](std::uint64_t position) {
      if (copied.copied.items() - synced >= options_.sync_items || pace.Owes()) {
        synced = copied.copied.items();
        if (Status s = to->Flush(); !s.ok()) return s;
        progress_->position = position;
        if (Status s = SaveProgress(); !s.ok()) return s;
        if (options_.on_synced) options_.on_synced(position);
      }
      return pace.Wait();
    };
    Status status = CopyStore(context_, source.store.get(), to, options, &copied);
    if (status.ok()) status = to->Checkpoint();
    const Status closed = to->Close();
    ReturnFreedMemory(context_.memory_limit_bytes / 2);
    if (!status.ok()) return status;
    if (!closed.ok()) return closed;
    progress_->step = ReshardStep::kCopied;
    return SaveProgress();
  }

  Status Compare(const ReshardSource& source, const ProcessPace& pace) {
    const Result<std::unique_ptr<Storage>> copy = OpenTarget(StoreUse::kRead, source);
    if (!copy.ok()) return copy.status();
    StoreCompareOptions options;
    options.between = [&] { return pace.Wait(); };
    const Status same = CompareStores(context_, source.store.get(), copy->get(), options, &progress_->figures);
    const Status closed = (*copy)->Close();
    if (!same.ok()) return same.code() == StatusCode::kDataLoss ? same.WithContext("the copy is not the same") : same;
    if (!closed.ok()) return closed;
    progress_->step = ReshardStep::kCompared;
    return SaveProgress();
  }

  Status Publish() const {
    std::error_code error;
    fs::rename(db_, target_, error);
    if (error) return ErrnoStatus("cannot name the new database " + target_, error);
    return SyncDirectory(fs::absolute(target_).parent_path());
  }

  // The new database is in its place.
  Status Finish() {
    context_.Begin("finishing", 3, "steps");
    report_->source_uuid = progress_->source.uuid;
    report_->source_shards = static_cast<std::uint32_t>(progress_->source.logs.size());
    report_->target_uuid = progress_->target_uuid;
    const Result<StoreManifest> manifest = ReadStoreManifest(target_);
    if (!manifest.ok()) return manifest.status();
    const Options options = ReshardStoreOptions(manifest->engine, StoreUse::kRead, context_);
    const Result<std::unique_ptr<Storage>> store = Storage::Open(options, target_);
    if (!store.ok()) return store.status();
    const StorageStats stats = (*store)->Stats();
    if (Status s = (*store)->Close(); !s.ok()) return s;
    for (std::uint32_t k = 0; k < progress_->shards; ++k) {
      ReshardShard& shard = report_->shards.emplace_back();
      static_cast<StoreFigures&>(shard) = progress_->figures[k];
      for (const FamilyId family : {IndexFamily(k), ChunkFamily(k)}) shard.bytes += stats.data_engine.families[family].file_bytes;
      report_->total.Add(shard);
      report_->target_bytes += shard.bytes;
    }
    return Tidy();
  }

  // Interrupted anywhere but behind the last step, the same call finds progress_ in one of both files, and ends as this one.
  Status Tidy() const {
    const std::string parent = fs::absolute(target_).parent_path();
    std::error_code error;
    if (fs::exists(progress_file_, error)) fs::rename(progress_file_, done_file_, error);
    if (error) return ErrnoStatus("cannot rename " + progress_file_ + " to " + done_file_, error);
    if (Status s = SyncDirectory(parent); !s.ok()) return s;
    context_.Add(1);
    fs::remove_all(work_, error);
    if (error) return ErrnoStatus("cannot remove " + work_, error);
    if (Status s = SyncDirectory(parent); !s.ok()) return s;
    context_.Add(1);
    fs::remove(done_file_, error);
    return error ? ErrnoStatus("cannot remove " + done_file_, error) : Status::Ok();
  }

  const std::string source_path_;
  const std::string target_;
  const std::string work_;
  const std::string db_;
  const std::string progress_file_;
  const std::string done_file_;  // what progress_file_ is while the working directory goes
  const ReshardOptions& options_;
  const OpsContext& context_;
  ReshardReport* const report_;
  StoreManifest manifest_;                   // of the source
  std::optional<ReshardProgress> progress_;  // none: nothing is there to go on with
};

}  // namespace

Result<ReshardReport> Reshard(const std::string& source, const std::string& target, const ReshardOptions& options,
                              const OpsContext& context) {
  if (Status s = CheckReshard(source, target, options); !s.ok()) return s;
  ReshardReport report;
  const Status s = Resharding(source, WithoutSlash(target), options, context, &report).Run();
  if (!s.ok()) return OfFullDisk(s, fs::absolute(WithoutSlash(target)).parent_path().string());
  return report;
}

}  // namespace chronolith::ops

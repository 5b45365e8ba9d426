#include "chronolith/file_log_archiver.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/mutex.h"
#include "base/posix_file.h"
#include "chronolith/archive_marks.h"
#include "storage/log_archive.h"
#include "storage/path_lock.h"
#include "storage/store_directory.h"

namespace chronolith {
namespace {

constexpr std::size_t kGapsMax = 1024;  // that wait to be written; beyond, the rows themselves show the hole

// Appends to the last segment. Each call ends with a sync, or with the file as it was before.
//
// Thread safety: safe.
class FileLogArchiver : public LogArchiver, public ArchiveMarks {
 public:
  FileLogArchiver(std::string directory, FileLogArchiverOptions options)
      : directory_(std::move(directory)), options_(std::move(options)) {}

  Status Open() {
    MutexLock lock(&mu_);
    std::error_code error;
    std::filesystem::create_directories(directory_, error);
    if (error) return ErrnoStatus("cannot create " + directory_, error);
    Result<std::unique_ptr<PathLock>> held = PathLock::Take(directory_ + "/LOCK", false, "archives there");
    if (!held.ok()) return held.status();
    lock_ = std::move(*held);
    if (Status s = Load(); !s.ok()) return s;
    const Result<StoreManifest> store = ReadStoreManifest(options_.store);
    if (store.ok()) return Bind(*store);
    if (store.status().code() != StatusCode::kNotFound) return store.status();
    if (!bound_) return Status::Ok();
    return FailedPrecondition(directory_ + " is the archive of store " + Name(header_) + ", and there is no store in " +
                              options_.store + ": name a new directory");
  }

  Status Archive(std::span<const ArchivedRow> rows) override {
    MutexLock lock(&mu_);
    std::vector<ArchivedRow> fresh;
    for (const ArchivedRow& row : rows) {
      const auto state = shards_.find(row.shard);
      if (state != shards_.end() && row.first_lsn <= state->second.last_lsn) {
        if (row.last_lsn <= state->second.last_lsn && row.epoch <= state->second.epoch) continue;  // again
        return FailedPrecondition("the archive " + directory_ + " has other records of shard " + std::to_string(row.shard) +
                                  " from LSN " + std::to_string(row.first_lsn) +
                                  " on: the store was put back from a copy; archive it in a new directory, and make a new backup");
      }
      if (row.value.size() + 1024 > kArchivePayloadBytesMax)
        return InvalidArgument("a row of the log is too large for the archive");
      fresh.push_back(row);
    }
    if (fresh.empty()) return Status::Ok();
    if (Status s = WriteGaps(); !s.ok()) return s;
    for (std::span<const ArchivedRow> left = fresh; !left.empty();) {
      std::string block;
      const std::size_t taken = AppendArchiveRows(left, &block);
      if (Status s = Append(block); !s.ok()) return s;
      const ArchivedRow& last = left[taken - 1];
      shards_[last.shard] = {last.shard, last.last_lsn, last.epoch, last.write_time_ms};
      left = left.subspan(taken);
    }
    return Status::Ok();
  }

  void OnGap(std::uint32_t shard, Lsn first_lsn, Lsn last_lsn) override {
    MutexLock lock(&mu_);
    const ArchiveGap gap{shard, first_lsn, last_lsn};
    if (gaps_.size() < kGapsMax && std::find(gaps_.begin(), gaps_.end(), gap) == gaps_.end()) gaps_.push_back(gap);
    Tell(WriteGaps());
  }

  void OnMark(const ArchiveMark& mark) override {
    MutexLock lock(&mu_);
    Status s = WriteGaps();
    std::string block;
    AppendArchiveMark(mark, &block);
    if (s.ok()) s = Append(block);
    Tell(s);  // the next checkpoint tells a later one
  }

 private:
  static std::string Name(const ArchiveHeader& header) {
    StoreManifest of;
    of.uuid = header.uuid;
    return of.UuidHex() + " incarnation " + std::to_string(header.incarnation);
  }
  void Tell(const Status& status) const {
    if (!status.ok() && options_.logger)
      options_.logger->Log(LogLevel::kWarning, "log archive " + directory_ + ": " + status.message());
  }

  // What is in the directory: the last segment, its end cut off where a crash has torn it.
  Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory_);
    if (!segments.ok()) return segments.status();
    if (segments->empty()) return Status::Ok();
    for (const ArchiveSegment& segment : *segments) total_bytes_ += segment.bytes;
    const ArchiveSegment& last = segments->back();
    const Result<std::unique_ptr<ArchiveReader>> reader = ArchiveReader::Open(last.path);
    if (!reader.ok()) return reader.status();
    header_ = (*reader)->header();
    bound_ = true;
    for (const ArchiveShardState& state : header_.shards) shards_[state.shard] = state;
    ArchiveBlock block;
    while ((*reader)->Next(&block)) {
      if (block.type != ArchiveBlockType::kRows) continue;
      const ArchivedRow& row = block.rows.back();
      shards_[row.shard] = {row.shard, row.last_lsn, row.epoch, row.write_time_ms};
    }
    if (!(*reader)->status().ok()) {
      if ((*reader)->status().code() != StatusCode::kDataLoss) return (*reader)->status();
      const Result<bool> torn = (*reader)->IsTornEnd();
      if (!torn.ok()) return torn.status();
      if (!*torn) {
        return DataLoss((*reader)->status().message() +
                        ", with intact blocks behind it: nothing is appended there; name a new directory, and make a new backup");
      }
    }
    Result<FileDescriptor> file = OpenFile(last.path, O_WRONLY);
    if (!file.ok()) return file.status();
    file_ = std::move(*file);
    synced_bytes_ = (*reader)->offset();
    path_ = last.path;
    if (synced_bytes_ == last.bytes) return Status::Ok();
    total_bytes_ -= last.bytes - synced_bytes_;
    Tell(DataLoss(path_ + ": " + std::to_string(last.bytes - synced_bytes_) + " bytes of an unfinished write are cut off"));
    if (ftruncate(file_.get(), static_cast<off_t>(synced_bytes_)) != 0) return ErrnoStatus("cannot cut " + path_, errno);
    return fdatasync(file_.get()) == 0 ? Status::Ok() : ErrnoStatus("cannot sync " + path_, errno);
  }

  Status Bind(const StoreManifest& store) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!bound_) {
      header_.uuid = store.uuid;
      header_.incarnation = store.incarnation;
      bound_ = true;
    }
    if (header_.uuid == store.uuid && header_.incarnation == store.incarnation) return Status::Ok();
    return FailedPrecondition(directory_ + " is the archive of store " + Name(header_) + ", " + options_.store + " is store " +
                              store.UuidHex() + " incarnation " + std::to_string(store.incarnation) + ": name a new directory");
  }

  Status WriteGaps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (gaps_.empty()) return Status::Ok();
    std::string blocks;
    for (const ArchiveGap& gap : gaps_) AppendArchiveGap(gap, &blocks);
    const Status status = Append(blocks);
    if (status.ok()) gaps_.clear();
    return status;
  }

  // Synced when it returns ok; else as if it had not been called.
  Status Append(std::string_view blocks) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (Status s = CheckRoom(blocks.size()); !s.ok()) return s;
    if (!file_.is_open() || synced_bytes_ + blocks.size() > std::max(options_.segment_bytes, header_bytes_ + blocks.size())) {
      if (Status s = BeginSegment(); !s.ok()) return s;
    }
    if (lseek(file_.get(), static_cast<off_t>(synced_bytes_), SEEK_SET) < 0) return ErrnoStatus("cannot write " + path_, errno);
    Status status = WriteFully(file_.get(), blocks, path_);
    const bool written = status.ok();
    if (written && fdatasync(file_.get()) != 0) status = ErrnoStatus("cannot sync " + path_, errno);
    if (status.ok()) {
      total_bytes_ += blocks.size();
      synced_bytes_ += blocks.size();
      return status;
    }
    // What was not synced must not be taken for archived later; after a failed sync the file is not written to again.
    const bool cut = ftruncate(file_.get(), static_cast<off_t>(synced_bytes_)) == 0;
    if (written || !cut) file_.Reset();
    return status;
  }

  Status CheckRoom(std::uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (options_.max_bytes == 0 || total_bytes_ + bytes <= options_.max_bytes) return Status::Ok();
    const Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory_);  // some may have been removed
    if (!segments.ok()) return segments.status();
    total_bytes_ = 0;
    for (const ArchiveSegment& segment : *segments) total_bytes_ += segment.bytes;
    if (total_bytes_ + bytes <= options_.max_bytes) return Status::Ok();
    return ResourceExhausted("the archive " + directory_ + " holds " + std::to_string(total_bytes_) + " bytes, and may hold " +
                             std::to_string(options_.max_bytes) + ": remove its oldest files (chronolith archive prune)");
  }

  Status BeginSegment() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!bound_) {
      const Result<StoreManifest> store = ReadStoreManifest(options_.store);
      if (!store.ok()) return store.status();
      if (Status s = Bind(*store); !s.ok()) return s;
    }
    ArchiveHeader header = header_;
    ++header.number;
    header.shards.clear();
    for (const auto& [shard, state] : shards_) header.shards.push_back(state);
    std::string bytes;
    AppendArchiveHeader(header, &bytes);
    const std::string name = ArchiveSegmentName(header.number);
    if (Status s = WriteSyncedFile(directory_, name, bytes); !s.ok()) return s;
    const std::string path = directory_ + "/" + name;
    Result<FileDescriptor> file = OpenFile(path, O_WRONLY);
    if (!file.ok()) return file.status();
    file_ = std::move(*file);
    path_ = path;
    header_ = std::move(header);
    header_bytes_ = synced_bytes_ = bytes.size();
    total_bytes_ += bytes.size();
    return Status::Ok();
  }

  const std::string directory_;
  const FileLogArchiverOptions options_;
  Mutex mu_;
  std::unique_ptr<PathLock> lock_ ABSL_GUARDED_BY(mu_);
  bool bound_ ABSL_GUARDED_BY(mu_) = false;                           // header_ says whose archive it is
  ArchiveHeader header_ ABSL_GUARDED_BY(mu_);                         // of the last segment
  std::map<ShardId, ArchiveShardState> shards_ ABSL_GUARDED_BY(mu_);  // the last row of each
  std::vector<ArchiveGap> gaps_ ABSL_GUARDED_BY(mu_);                 // told, not written yet
  FileDescriptor file_ ABSL_GUARDED_BY(mu_);                          // the last segment; closed: begin another
  std::string path_ ABSL_GUARDED_BY(mu_);
  std::uint64_t header_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t synced_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t total_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace

Result<std::shared_ptr<LogArchiver>> OpenFileLogArchiver(const std::string& directory, const FileLogArchiverOptions& options) {
  if (directory.empty() || options.store.empty()) return InvalidArgument("an archive needs a directory, and that of its store");
  auto archiver = std::make_shared<FileLogArchiver>(directory, options);
  if (Status s = archiver->Open(); !s.ok()) return s;
  return std::shared_ptr<LogArchiver>(std::move(archiver));
}

}  // namespace chronolith

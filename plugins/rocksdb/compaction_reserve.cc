#include "plugins/rocksdb/compaction_reserve.h"

#include <rocksdb/file_system.h>
#include <sys/statvfs.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "base/mutex.h"

namespace chronolith {
namespace {

using rocksdb::IOStatus;

constexpr std::uint64_t kSmallFileBytes = 64 << 10;
constexpr std::int64_t kGrownBytes = 1 << 20;
constexpr std::chrono::seconds kTriedAgain{60};

// As the store counts it (storage/disk_space.cc): what only root may take is nobody's room.
std::optional<std::uint64_t> FreeBytes(const std::string& file) {
  struct statvfs disk;
  if (statvfs(std::filesystem::path(file).parent_path().c_str(), &disk) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
}

// Thread safety: safe.
class Outputs : public rocksdb::EventListener {
 public:
  explicit Outputs(std::function<std::uint64_t()> reserve) : reserve_(std::move(reserve)) {}

  void OnTableFileCreationStarted(const rocksdb::TableFileCreationBriefInfo& info) override {
    if (info.reason != rocksdb::TableFileCreationReason::kCompaction) return;
    MutexLock lock(&mu_);
    begun_.insert(info.file_path);
  }
  // Whether it is the file of a compaction: asked once, when it is created.
  bool Take(const std::string& name) {
    MutexLock lock(&mu_);
    return begun_.erase(name) > 0;
  }
  std::uint64_t Reserve() const { return reserve_(); }

  // RocksDB tries a compaction that failed again each second: it would write as far as it comes each time. So one that begins with
  // no more room above the reserve than the last that was refused is refused as well, for a minute.
  void NoteRefusal(std::int64_t room_at_begin) {
    MutexLock lock(&mu_);
    refused_room_ = room_at_begin;
    refused_at_ = std::chrono::steady_clock::now();
  }
  bool RefusedBefore(std::int64_t room_at_begin) {
    MutexLock lock(&mu_);
    return refused_room_ && room_at_begin < *refused_room_ + kGrownBytes &&
           std::chrono::steady_clock::now() - refused_at_ < kTriedAgain;
  }

 private:
  const std::function<std::uint64_t()> reserve_;
  Mutex mu_;
  std::optional<std::int64_t> refused_room_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point refused_at_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> begun_ ABSL_GUARDED_BY(mu_);
};

// Table files are appended to; nothing else grows them. RocksDB would take the room of a whole file at once, before the first byte.
class OutputFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  OutputFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, std::shared_ptr<Outputs> outputs)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(std::move(name)),
        outputs_(std::move(outputs)),
        free_at_begin_(FreeBytes(name_).value_or(0)) {}

  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    IOStatus s = HasRoomFor(data.size());
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : s;
  }
  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo& verification,
                  rocksdb::IODebugContext* debug) override {
    IOStatus s = HasRoomFor(data.size());
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, options, verification, debug) : s;
  }
  void PrepareWrite(std::size_t, std::size_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {}
  IOStatus Allocate(std::uint64_t, std::uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  IOStatus HasRoomFor(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= kSmallFileBytes) return IOStatus::OK();
    const std::uint64_t reserve = outputs_->Reserve();
    if (reserve == 0) return IOStatus::OK();
    const std::optional<std::uint64_t> free = FreeBytes(name_);
    if (!free) return IOStatus::OK();
    const bool enough = *free >= reserve + bytes;
    const auto room_at_begin = static_cast<std::int64_t>(free_at_begin_) - static_cast<std::int64_t>(reserve);
    if (enough && !outputs_->RefusedBefore(room_at_begin)) return IOStatus::OK();
    if (!enough) outputs_->NoteRefusal(room_at_begin);
    return IOStatus::NoSpace("a compaction leaves the log the last " + std::to_string(reserve) + " bytes of the disk of '" + name_ +
                             "', which has " + std::to_string(*free) + " left");
  }

  const std::string name_;
  const std::shared_ptr<Outputs> outputs_;
  const std::uint64_t free_at_begin_;
  std::uint64_t bytes_ = 0;
};

class ReservingFileSystem : public rocksdb::FileSystemWrapper {
 public:
  ReservingFileSystem(const std::shared_ptr<rocksdb::FileSystem>& fs, std::shared_ptr<Outputs> outputs)
      : FileSystemWrapper(fs), outputs_(std::move(outputs)) {}
  const char* Name() const override { return "chronolith.ReservingFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override {
    IOStatus s = FileSystemWrapper::NewWritableFile(name, options, file, debug);
    if (outputs_->Take(name) && s.ok()) *file = std::make_unique<OutputFile>(std::move(*file), name, outputs_);
    return s;
  }

 private:
  const std::shared_ptr<Outputs> outputs_;
};

class ReservingEnv : public rocksdb::EnvWrapper {
 public:
  ReservingEnv(rocksdb::Env* env, std::shared_ptr<Outputs> outputs) : EnvWrapper(env) {
    file_system_ = std::make_shared<ReservingFileSystem>(env->GetFileSystem(), std::move(outputs));
    system_clock_ = env->GetSystemClock();
  }
  const char* Name() const override { return "chronolith.ReservingEnv"; }
};

}  // namespace

CompactionReserve MakeCompactionReserve(rocksdb::Env* env, std::function<std::uint64_t()> bytes) {
  auto outputs = std::make_shared<Outputs>(std::move(bytes));
  auto reserving = std::make_shared<ReservingEnv>(env, outputs);
  return {.env = std::move(reserving), .listener = std::move(outputs)};
}

}  // namespace chronolith

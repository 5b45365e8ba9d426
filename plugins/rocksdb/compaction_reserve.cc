#include "plugins/rocksdb/compaction_reserve.h"

#include <rocksdb/file_system.h>

#include <set>
#include <utility>

#include "base/mutex.h"

namespace chronolith {
namespace {

using rocksdb::IOStatus;

constexpr std::uint64_t kSmallFileBytes = 64 << 10;

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

 private:
  const std::function<std::uint64_t()> reserve_;
  Mutex mu_;
  std::set<std::string> begun_ ABSL_GUARDED_BY(mu_);
};

// Table files are appended to; nothing else grows them.
class OutputFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  OutputFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, rocksdb::FileSystem* fs,
             std::shared_ptr<Outputs> outputs)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), fs_(fs), outputs_(std::move(outputs)) {}

  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    IOStatus s = HasRoomFor(data.size());
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : s;
  }
  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo& verification,
                  rocksdb::IODebugContext* debug) override {
    IOStatus s = HasRoomFor(data.size());
    return s.ok() ? FSWritableFileOwnerWrapper::Append(data, options, verification, debug) : s;
  }

 private:
  IOStatus HasRoomFor(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= kSmallFileBytes) return IOStatus::OK();
    const std::uint64_t reserve = outputs_->Reserve();
    std::uint64_t free = 0;
    if (reserve == 0 || !fs_->GetFreeSpace(name_, rocksdb::IOOptions(), &free, nullptr).ok() || free >= reserve + bytes) {
      return IOStatus::OK();
    }
    return IOStatus::NoSpace("a compaction leaves the log the last " + std::to_string(reserve) + " bytes of the disk of '" + name_ +
                             "', which has " + std::to_string(free) + " left");
  }

  const std::string name_;
  rocksdb::FileSystem* const fs_;
  const std::shared_ptr<Outputs> outputs_;
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
    if (outputs_->Take(name) && s.ok()) *file = std::make_unique<OutputFile>(std::move(*file), name, target(), outputs_);
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

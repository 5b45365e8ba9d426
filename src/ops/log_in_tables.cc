#include "ops/log_in_tables.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <system_error>
#include <vector>

#include "base/heap.h"
#include "base/posix_file.h"
#include "ops/disk_room.h"
#include "ops/file_copy.h"
#include "ops/reader_lock.h"
#include "ops/recovered_copy.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBuffers = 16ULL << 20;  // of the engine that stores the rows

// Ends at the first file that is not what was written.
class Soundness : public VerifyVisitor {
 public:
  explicit Soundness(const OpsContext& context) : context_(context) {}
  bool OnBytes(std::uint64_t) override { return damage.ok() && !context_.Cancelled(); }
  void OnFile(std::string_view) override {}
  void OnDamage(std::string_view, const Status& found) override { damage = found; }

  Status damage;

 private:
  const OpsContext& context_;
};

}  // namespace

Result<std::shared_ptr<LogInTables>> LogInTables::Make(const Source& source, const OpsContext& context, const Place& place) {
  if (FileBytes(source.log, ".log") <= context.memory_limit_bytes / kLogHeldPart) return std::shared_ptr<LogInTables>();
  std::shared_ptr<LogInTables> made(new LogInTables(source.log));
  const Status s = made->Copy(source, context, place);
  if (s.code() == StatusCode::kCancelled) return s;
  if (!s.ok()) made.reset();
  return made;
}

LogInTables::~LogInTables() {
  if (rows_ != nullptr) (void)rows_->Close();
  if (files_ != nullptr) (void)files_->Close();
}

Status LogInTables::Copy(const Source& source, const OpsContext& context, const Place& place) {
  const auto undisturbed = ReaderLock::TakeInstances(source.store, DataInstancePath(source.store), source.log);
  if (!undisturbed.ok()) return undisturbed.status();
  auto scratch = TemporaryDirectory::Make("log", place.parent);
  if (!scratch.ok()) return scratch.status();
  scratch_ = std::move(*scratch);
  path_ = scratch_->path() + "/log";
  seen_ = Look(log_);
  const std::uint64_t bytes = FileBytes(log_, ".log");
  if (Status s = scratch_->CheckRoom(2 * bytes + place.spare_bytes); !s.ok()) return s;
  const std::string no_log_files = scratch_->path() + "/empty";
  std::error_code error;
  fs::create_directory(no_log_files, error);
  if (error) return ErrnoStatus("cannot create " + no_log_files, error);
  EngineOptions reading = source.options;
  reading.read_only = true;
  reading.create_if_missing = false;
  EngineOptions without_rows = reading;
  without_rows.extra["wal_dir"] = no_log_files;
  Result<std::unique_ptr<KvEngine>> files = source.factory->Open(log_, without_rows);
  if (!files.ok()) return files.status();
  files_ = std::move(*files);
  if (Status s = CheckFiles(source, context); !s.ok()) return s;
  context.Begin("copying the log", bytes, "bytes");
  // Log files are no links, since who opens them to write cuts their ends.
  if (Status s = CopyInstanceFiles(log_, path_, context); !s.ok()) return s;
  if (Status s = StoreRows(source); !s.ok()) return s;
  ReturnFreedMemory(0);
  Result<std::unique_ptr<KvEngine>> rows = source.factory->Open(path_, reading);
  if (!rows.ok()) return rows.status();
  rows_ = std::move(*rows);
  return context.CheckCancelled();
}

// Who reads a damaged log wants to be told where, in the file itself.
Status LogInTables::CheckFiles(const Source& source, const OpsContext& context) const {
  std::vector<FamilyId> families(source.options.families.size());
  std::iota(families.begin(), families.end(), FamilyId{0});
  families.push_back(kSharedFiles);
  for (const FamilyId family : families) {
    Soundness soundness(context);
    const Status checked = files_->VerifyChecksums(family, "", &soundness);
    if (Status s = context.CheckCancelled(); !s.ok()) return s;
    if (!soundness.damage.ok()) return soundness.damage;
    if (!checked.ok()) return checked;
  }
  return Status::Ok();
}

Status LogInTables::StoreRows(const Source& source) const {
  EngineOptions writing = source.options;
  writing.read_only = false;
  writing.create_if_missing = false;
  writing.background_threads = 1;
  writing.write_buffer_bytes = kBuffers;
  const Result<std::unique_ptr<KvEngine>> log = source.factory->Open(path_, writing);
  if (!log.ok()) return log.status();
  std::vector<FamilyId> families(writing.families.size());
  std::iota(families.begin(), families.end(), FamilyId{0});
  const Status flushed = (*log)->Flush(families);
  const Status closed = (*log)->Close();
  return flushed.ok() ? closed : flushed;
}

EngineStats LogInTables::Stats() const {
  EngineStats stats = files_->Stats();
  const EngineStats stored = rows_->Stats();
  for (std::size_t i = 0; i < stats.families.size(); ++i) {
    const std::uint64_t in_tables = stats.families[i].file_bytes;
    const std::uint64_t all = stored.families[i].file_bytes + stored.families[i].buffered_bytes;
    stats.families[i].buffered_bytes = all - std::min(all, in_tables);
  }
  for (const auto& [name, file] : seen_) {
    if (!name.ends_with(".log") || file.first == 0) continue;
    stats.log_bytes += file.first;
    ++stats.log_files;
  }
  return stats;
}

LogInTables::Seen LogInTables::Look(const std::string& directory) {
  Seen seen;
  std::error_code ignored;
  for (fs::directory_iterator it(directory, ignored), end; !ignored && it != end; it.increment(ignored)) {
    struct stat info {};
    if (stat(it->path().c_str(), &info) != 0) continue;
    const std::int64_t changed = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
    seen[it->path().filename().string()] = {static_cast<std::uint64_t>(info.st_size), changed};
  }
  return seen;
}

}  // namespace chronolith::ops

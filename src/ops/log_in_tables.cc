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

Status StoreLogRows(EngineFactory* factory, const std::string& path, const EngineOptions& options) {
  EngineOptions writing = options;
  writing.read_only = false;
  writing.create_if_missing = false;
  writing.background_threads = 1;
  writing.write_buffer_bytes = kBuffers;
  Status flushed;
  {
    const Result<std::unique_ptr<KvEngine>> log = factory->Open(path, writing);
    if (!log.ok()) return log.status();
    std::vector<FamilyId> families(writing.families.size());
    std::iota(families.begin(), families.end(), FamilyId{0});
    flushed = (*log)->Flush(families);
    const Status closed = (*log)->Close();
    if (flushed.ok()) flushed = closed;
  }
  ReturnFreedMemory(0);
  return flushed;
}

Result<std::shared_ptr<LogInTables>> LogInTables::Make(const Source& source, const OpsContext& context, const Place& place) {
  const std::uint64_t held_max = place.held_bytes_max > 0 ? place.held_bytes_max : context.memory_limit_bytes / kLogHeldPart;
  if (FileBytes(source.log, ".log") <= held_max) return std::shared_ptr<LogInTables>();
  std::shared_ptr<LogInTables> made(new LogInTables(source, place.parent));
  const Status s = made->Copy(context, place.spare_bytes);
  if (s.code() == StatusCode::kCancelled) return s;
  if (s.ok()) return made;
  if (!made->log_is_damaged_ && context.logger != nullptr) {
    context.logger->Log(LogLevel::kWarning,
                        "the memory limit may be passed, as no copy of the log could be stored: " + s.message());
  }
  return std::shared_ptr<LogInTables>();
}

LogInTables::~LogInTables() {
  if (rows_ != nullptr) (void)rows_->Close();
  if (files_ != nullptr) (void)files_->Close();
}

// Of the copy.
EngineOptions LogInTables::OfCopy(EngineOptions options) const {
  options.create_if_missing = false;
  options.extra["tables_of"] = source_.log;
  return options;
}

EngineOptions LogInTables::Reading() const {
  EngineOptions options = source_.options;
  options.read_only = true;
  options.create_if_missing = false;
  return options;
}

Result<std::unique_ptr<KvEngine>> LogInTables::OpenWithoutRows(const std::string& path, EngineOptions options,
                                                               const std::string& no_log_files) const {
  options.extra["wal_dir"] = no_log_files;
  return source_.factory->Open(path, options);
}

Result<std::unique_ptr<KvEngine>> LogInTables::OpenFiles() const {
  const auto no_log_files = TemporaryDirectory::Make("log", parent_);
  return no_log_files.ok() ? OpenWithoutRows(source_.log, Reading(), (*no_log_files)->path()) : no_log_files.status();
}

Status LogInTables::Copy(const OpsContext& context, std::uint64_t spare_bytes) {
  const auto undisturbed = ReaderLock::TakeInstances(source_.store, DataInstancePath(source_.store), source_.log);
  const bool written = undisturbed.status().code() == StatusCode::kFailedPrecondition;
  if (!undisturbed.ok() && !written) return undisturbed.status();
  auto scratch = TemporaryDirectory::Make("log", parent_);
  if (!scratch.ok()) return scratch.status();
  scratch_ = std::move(*scratch);
  path_ = scratch_->path() + "/log";
  seen_ = Look(source_.log);
  HeldInstance held;
  if (written) {
    Result<HeldInstance> of_writer = HoldLog(source_.factory.get(), source_.log);
    if (!of_writer.ok()) return of_writer.status();
    held = std::move(*of_writer);
  }
  const std::uint64_t bytes = written ? held.CopiedBytes() : FileBytes(source_.log, ".log");
  if (Status s = scratch_->CheckRoom(2 * bytes + spare_bytes); !s.ok()) return s;
  const std::string no_log_files = scratch_->path() + "/empty";
  std::error_code error;
  fs::create_directory(no_log_files, error);
  if (error) return ErrnoStatus("cannot create " + no_log_files, error);
  Result<std::unique_ptr<KvEngine>> files = OpenWithoutRows(source_.log, Reading(), no_log_files);
  if (!files.ok()) return files.status();
  files_ = std::move(*files);
  // Log files are no links, since who opens them to write cuts their ends.
  if (Status s = written ? CopyHeld(context, held, no_log_files) : CopyQuiet(context); !s.ok()) return s;
  held = {};  // its descriptors
  if (Status s = StoreLogRows(source_.factory.get(), path_, OfCopy(source_.options)); !s.ok()) return s;
  Result<std::unique_ptr<KvEngine>> rows = source_.factory->Open(path_, OfCopy(Reading()));
  if (!rows.ok()) return rows.status();
  rows_ = std::move(*rows);
  return context.CheckCancelled();
}

Status LogInTables::CopyQuiet(const OpsContext& context) {
  if (Status s = CheckLogFiles(files_.get(), context); !s.ok()) return s;
  context.Begin("copying the log", FileBytes(source_.log, ".log"), "bytes");
  return CopyInstanceFiles(source_.log, path_, context);
}

// The source's files move, so those of the copy are looked at.
Status LogInTables::CopyHeld(const OpsContext& context, const HeldInstance& held, const std::string& no_log_files) {
  context.Begin("copying the log", held.CopiedBytes(), "bytes");
  if (Status s = CopyHeldFiles(held, source_.log, path_, context, &tables_); !s.ok()) return s;
  const Result<std::unique_ptr<KvEngine>> copy = OpenWithoutRows(path_, OfCopy(Reading()), no_log_files);
  if (!copy.ok()) return copy.status();
  const Status sound = CheckLogFiles(copy->get(), context);
  const Status closed = (*copy)->Close();
  return sound.ok() ? closed : sound;
}

// Who reads damaged log files wants to be told where, in the file itself. Tables of the log are not looked at: to read one that is
// damaged fails in the copy as it does in the source.
Status LogInTables::CheckLogFiles(KvEngine* engine, const OpsContext& context) {
  Soundness soundness(context);
  const Status checked = engine->VerifyChecksums(kSharedFiles, "", &soundness);
  if (Status s = context.CheckCancelled(); !s.ok()) return s;
  log_is_damaged_ = !soundness.damage.ok();
  return log_is_damaged_ ? soundness.damage : checked;
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

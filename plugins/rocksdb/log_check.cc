#include "plugins/rocksdb/log_check.h"

#include <fcntl.h>
#include <rocksdb/env.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "plugins/rocksdb/evidence.h"
#include "plugins/rocksdb/file_sync.h"
#include "plugins/rocksdb/log_rewrite.h"
#include "plugins/rocksdb/log_scan.h"
#include "plugins/rocksdb/newest_log.h"
#include "plugins/rocksdb/status_conversion.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

// Held while the log is looked at and cut, as RocksDB holds it while an instance is open.
class InstanceLock {
 public:
  // `only_look`: beside others that keep writers out, too.
  InstanceLock(rocksdb::Env* env, const std::string& path, bool only_look) : env_(env) {
    const std::string name = path + "/LOCK";
    const rocksdb::Status taken = env_->LockFile(name, &lock_);
    held_ = taken.ok();
    if (held_ || !only_look) return;
    // The closing of a file gives up the locks that this process has on it. What the process itself has locked RocksDB refuses
    // before it opens the file; in the two other cases there is nothing to give up.
    const std::string why = taken.ToString();
    if (why.find("While lock file") == std::string::npos && why.find("while open a file for lock") == std::string::npos) return;
    file_ = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    struct flock shared {};
    shared.l_type = F_RDLCK;
    shared.l_whence = SEEK_SET;
    held_ = file_ >= 0 && fcntl(file_, F_OFD_SETLK, &shared) == 0;
  }
  ~InstanceLock() {
    if (lock_ != nullptr) (void)env_->UnlockFile(lock_);
    if (file_ >= 0) (void)close(file_);
  }
  InstanceLock(const InstanceLock&) = delete;
  InstanceLock& operator=(const InstanceLock&) = delete;
  bool held() const { return held_; }

 private:
  rocksdb::Env* const env_;
  rocksdb::FileLock* lock_ = nullptr;
  int file_ = -1;
  bool held_ = false;
};

LogDamage Describe(const std::string& path, const std::vector<LogFile>& files, std::size_t file, const DamagedBytes& bytes) {
  LogDamage damage;
  damage.place = path + "/" + files[file].name + ", bytes " + std::to_string(bytes.begin) + " to " + std::to_string(bytes.end);
  damage.unwritten = bytes.unwritten;
  damage.ends_file = bytes.ends_file;
  damage.ends_log = bytes.ends_file;
  for (std::size_t later = file + 1; later < files.size(); ++later) damage.ends_log = damage.ends_log && files[later].records == 0;
  return damage;
}

// `synced_file`: the one in which the engine stops, and known to be synced; files.size() where none is.
Status TellJudge(rocksdb::Env* env, const std::string& path, const std::vector<LogFile>& files, std::size_t synced_file,
                 const LogView& view, const std::function<Status(const OnPut&)>& replay, LogJudge* judge) {
  if (Status s = judge->Begin(view.engine.get()); !s.ok()) return s;
  const auto to_judge = [&](void (LogJudge::*tell)(FamilyId, std::string_view, std::string_view)) -> OnPut {
    return [&view, judge, tell](std::uint32_t number, std::string_view key, std::string_view value) {
      if (const auto it = view.families.find(number); it != view.families.end()) (judge->*tell)(it->second, key, value);
    };
  };
  if (Status s = replay(to_judge(&LogJudge::OnReplayed)); !s.ok()) return s;
  const OnPut on_row = to_judge(&LogJudge::OnRow);
  for (std::size_t i = 0; i < files.size(); ++i) {
    LogScanCallbacks callbacks;
    // A record whose checksum matches is a write that RocksDB made: what it cannot take apart it does not replay either.
    callbacks.on_record = [&](std::string_view record) { (void)ForEachPut(rocksdb::WriteBatch(std::string(record)), on_row); };
    callbacks.on_damage = [&](const DamagedBytes& bytes) {
      LogDamage damage = Describe(path, files, i, bytes);
      damage.synced = i == synced_file;
      judge->OnDamage(damage);
    };
    if (Status s = ScanLogFile(env, path + "/" + files[i].name, true, callbacks); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Failed(const std::string& what, const rocksdb::Status& s) { return IoError(what + ": " + s.ToString()); }

// Replaces damaged files by what is intact in them. Whenever it is interrupted, some are replaced and the others damaged as before.
Result<std::string> TakeOutDamage(rocksdb::Env* env, const std::string& path, const std::vector<LogFile>& files,
                                  const std::set<std::size_t>& damaged) {
  Result<std::string> kept = MakeEvidenceDirectory(path, "/damaged-%Y%m%dT%H%M%SZ");
  if (!kept.ok()) return kept.status();
  for (const std::size_t i : damaged) {
    if (Status s = KeepFile(env, path, files[i].name, *kept); !s.ok()) return s;
  }
  if (Status s = SyncTree(env, *kept); !s.ok()) return s;
  for (const std::size_t i : damaged) {
    const std::string name = path + "/" + files[i].name;
    const std::string intact = name + ".cut";  // there may be one of an attempt that was interrupted
    if (Status s = CopyIntactRecords(env, name, intact); !s.ok()) return s;
    if (rocksdb::Status s = env->RenameFile(intact, name); !s.ok()) return Failed("renaming '" + intact + "'", s);
    if (Status s = SyncDirectory(env, path); !s.ok()) return s;
  }
  return kept;
}

// In its place another file with its first bytes.
Status CutFile(rocksdb::Env* env, const std::string& path, const std::string& file, std::uint64_t bytes) {
  const std::string name = path + "/" + file;
  const std::string shorter = name + ".cut";  // there may be one of an attempt that was interrupted
  if (Status s = CopySyncedFile(env, name, shorter, bytes); !s.ok()) return s;
  if (rocksdb::Status s = env->RenameFile(shorter, name); !s.ok()) return Failed("renaming '" + shorter + "'", s);
  return SyncDirectory(env, path);
}

// Keeps files[file] and those behind it in a directory of their own, then cuts the log to `offset` of files[file]. Whenever it is
// interrupted, the log is either damaged as before with less behind the damage, or cut. The last file stays, empty: without it
// files would be missing (newest_log.h).
Result<std::string> Cut(rocksdb::Env* env, const std::string& path, const std::vector<LogFile>& files, std::size_t file,
                        std::uint64_t offset) {
  Result<std::string> kept = MakeEvidenceDirectory(path, "/torn-%Y%m%dT%H%M%SZ");
  if (!kept.ok()) return kept.status();
  for (std::size_t i = file; i < files.size(); ++i) {
    if (Status s = KeepFile(env, path, files[i].name, *kept); !s.ok()) return s;
  }
  if (Status s = SyncTree(env, *kept); !s.ok()) return s;
  if (files.size() - 1 > file) {
    if (Status s = CutFile(env, path, files.back().name, 0); !s.ok()) return s;
  }
  for (std::size_t i = files.size() - 1; i-- > file + 1;) {
    const std::string name = path + "/" + files[i].name;
    if (rocksdb::Status s = env->DeleteFile(name); !s.ok()) return Failed("removing '" + name + "'", s);
    if (Status s = SyncDirectory(env, path); !s.ok()) return s;
  }
  if (Status s = CutFile(env, path, files[file].name, offset); !s.ok()) return s;
  return kept;
}

}  // namespace

Result<std::vector<LogFile>> ListLogFiles(const std::string& path) {
  std::vector<LogFile> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() != ".log") continue;
    LogFile file;
    file.name = entry.path().filename().string();
    const std::string stem = entry.path().stem().string();
    if (std::from_chars(stem.data(), stem.data() + stem.size(), file.number).ptr != stem.data() + stem.size()) continue;
    files.push_back(std::move(file));
  }
  if (error) return IoError("listing '" + path + "': " + error.message());
  std::sort(files.begin(), files.end(), [](const LogFile& a, const LogFile& b) { return a.number < b.number; });
  return files;
}

std::uint64_t NewestLogNumber(const std::string& path) {
  const Result<std::vector<LogFile>> files = ListLogFiles(path);
  return files.ok() && !files->empty() ? files->back().number : 0;
}

std::uint64_t LogFileBytes(const std::string& path) {
  std::uint64_t bytes = 0;
  const Result<std::vector<LogFile>> files = ListLogFiles(path);
  for (std::size_t i = 0; files.ok() && i < files->size(); ++i) {
    std::error_code gone;
    const std::uintmax_t size = fs::file_size(path + "/" + (*files)[i].name, gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

Result<std::string> CheckInstanceLog(rocksdb::Env* env, const std::string& path, InstanceRole role, bool only_look, LogJudge* judge,
                                     const OpenLogView& open_view) {
  if (env == nullptr) env = rocksdb::Env::Default();
  const InstanceLock lock(env, path, only_look);
  if (!lock.held()) return std::string();  // Open says why
  // What the log of a data instance holds the log instance has, too.
  const std::uint64_t missing = role == InstanceRole::kLog ? FirstMissingLog(env, path) : 0;
  Result<std::vector<LogFile>> files = ListLogFiles(path);
  if (!files.ok()) return files.status();
  std::vector<std::pair<std::size_t, DamagedBytes>> damages;
  for (std::size_t i = 0; i < files->size(); ++i) {
    LogFile& file = (*files)[i];
    LogScanCallbacks callbacks;
    callbacks.on_record = [&](std::string_view) { ++file.records; };
    callbacks.on_damage = [&](const DamagedBytes& bytes) { damages.emplace_back(i, bytes); };
    if (Status s = ScanLogFile(env, path + "/" + file.name, false, callbacks); !s.ok()) return s;
  }
  if (damages.empty() && missing == 0) return std::string();

  // A record that the end of the file cuts off does not stop RocksDB; nor does what looks like one.
  LogReading reading = LogReading::kStrict;
  Result<LogView> view = open_view(reading, nullptr);
  const bool refused = view.status().code() == StatusCode::kDataLoss;
  if (refused) view = open_view(reading = LogReading::kUpToDamage, nullptr);
  // Some table is newer than the log file in which RocksDB stops; with several families it syncs that before it notes the table.
  const bool behind_tables = view.status().code() == StatusCode::kDataLoss;
  if (behind_tables) view = open_view(reading = LogReading::kAroundDamage, nullptr);
  if (view.status().code() == StatusCode::kNotFound) return std::string();  // families that creation had not come to
  if (!view.ok()) {  // an Open that fared better would drop what is intact behind the damage
    if (view.status().code() != StatusCode::kDataLoss || damages.empty()) return view.status();
    const auto& [file, bytes] = damages.front();
    return view.status().WithContext("the log is damaged in " + Describe(path, *files, file, bytes).place);
  }
  const auto first_kept =
      std::find_if(files->begin(), files->end(), [&](const LogFile& f) { return f.number >= view->oldest_log; });
  const auto passed_by = static_cast<std::size_t>(first_kept - files->begin());
  files->erase(files->begin(), first_kept);
  std::erase_if(damages, [&](const auto& damage) { return damage.first < passed_by; });
  for (auto& damage : damages) damage.first -= passed_by;
  if (damages.empty() && missing == 0) return std::string();
  // What is older than the place where RocksDB stopped was synced as well; over a torn end it passes.
  const auto stop = std::find_if(damages.begin(), damages.end(),
                                 [](const auto& damage) { return !(damage.second.unwritten && damage.second.ends_file); });
  const std::size_t synced_file =
      !behind_tables || damages.empty() ? files->size() : (stop != damages.end() ? *stop : damages.front()).first;
  const auto replay = [&](const OnPut& on_put) { return open_view(reading, on_put).status(); };
  if (Status s = TellJudge(env, path, *files, synced_file, *view, replay, judge); !s.ok()) return s;
  if (missing != 0) judge->OnDamage({.place = MissingFrom(path, missing), .synced = true, .ends_file = true, .ends_log = true});
  const Result<std::optional<std::size_t>> torn = judge->Decide();
  view->engine.reset();
  if (!torn.ok()) return torn.status();
  if (only_look) return std::string();
  if (!torn->has_value() && !judge->GivesUpDamage()) return std::string();
  if (!torn->has_value()) {
    std::set<std::size_t> damaged;
    for (const auto& damage : damages) damaged.insert(damage.first);
    Result<std::string> kept = damaged.empty() ? std::string() : TakeOutDamage(env, path, *files, damaged);
    if (!kept.ok() || missing == 0) return kept;
    // An empty file in their place: their loss is not met again.
    if (Status s = WriteSyncedFile(env, path + "/" + LogFileName(missing), ""); !s.ok()) return s;
    if (Status s = SyncDirectory(env, path); !s.ok()) return s;
    return kept;
  }
  const auto& [file, bytes] = damages.at(**torn);
  // What is merely missing leaves no evidence, and RocksDB ends there by itself. (Where something intact follows it would go on.)
  if (!refused && bytes.unwritten && Describe(path, *files, file, bytes).ends_log) return std::string();
  return Cut(env, path, *files, file, bytes.begin);
}

}  // namespace chronolith

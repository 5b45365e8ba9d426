// Opening: everything that is checked before, while and after RocksDB opens a directory.
#include "plugins/rocksdb/rocksdb_engine.h"

#include <fcntl.h>
#include <rocksdb/sst_file_manager.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/lock_holder.h"
#include "plugins/common/engine_checks.h"
#include "plugins/rocksdb/compaction_reserve.h"
#include "plugins/rocksdb/damage.h"
#include "plugins/rocksdb/file_sync.h"
#include "plugins/rocksdb/held_files.h"
#include "plugins/rocksdb/linked_tables.h"
#include "plugins/rocksdb/log_check.h"
#include "plugins/rocksdb/newest_log.h"
#include "plugins/rocksdb/repair.h"
#include "plugins/rocksdb/rocksdb_impl.h"
#include "plugins/rocksdb/status_conversion.h"
#include "plugins/rocksdb/table_check.h"
#include "plugins/rocksdb/table_drop.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

// A reader beside a live writer may find that the writer deleted a file between its look at the directory and its open, and
// again at each attempt where the writer compacts small tables without a pause: it looks again until it was faster.
constexpr std::chrono::seconds kReadOnlyPatience{30};

// By another process, or by this one.
bool IsLocked(const rocksdb::Status& s) {
  const std::string_view text = s.getState() == nullptr ? "" : s.getState();
  return s.IsIOError() && (text.starts_with("While lock file: ") || text.starts_with("lock hold by current process"));
}

// What a path is, before RocksDB sees it.
enum class PathState { kAbsent, kEmpty, kDatabase };

// The name of a log or table file in the directory, or nothing.
std::string FindRemains(const std::string& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".sst" || extension == ".log") return entry.path().filename().string();
  }
  return {};
}

Result<PathState> LookAt(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return PathState::kAbsent;
    const std::string text = "'" + path + "': " + std::strerror(errno);
    if (errno == EACCES) return PermissionDenied(text);
    return errno == ENOTDIR ? InvalidArgument(text) : IoError(text);
  }
  if (!S_ISDIR(info.st_mode)) return InvalidArgument("'" + path + "' is not a directory");
  if (access(path.c_str(), R_OK | X_OK) != 0) return PermissionDenied("'" + path + "': " + std::strerror(errno));
  if (access((path + "/CURRENT").c_str(), F_OK) == 0) return PathState::kDatabase;
  // Without CURRENT, RocksDB would make a new database here and delete the files of the old one.
  if (const std::string file = FindRemains(path); !file.empty()) {
    return DataLoss("'" + path + "' has no file CURRENT but holds files of a database, such as " + file);
  }
  return PathState::kEmpty;
}

// With its name in its parent, unless that is somebody else's.
Status CreateDirectory(rocksdb::Env* env, const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) {
    const std::string parent = fs::canonical(path, error).parent_path().string();
    return access(parent.c_str(), R_OK) == 0 ? SyncDirectory(env, parent) : Status::Ok();
  }
  const std::string text = "creating '" + path + "': " + error.message();
  if (error == std::errc::permission_denied || error == std::errc::read_only_file_system) return PermissionDenied(text);
  if (error == std::errc::no_space_on_device) return ResourceExhausted(text);
  return error == std::errc::not_a_directory ? InvalidArgument(text) : IoError(text);
}

// There where a process has met an error of the log. It need not survive a power loss, so it is not synced.
constexpr char kLogFailedMark[] = "/LOG_FAILED";

void MarkLogFailed(rocksdb::Env* env, const std::string& path) {
  std::unique_ptr<rocksdb::WritableFile> mark;
  if (env->NewWritableFile(path + kLogFailedMark, &mark, rocksdb::EnvOptions()).ok()) (void)mark->Close();
}

// RocksDB keeps the log files that it replays, but a later sync of the log covers only the file that it writes to. Rows that a
// killed process left in the page cache would never be synced: so that is done now. Where a sync of them failed, Linux has dropped
// what it should have covered from what it will ever write, though it can be read still, and the next sync says ok. Such files are
// written anew: else a power loss later on would take rows out of the middle of the log.
Status SyncOldLogs(rocksdb::Env* env, const std::string& path) {
  const bool failed = env->FileExists(path + kLogFailedMark).ok();
  std::vector<std::string> logs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".log") logs.push_back(entry.path().string());
  }
  if (error) return IoError("listing '" + path + "': " + error.message());
  for (const std::string& log : logs) {
    if (Status s = failed ? RewriteSyncedFile(env, log) : SyncFile(env, log); !s.ok()) return s;
  }
  if (!failed) return Status::Ok();
  if (Status s = SyncDirectory(env, path); !s.ok()) return s;
  const rocksdb::Status removed = env->DeleteFile(path + kLogFailedMark);
  return removed.ok() ? Status::Ok() : IoError("removing '" + path + kLogFailedMark + "': " + removed.ToString());
}

// One open of one directory, step by step. `around_damage`: with bad table files, which are then looked for; it is an error that
// there are none.
class Opener {
 public:
  Opener(rocksdb::Env* env, const std::string& path, const EngineOptions& options, const EngineSettings& settings,
         bool around_damage)
      : path_(path),
        options_(options),
        around_damage_(around_damage),
        whole_(options.instance == InstanceRole::kLog),
        linked_(settings.tables_of.empty() ? LinkedTables() : LinkedTables(path, settings.tables_of)),
        compacts_(settings.tables_of.empty()),
        resources_(MakeResources(options, settings)),
        events_(std::make_shared<EventCounter>(options.instance, [env, path] { MarkLogFailed(env, path); })),
        ignored_(std::make_shared<IgnoredErrors>(AdaptLogger(options.logger))) {
    db_options_ = MakeDbOptions(options, settings, resources_);
    resources_.env = CheckTables(env);
    if (options.compaction_reserve) {
      resources_.checking_env = std::move(resources_.env);
      CompactionReserve reserve = MakeCompactionReserve(resources_.checking_env.get(), options.compaction_reserve);
      resources_.env = std::move(reserve.env);
      db_options_.listeners.push_back(std::move(reserve.listener));
    }
    db_options_.env = resources_.env.get();
    db_options_.paranoid_checks = !around_damage;
    if (around_damage) {
      db_options_.info_log = ignored_;
    } else {
      db_options_.info_log = AdaptLogger(options.logger);
    }
    db_options_.listeners.push_back(events_);
    // After a compaction that met a full disk the next ones first look whether twice their input and this is free; by default it
    // would be the largest memtable.
    db_options_.sst_file_manager.reset(rocksdb::NewSstFileManager(env, db_options_.info_log));
    db_options_.sst_file_manager->SetCompactionBufferSize(1 << 20);
  }

  Result<OpenedInstance> Open(bool exists) {
    std::vector<std::string> present = {rocksdb::kDefaultColumnFamilyName};
    if (exists) {
      present.clear();
      const rocksdb::Status s = rocksdb::DB::ListColumnFamilies(db_options_, path_, &present);
      if (!s.ok()) return Describe(s);
    }
    if (Status s = CheckPresent(present); !s.ok()) return s;
    if (exists && !options_.read_only) {
      if (Status s = SyncOldLogs(db_options_.env, path_); !s.ok()) return s;
    }
    OpenedInstance opened;
    if (Status s = OpenPresent(present, &opened); !s.ok()) return s;
    Status s = around_damage_ ? AttributeDamage(&opened) : Status::Ok();
    if (s.ok()) s = CreateMissing(&opened);
    if (!s.ok()) {
      for (rocksdb::ColumnFamilyHandle* handle : opened.families) {
        if (handle != nullptr) (void)opened.db->DestroyColumnFamilyHandle(handle);
      }
      (void)opened.db->DestroyColumnFamilyHandle(opened.default_family);
      return s;
    }
    opened.resources = std::move(resources_);
    opened.events = std::move(events_);
    opened.linked = linked_;
    return opened;
  }

 private:
  Status Describe(const rocksdb::Status& s) const {
    if (IsLocked(s)) return LockedError("'" + path_ + "'", path_ + "/LOCK");
    const Status status = FromRocks(s);
    std::string message = status.message();
    // A table that is missing is looked for under a name of LevelDB's at last.
    for (std::size_t at = message.find(".ldb"); at != std::string::npos; at = message.find(".ldb", at))
      message.replace(at, 4, ".sst");
    return linked_.Naming(Status(status.code(), std::move(message))).WithContext("opening '" + path_ + "'");
  }

  std::size_t IndexOf(const std::string& name) const {
    const auto it =
        std::find_if(options_.families.begin(), options_.families.end(), [&](const FamilySpec& f) { return f.name == name; });
    return static_cast<std::size_t>(it - options_.families.begin());
  }

  Status CheckPresent(const std::vector<std::string>& present) const {
    for (const std::string& name : present) {
      if (name == rocksdb::kDefaultColumnFamilyName || IndexOf(name) < options_.families.size()) continue;
      return FailedPrecondition("'" + path_ + "' holds a family '" + name + "' that was not listed");
    }
    for (const FamilySpec& family : options_.families) {
      if (!options_.read_only || std::find(present.begin(), present.end(), family.name) != present.end()) continue;
      return NotFound("'" + path_ + "' has no family '" + family.name + "' (its MANIFEST may be cut off)");
    }
    return Status::Ok();
  }

  Status OpenPresent(const std::vector<std::string>& present, OpenedInstance* opened) {
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : present) {
      if (name == rocksdb::kDefaultColumnFamilyName) {
        descriptors.emplace_back(name, MakeDefaultFamilyOptions(resources_));
        descriptors.back().options.disable_auto_compactions = !compacts_;
      } else {
        descriptors.push_back(Descriptor(options_.families[IndexOf(name)]));
      }
    }
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status s = options_.read_only ? rocksdb::DB::OpenForReadOnly(db_options_, path_, descriptors, &handles, &db)
                                                 : rocksdb::DB::Open(db_options_, path_, descriptors, &handles, &db);
    if (!s.ok()) return Describe(s);
    opened->db.reset(db);
    opened->families.resize(options_.families.size(), nullptr);
    for (std::size_t i = 0; i < present.size(); ++i) {
      if (present[i] == rocksdb::kDefaultColumnFamilyName) {
        opened->default_family = handles[i];
      } else {
        opened->families[IndexOf(present[i])] = handles[i];
      }
    }
    return Status::Ok();
  }

  // In one call: RocksDB rewrites its options file once a call.
  Status CreateMissing(OpenedInstance* opened) const {
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    std::vector<std::size_t> missing;
    for (std::size_t i = 0; i < options_.families.size(); ++i) {
      if (opened->families[i] != nullptr) continue;
      missing.push_back(i);
      descriptors.push_back(Descriptor(options_.families[i]));
    }
    if (missing.empty()) return Status::Ok();
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    const rocksdb::Status s = opened->db->CreateColumnFamilies(descriptors, &handles);
    for (std::size_t i = 0; i < handles.size(); ++i) opened->families[missing[i]] = handles[i];
    return s.ok() ? Status::Ok() : Describe(s);
  }

  // Finds the families that are damaged, and starts the compactions of the others.
  Status AttributeDamage(OpenedInstance* opened) const {
    // Who looks around tables of a log has its files judged by CheckLog.
    if (Status s = ignored_->status(); !s.ok() && !whole_) return s.WithContext("opening '" + path_ + "'");
    const TableLook look = whole_ ? TableLook::kWhole : TableLook::kAsOpen;
    opened->bad_tables = FindBadTables(opened->db.get(), opened->default_family, look);
    if (!whole_) {
      const Status shared = DamageOf(path_, opened->default_family->GetName(), opened->bad_tables);
      if (!shared.ok()) return shared;
    }
    opened->damage.resize(opened->families.size());
    bool any = !opened->bad_tables.empty();
    std::vector<rocksdb::ColumnFamilyHandle*> sound;
    for (std::size_t i = 0; i < opened->families.size(); ++i) {
      if (opened->families[i] == nullptr) continue;
      std::vector<BadTable> bad = FindBadTables(opened->db.get(), opened->families[i], look);
      opened->damage[i] = DamageOf(path_, options_.families[i].name, bad);
      std::move(bad.begin(), bad.end(), std::back_inserter(opened->bad_tables));
      any = any || !opened->damage[i].ok();
      if (opened->damage[i].ok()) sound.push_back(opened->families[i]);
    }
    if (!any && !whole_) return DataLoss("no family has one");
    return options_.read_only ? Status::Ok() : FromRocks(opened->db->EnableAutoCompaction(sound));
  }

  rocksdb::ColumnFamilyDescriptor Descriptor(const FamilySpec& family) const {
    rocksdb::ColumnFamilyOptions tuned = MakeFamilyOptions(options_, family, resources_);
    tuned.disable_auto_compactions = around_damage_ || !compacts_;
    tuned.merge_operator = AdaptMerge(family.merge);
    tuned.compaction_filter_factory = AdaptDropFilter(family.drop_filter);
    return {family.name, tuned};
  }

  const std::string& path_;
  const EngineOptions& options_;
  const bool around_damage_;
  const bool whole_;  // `around_damage` is of all tables to their last block, those that families share too
  const LinkedTables linked_;
  const bool compacts_;
  InstanceResources resources_;
  std::shared_ptr<EventCounter> events_;
  const std::shared_ptr<IgnoredErrors> ignored_;
  rocksdb::DBOptions db_options_;
};

// Whether an error of an open may come of one file that is gone or damaged: by the writer beside a reader, or by a bad disk.
bool MayBeOneFile(const Status& s) {
  return s.code() == StatusCode::kNotFound || s.code() == StatusCode::kIoError || s.code() == StatusCode::kDataLoss;
}

class RocksDbEngineFactory : public EngineFactory {
 public:
  explicit RocksDbEngineFactory(rocksdb::Env* env) : env_(env) {}

  std::string_view Name() const override { return "rocksdb"; }

  Result<std::unique_ptr<KvEngine>> Open(const std::string& path, const EngineOptions& options) override {
    if (Status s = CheckFamilies(options); !s.ok()) return s;
    const Result<EngineSettings> settings = ParseSettings(options);
    if (!settings.ok()) return settings.status();
    if (settings->repair) {
      if (Status s = RepairTables(env_, path, options, *settings); !s.ok()) return s;
    }
    const Result<PathState> state = LookAt(path);
    if (!state.ok()) return state.status();
    if (!settings->drop.empty() && *state == PathState::kDatabase) {
      if (Status s = DropDamagedTables(path, options, *settings); !s.ok()) return s;
    }
    if (*state != PathState::kDatabase) {
      if (options.read_only || !options.create_if_missing) return NotFound("there is no database at '" + path + "'");
      if (Status s = CreateDirectory(env_, path); !s.ok()) return s;
    }
    if (!options.read_only) {
      return MakeEngine(path, options, OpenFiles(path, options, *settings, *state == PathState::kDatabase));
    }
    if (options.quarantine && options.instance == InstanceRole::kLog)
      return MakeEngine(path, options, Opener(env_, path, options, *settings, true).Open(true));
    const auto give_up = std::chrono::steady_clock::now() + kReadOnlyPatience;
    Status last;
    do {
      Result<std::unique_ptr<KvEngine>> engine = OpenToRead(path, options, *settings);
      if (engine.ok() || !MayBeOneFile(engine.status())) return engine;
      if (engine.status() == last) {  // the same file twice: not the writer's doing
        return options.quarantine ? MakeEngine(path, options, OpenAroundDamage(path, options, *settings, last)) : last;
      }
      last = engine.status();
    } while (std::chrono::steady_clock::now() < give_up);
    return Unavailable("files of '" + path + "' kept vanishing under the reader: " + last.message());
  }

  Result<std::string> CheckLog(const std::string& path, const EngineOptions& options, LogJudge* judge) override {
    const Result<EngineSettings> settings = ParseSettings(options);
    const Result<PathState> state = LookAt(path);
    if (!settings.ok() || settings->tolerate_tail || !state.ok() || *state != PathState::kDatabase) {
      return std::string();  // there is nothing to check, or Open says what is wrong
    }
    EngineOptions reading = options;
    reading.read_only = true;
    const OpenLogView open_view = [&](LogReading reading_log, OnPut on_put) -> Result<LogView> {
      EngineSettings how = *settings;
      how.log_rows = false;
      how.on_put = std::move(on_put);
      how.tolerate_tail = reading_log == LogReading::kUpToDamage;
      how.skip_damage = reading_log == LogReading::kAroundDamage;
      Result<OpenedInstance> opened = OpenFiles(path, reading, how, true);
      if (!opened.ok()) return opened.status();
      LogView view;
      for (FamilyId i = 0; i < opened->families.size(); ++i) view.families[opened->families[i]->GetID()] = i;
      opened->db->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &view.oldest_log);
      view.engine = std::make_unique<RocksDbEngine>(path, reading, std::move(opened).value());
      return view;
    };
    return CheckInstanceLog(env_, path, options.instance, options.read_only, judge, open_view);
  }

  Result<std::unique_ptr<HeldFiles>> HoldFiles(const std::string& path) override { return HoldRocksDbFiles(path); }

 private:
  Result<OpenedInstance> OpenFiles(const std::string& path, const EngineOptions& options, const EngineSettings& settings,
                                   bool exists) const {
    Result<OpenedInstance> opened = Opener(env_, path, options, settings, false).Open(exists);
    if (opened.ok() || !options.quarantine || !exists || !MayBeOneFile(opened.status())) return opened;
    return OpenAroundDamage(path, options, settings, opened.status());
  }

  Result<std::unique_ptr<KvEngine>> OpenToRead(const std::string& path, const EngineOptions& options,
                                               const EngineSettings& settings) const {
    constexpr std::uint64_t kLarge = 144ULL << 20;
    const bool log = options.instance == InstanceRole::kLog;
    const auto open = [&](const EngineSettings& how) {
      Result<std::unique_ptr<KvEngine>> engine = MakeEngine(path, options, Opener(env_, path, options, how, false).Open(true));
      // CheckLog says so before an open for writing.
      const std::uint64_t missing = log && engine.ok() ? FirstMissingLog(env_, path) : 0;
      if (missing != 0) engine = DataLoss("log files from " + LogFileName(missing) + " on were lost");
      return engine;
    };
    // RocksDB has all of a log in memory when it meets damage at its end: a large one is first replayed without its rows. That is
    // reading it once more, so not for what tools hold by default.
    if (log && settings.log_rows && settings.wal_dir.empty() && LogFileBytes(path) > kLarge) {
      EngineSettings looking = settings;
      looking.log_rows = false;
      if (const Status looked = open(looking).status(); !looked.ok()) return looked;
    }
    return open(settings);
  }

  // `strict`: what an open without bad files said.
  Result<OpenedInstance> OpenAroundDamage(const std::string& path, const EngineOptions& options, const EngineSettings& settings,
                                          const Status& strict) const {
    Result<OpenedInstance> opened = Opener(env_, path, options, settings, true).Open(true);
    if (opened.ok() || opened.status() == strict) return opened;
    return DataLoss(strict.message() + "; and with its bad table files: " + opened.status().message());
  }

  // ok, too, where there is none, or an Open says what is wrong.
  Status DropDamagedTables(const std::string& path, const EngineOptions& options, const EngineSettings& settings) const {
    EngineOptions reading = options;
    reading.read_only = true;
    EngineSettings tables_only = settings;
    tables_only.log_rows = false;
    std::vector<BadTable> bad;
    {
      Result<OpenedInstance> opened = Opener(env_, path, reading, tables_only, true).Open(true);
      if (!opened.ok()) return Status::Ok();
      bad = opened->bad_tables;
      const RocksDbEngine closes(path, reading, std::move(opened).value());
    }
    std::erase_if(bad, [&](const BadTable& table) { return !settings.drop.contains(table.file); });
    return DropTables(env_, path, bad);
  }

  static Result<std::unique_ptr<KvEngine>> MakeEngine(const std::string& path, const EngineOptions& options,
                                                      Result<OpenedInstance> opened) {
    if (!opened.ok()) return opened.status();
    auto engine = std::make_unique<RocksDbEngine>(path, options, std::move(opened).value());
    // Who only looks needs none, and what they are in may be what is damaged.
    const bool around = options.read_only && options.quarantine && options.instance == InstanceRole::kLog;
    if (Status s = engine->LoadEpochs(); !s.ok() && !around) return s;
    return std::unique_ptr<KvEngine>(std::move(engine));
  }

  rocksdb::Env* const env_;
};

}  // namespace

std::shared_ptr<EngineFactory> MakeRocksDbEngineFactory() { return MakeRocksDbEngineFactory(rocksdb::Env::Default()); }

std::shared_ptr<EngineFactory> MakeRocksDbEngineFactory(rocksdb::Env* env) { return std::make_shared<RocksDbEngineFactory>(env); }

}  // namespace chronolith

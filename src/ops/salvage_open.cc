// salvage: opening what is left of an instance, without touching it.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "base/posix_file.h"
#include "base/table_ranges.h"
#include "chronolith/engine_registry.h"
#include "format/chunk_rows.h"
#include "ops/disk_room.h"
#include "ops/file_copy.h"
#include "ops/log_in_tables.h"
#include "ops/recovered_copy.h"
#include "ops/salvage_parts.h"
#include "ops/verify_pass.h"
#include "ops/writing_store.h"
#include "storage/log_judge.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

// Takes damaged bytes out of the copy of a log and keeps what is intact.
class GivingUp : public LogJudge {
 public:
  GivingUp(const std::string& copy, const std::string& source, LossList* losses) : copy_(copy), source_(source), losses_(losses) {}
  Status Begin(KvEngine*) override { return Status::Ok(); }
  void OnRow(FamilyId, std::string_view, std::string_view) override {}
  void OnDamage(const LogDamage& damage) override {
    std::string place = damage.place;
    if (place.starts_with(copy_)) place.replace(0, copy_.size(), source_);
    losses_->Add(
        {.kind = LossKind::kLog,
         .what = place + (damage.ends_log ? ": nothing intact follows, so how many records of which shard were lost is not known"
                                          : ": damaged; which records it held is told for each shard")});
  }
  Result<std::optional<std::size_t>> Decide() override { return std::optional<std::size_t>(); }
  bool GivesUpDamage() const override { return true; }

 private:
  const std::string& copy_;
  const std::string& source_;
  LossList* const losses_;
};

class NotingLogger : public Logger {
 public:
  explicit NotingLogger(LossList* losses) : losses_(losses) {}
  void Log(LogLevel, std::string_view message) override { losses_->Note(std::string(message)); }

 private:
  LossList* const losses_;
};

class Opening {
 public:
  Opening(const std::string& source, const StoreManifest& manifest, SalvageScratch* scratch, const SalvageOptions& options,
          const OpsContext& context, LossList* losses)
      : source_(source),
        manifest_(manifest),
        scratch_(scratch),
        options_(options),
        context_(context),
        silent_(context),
        losses_(losses) {
    silent_.progress = nullptr;
  }

  Result<SalvageSource> Run() {
    Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(manifest_.engine);
    if (!factory.ok()) return factory.status();
    factory_ = *factory;
    SalvageSource found;
    found.manifest = manifest_;
    found.unfinished = GivenUpBefore();
    // The log first: beside a writer, what it is trimmed of is in the data opened next.
    if (Status s = OpenLog(&found); !s.ok()) return s;
    if (Status s = OpenData(&found); !s.ok()) return s;
    if (found.log == nullptr && found.data == nullptr && found.rebuilt == nullptr) {
      return DataLoss("nothing of " + source_ + " can be read");
    }
    ReadFloor(&found);
    return found;
  }

 private:
  EngineOptions ReadOnly(EngineOptions options) const {
    options.read_only = true;
    options.create_if_missing = false;
    options.background_threads = 1;
    options.block_cache_bytes = 16ULL << 20;
    options.logger = context_.logger;
    return options;
  }
  // The same, for who asks for nothing of the log's files.
  EngineOptions TablesOnly(const EngineOptions& options) const {
    EngineOptions tables = ReadOnly(options);
    tables.extra["log_rows"] = "left_out";
    return tables;
  }
  static bool MeansLost(const Status& s) {
    return s.code() == StatusCode::kDataLoss || s.code() == StatusCode::kIoError || s.code() == StatusCode::kNotFound;
  }

  // ---- Data ----

  Status OpenData(SalvageSource* found) {
    const std::string path = DataInstancePath(source_);
    std::error_code error;
    if (!fs::exists(path, error) && !error) {
      losses_->Add({.kind = LossKind::kFile, .what = path + " is missing: all that was stored"});
      return Status::Ok();
    }
    EngineOptions options = ReadOnly(DataInstanceOptions(found->manifest));
    options.quarantine = true;
    Result<std::unique_ptr<KvEngine>> opened = factory_->Open(path, options);
    if (!opened.ok() && !MeansLost(opened.status())) return opened.status();
    if (opened.ok()) {
      const Status identity = CheckIdentity(opened->get(), found->manifest, "data");
      if (identity.code() == StatusCode::kFailedPrecondition) return identity;
      if (identity.code() == StatusCode::kNotFound) opened = DataLoss("it is empty: it was lost, or its disk is not mounted");
    }
    bool rebuild = !opened.ok();
    if (opened.ok()) {
      found->data = std::move(*opened);
      ListTables(*found);
      if (Status s = NameBadFiles(found); !s.ok()) return s;
      for (FamilyId family = 1; family <= ChunkFamily(found->manifest.shards - 1); ++family) {
        rebuild = rebuild || !found->data->Damage(family).ok();
      }
    } else {
      losses_->Add(
          {.kind = LossKind::kFile,
           .what = path + " cannot be opened (" + opened.status().message() +
                   "): its tables are read one by one; which of them are missing is not known, and rows that were replaced "
                   "or expired may be among them"});
    }
    if (!rebuild) return Status::Ok();
    const Result<std::string> scratch = scratch_->Path();
    if (!scratch.ok()) return scratch.status();
    const std::string copy = *scratch + "/data";
    std::set<std::string> wanted;  // of the families that are read there
    for (const auto& [file, table] : tables_) {
      if (found->IsDamaged(table.family)) wanted.insert(file);
    }
    if (Status s = Gather(path, copy, found->data == nullptr, wanted); !s.ok()) return s;
    EngineOptions repair = DataInstanceOptions(found->manifest);
    repair.background_threads = 1;
    repair.extra["repair"] = "tables";
    Result<std::unique_ptr<KvEngine>> rebuilt = factory_->Open(copy, repair);
    if (!rebuilt.ok()) {
      losses_->Add({.kind = LossKind::kFile, .what = "its tables cannot be read one by one either: " + rebuilt.status().message()});
      return Status::Ok();
    }
    found->rebuilt = std::move(*rebuilt);
    for (const auto& entry : fs::directory_iterator(copy + "/lost", error)) {
      if (entry.path().extension() != ".sst") continue;
      const std::string file = path + "/" + entry.path().filename().string();
      if (told_.contains(entry.path().filename().string())) continue;
      losses_->Add({.kind = LossKind::kFile, .what = file + " cannot be read to its end: nothing of it was taken"});
    }
    return Status::Ok();
  }

  void ReadFloor(SalvageSource* found) {
    bool known = false;
    for (ShardId shard = 0; shard < found->manifest.shards; ++shard) {
      const FamilyId family = ChunkFamily(shard);
      KvEngine* const engine = found->DataOf(family);
      std::string value;
      ChunkState state;
      if (engine == nullptr) continue;
      const Status s = engine->Get(family, kChunkStateKey, &value);
      known = known || (s.code() == StatusCode::kNotFound && !found->IsDamaged(family));  // nothing was stored yet
      if (!s.ok() || !DecodeChunkState(kChunkStateKey, value, &state).ok()) continue;
      found->floor = std::max(found->floor.value_or(kMinTimestamp), state.floor);
      known = true;
    }
    if (known || (found->data == nullptr && found->rebuilt == nullptr)) return;
    losses_->Add(
        {.kind = LossKind::kDeletes, .what = "up to when retention had expired samples is not known: some may be there again"});
  }

  // Where the engine can say so, which keys its tables hold.
  void ListTables(const SalvageSource& found) {
    const auto* const ranges = dynamic_cast<const TableRanges*>(found.data.get());
    if (ranges == nullptr) return;
    for (FamilyId family = 1; family <= ChunkFamily(found.manifest.shards - 1); ++family) {
      for (TableRange& table : ranges->Tables(family)) {
        const std::string file = table.file;
        tables_[file] = {family, file, std::move(table.smallest), std::move(table.largest)};
      }
    }
  }

  void TellFile(SalvageSource* found, ShardId shard, bool chunks, const VerifyProblem& p) {
    const std::string file = p.where.substr(p.where.rfind('/') + 1);
    if (!told_.insert(file).second) return;
    const auto table = tables_.find(file);
    std::string held = chunks ? "samples of any series of the shard may have been in it, up to what the log still has"
                              : "labels of series of the shard may have been in it";
    if (table != tables_.end()) {
      found->lost_tables.push_back(table->second);
      if (chunks) held = "what it may have held is told below";
    }
    losses_->Add({.kind = LossKind::kFile, .shard = shard, .what = p.what + ": " + held});
  }

  // Families with bad files are rebuilt from the others; of the rest what cannot be read is told row by row.
  Status NameBadFiles(SalvageSource* found) {
    for (ShardId shard = 0; shard < found->manifest.shards; ++shard) {
      for (const bool chunks : {false, true}) {
        const FamilyId family = chunks ? ChunkFamily(shard) : IndexFamily(shard);
        const Status damage = found->data->Damage(family);
        if (damage.ok()) continue;
        VerifyFlow flow(silent_, 0);
        ProblemList problems(shard);
        const auto reopen = []() -> Result<KvEngine*> { return Unavailable("it vanished"); };
        if (Status s = LookAtFiles(found->data.get(), family, "data", reopen, &flow, &problems, [](std::uint64_t) {}); !s.ok())
          return s;
        if (problems.total() == 0) problems.Add(ProblemKind::kFile, "", damage.message());
        for (const VerifyProblem& p : problems.listed()) TellFile(found, shard, chunks, p);
      }
    }
    return Status::Ok();
  }

  // Tables, those `wanted` where any are named; with `all` the rest as copies.
  Status Gather(const std::string& from, const std::string& to, bool all, const std::set<std::string>& wanted) {
    std::error_code error;
    fs::create_directories(to, error);
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(from, error)) {
      std::error_code unreadable;  // then it is missing
      if (entry.is_regular_file(unreadable)) files.push_back(entry.path());
    }
    if (error) return ErrnoStatus("cannot gather the files of " + from, error);
    for (const fs::path& file : files) {
      const std::string name = file.filename().string();
      const bool table = file.extension() == ".sst";
      const bool log = file.extension() == ".log";
      if (!table && !(all && log)) continue;
      if (table && !wanted.empty() && !wanted.contains(name)) continue;
      if (Status s = table ? Link(file, to + "/" + name) : Copy(file.string(), to + "/" + name); !s.ok()) {
        if (s.code() == StatusCode::kCancelled) return s;
        losses_->Add({.kind = LossKind::kFile, .what = file.string() + ": " + s.message()});
      }
    }
    return Status::Ok();
  }

  // A table under another name: no engine ever writes to one. Among temporary files, which may be elsewhere, without its bytes.
  Status Link(const fs::path& table, const std::string& to) {
    std::error_code error;
    if (scratch_->temporary()) {
      fs::create_symlink(fs::absolute(table), to, error);
      return error ? ErrnoStatus("cannot link to " + table.string(), error) : Status::Ok();
    }
    fs::create_hard_link(table, to, error);
    return error ? Copy(table.string(), to) : Status::Ok();
  }

  Status Copy(const std::string& from, const std::string& to) {
    std::error_code error;
    fs::remove(to, error);  // a link to it
    Pace pace(silent_, 0);
    return CopyFile(from, to, &pace);
  }

  // ---- Log ----

  Unfinished GivenUpBefore() const {
    Result<Unfinished> read = ReadUnfinished(source_, manifest_.shards);
    if (read.ok()) return std::move(*read);
    losses_->Note(read.status().message() + ": it may name any shard");
    Unfinished all;
    for (ShardId shard = 0; shard < manifest_.shards; ++shard) all.tables.insert(shard);
    return all;
  }

  Status OpenLog(SalvageSource* found) {
    const std::string path = options_.log_path.empty() ? LogInstancePath(source_, found->manifest) : options_.log_path;
    const EngineOptions options = LogInstanceOptions(found->manifest);
    Result<std::unique_ptr<KvEngine>> opened = DataLoss("tables of it cannot be read");
    if (TablesThatAreBad(path, options).empty()) {
      Result<std::shared_ptr<LogInTables>> in_tables = PutInTables(path, options);
      if (!in_tables.ok()) return in_tables.status();
      found->log_in_tables = std::move(*in_tables);
      opened = factory_->Open(found->log_in_tables != nullptr ? found->log_in_tables->path() : path, ReadOnly(options));
    }
    if (!opened.ok() && !MeansLost(opened.status())) return opened.status();
    const std::string why = opened.status().message();
    if (!opened.ok()) opened = OpenLogCopy(path, options, found);
    if (MustEnd(opened.status())) return opened.status();
    if (!opened.ok()) opened = ReplayLogFiles(path, options, why);
    if (MustEnd(opened.status())) return opened.status();
    if (!opened.ok()) {
      losses_->Add({.kind = LossKind::kLog, .what = "the log in " + path + " cannot be read: " + why});
      return Status::Ok();
    }
    const Status identity = CheckIdentity(opened->get(), found->manifest, "log");
    if (identity.code() == StatusCode::kFailedPrecondition) return identity;
    // Read without its manifest, or with bytes taken out, it may hold records all the same.
    if (identity.code() == StatusCode::kNotFound && !HasRecords(opened->get(), found->manifest)) {
      if (!dropped_) {
        losses_->Add({.kind = LossKind::kLog,
                      .what = "the log in " + path +
                              (why.empty() ? " is empty: it was lost, or its disk is not mounted" : " cannot be read: " + why)});
        return (*opened)->Close();
      }
    }
    if (identity.code() == StatusCode::kNotFound && why.empty()) {
      losses_->Add({.kind = LossKind::kLog, .what = "the beginning of the log in " + path + " is lost"});
    }
    found->log = std::move(*opened);
    return Status::Ok();
  }

  // Left on the disk of a copy of the log: what the new store takes of the data, too.
  std::uint64_t SpareBytes() const {
    constexpr std::uint64_t kSpare = 256ULL << 20;
    return FileBytes(DataInstancePath(source_), ".sst") + kSpare;
  }

  // Where the log's rows are read, its tables too; null where it is read as it is.
  Result<std::shared_ptr<LogInTables>> PutInTables(const std::string& path, const EngineOptions& options) {
    LogInTables::Place place;
    if (!scratch_->temporary()) {
      const Result<std::string> scratch = scratch_->Path();
      if (!scratch.ok()) return scratch.status();
      place.parent = *scratch;
    }
    place.spare_bytes = SpareBytes();
    OpsContext noting = silent_;
    noting.logger = std::make_shared<NotingLogger>(losses_);
    return LogInTables::Make({factory_, source_, path, ReadOnly(options)}, noting, place);
  }

  Status CopyLog(const std::string& path, const std::string& copy) {
    std::error_code error;
    fs::create_directories(copy, error);
    for (const auto& entry : fs::directory_iterator(path, error)) {
      std::error_code unreadable;  // then it is missing
      if (!entry.is_regular_file(unreadable) || entry.path().filename() == "LOCK") continue;
      const std::string to = copy + "/" + entry.path().filename().string();
      const bool table = entry.path().extension() == ".sst";
      if (Status s = table ? Link(entry.path(), to) : Copy(entry.path().string(), to); !s.ok()) return s;
    }
    return error ? ErrnoStatus("cannot list " + path, error) : Status::Ok();
  }

  // What a copy lacked room for is not lost.
  static bool MustEnd(const Status& status) { return status.code() == StatusCode::kCancelled || IsOfFullDisk(status); }

  static bool HasRecords(KvEngine* log, const StoreManifest& manifest) {
    for (ShardId shard = 0; shard < manifest.shards; ++shard) {
      const auto it = log->NewIterator(WalFamily(shard), {.fill_cache = false});
      if (!it.ok()) return true;
      (*it)->Seek("");
      if ((*it)->Valid() || !(*it)->status().ok()) return true;
    }
    return false;
  }

  // With damaged bytes taken out of a copy.
  Result<std::unique_ptr<KvEngine>> OpenLogCopy(const std::string& path, const EngineOptions& options, SalvageSource* found) {
    const Result<std::string> scratch = scratch_->Path();
    if (!scratch.ok()) return scratch.status();
    const std::string copy = *scratch + "/log";
    if (Status s = CopyLog(path, copy); !s.ok()) return s;
    GivingUp judge(copy, path, losses_);
    EngineOptions writing = options;
    writing.create_if_missing = false;
    if (Status s = DropBadTables(copy, options, found); MustEnd(s)) return s;
    return OpenMended(copy, writing, &judge);
  }

  // A copy of the log, without what the judge gives up: where it is large, and there is room, with its rows in tables.
  Result<std::unique_ptr<KvEngine>> OpenMended(const std::string& copy, const EngineOptions& writing, LogJudge* judge) const {
    const Result<std::string> kept = factory_->CheckLog(copy, writing, judge);
    if (!kept.ok()) return kept.status();
    std::error_code ignored;
    if (!kept->empty()) fs::remove_all(*kept, ignored);  // the source has it
    if (const std::uint64_t bytes = FileBytes(copy, ".log"); bytes > context_.memory_limit_bytes / kLogHeldPart) {
      const Result<DiskRoom> room = RoomFor(copy);
      const bool enough = room.ok() && room->free > bytes + SpareBytes();
      const Status stored =
          enough ? StoreLogRows(factory_.get(), copy, writing) : ResourceExhausted("the disk of " + copy + " has too little room");
      if (!stored.ok())
        losses_->Note("the memory limit may be passed, as the rows of the log could not be stored: " + stored.message());
    }
    if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    return factory_->Open(copy, ReadOnly(writing));
  }

  // Of the copy: RocksDB refuses all of an instance for one that it cannot read.
  Status DropBadTables(const std::string& copy, const EngineOptions& options, SalvageSource* found) {
    found->lost_log_tables = TablesThatAreBad(copy, options);
    if (found->lost_log_tables.empty()) return Status::Ok();
    for (const BadLogTable& table : found->lost_log_tables) {
      losses_->Note((table.shard ? "shard " + std::to_string(*table.shard) + ": " : std::string()) + "a table of the log, " +
                    table.file + ", cannot be read");
    }
    EngineOptions dropping = TablesOnly(options);
    dropping.extra["drop_damaged_tables"] = NamesOf(found->lost_log_tables);
    const auto opened = factory_->Open(copy, dropping);
    dropped_ = opened.ok();
    return opened.status();
  }

  std::vector<BadLogTable> TablesThatAreBad(const std::string& path, const EngineOptions& options) const {
    EngineOptions look = TablesOnly(options);
    look.quarantine = true;
    const Result<std::unique_ptr<KvEngine>> seen = factory_->Open(path, look);
    return seen.ok() ? BadLogTables(seen->get(), manifest_.shards) : std::vector<BadLogTable>();
  }

  // Without its manifest: an instance with the same families, made in the same order, takes the log files for its own.
  Result<std::unique_ptr<KvEngine>> ReplayLogFiles(const std::string& path, const EngineOptions& options, const std::string& why) {
    constexpr std::uint64_t kBehindItsOwn = 1'000'000;  // numbers of files
    const Result<std::string> scratch = scratch_->Path();
    if (!scratch.ok()) return scratch.status();
    const std::string fresh = *scratch + "/newlog";
    Result<std::unique_ptr<KvEngine>> made = factory_->Open(fresh, options);
    if (!made.ok()) return made.status();
    if (Status s = (*made)->Close(); !s.ok()) return s;
    made->reset();
    std::error_code error;
    std::uint64_t tables = 0;
    for (const auto& entry : fs::directory_iterator(path, error)) {
      tables += entry.path().extension() == ".sst" ? 1 : 0;
      if (entry.path().extension() != ".log") continue;
      const std::uint64_t number = std::strtoull(entry.path().filename().c_str(), nullptr, 10) + kBehindItsOwn;
      if (Status s = Copy(entry.path().string(), fresh + "/" + std::to_string(number) + ".log"); !s.ok()) return s;
    }
    if (error) return ErrnoStatus("cannot list " + path, error);
    GivingUp judge(fresh, path, losses_);
    EngineOptions writing = options;
    writing.create_if_missing = false;
    Result<std::unique_ptr<KvEngine>> opened = OpenMended(fresh, writing, &judge);
    if (!opened.ok()) return opened;
    losses_->Add(
        {.kind = LossKind::kFile,
         .what =
             path + " cannot be opened (" + why + "): its log files were read without it" +
             (tables == 0 ? "" : "; " + std::to_string(tables) + " tables, which hold records that were trimmed late, were not")});
    return opened;
  }

  const std::string& source_;
  const StoreManifest& manifest_;
  SalvageScratch* const scratch_;
  const SalvageOptions& options_;
  const OpsContext& context_;
  OpsContext silent_;
  LossList* const losses_;
  std::shared_ptr<EngineFactory> factory_;
  std::set<std::string> told_;
  bool dropped_ = false;                     // tables of the copy of the log that cannot be read
  std::map<std::string, LostTable> tables_;  // of the data instance, by file
};

}  // namespace

KvEngine* SalvageSource::DataOf(FamilyId family) const { return IsDamaged(family) ? rebuilt.get() : data.get(); }

Result<SalvageSource> OpenSalvageSource(const std::string& source, const StoreManifest& manifest, SalvageScratch* scratch,
                                        const SalvageOptions& options, const OpsContext& context, LossList* losses) {
  return Opening(source, manifest, scratch, options, context, losses).Run();
}

}  // namespace chronolith::ops

#include "ops/verify.h"

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "chronolith/engine_registry.h"
#include "format/scrub_state.h"
#include "ops/recovered_copy.h"
#include "ops/verify_pass.h"
#include "storage/log_judge.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kPairs = 2;                   // of threads: one reads files, one looks at rows
constexpr std::uint64_t kAheadBytes = 64ULL << 20;  // of each pair
constexpr int kLooksMax = 5;

using View = std::shared_ptr<OfflineStore>;

class Verification {
 public:
  Verification(const std::string& path, const VerifyOptions& options, const OpsContext& context, VerifyReport* report)
      : path_(path), options_(options), context_(context), report_(report), flow_(context, options.bytes_per_second) {}

  Status Run() {
    View view = OpenView();
    if (view == nullptr) return failure_;
    const StoreManifest& manifest = view->manifest();
    std::vector<ShardId> shards = options_.shards;
    for (ShardId i = 0; shards.empty() && i < manifest.shards; ++i) all_.push_back(i);
    if (shards.empty()) shards = all_;
    for (const ShardId shard : shards) {
      if (shard >= manifest.shards) {
        return InvalidArgument("there is no shard " + std::to_string(shard) + ": the database has " +
                               std::to_string(manifest.shards));
      }
      report_->shards.push_back({.shard = shard});
    }
    Begin(*view);
    found_.assign(report_->shards.size(), ProblemList());
    if (options_.shards.empty()) {
      if (Status s = LookAtShared(view); !s.ok()) return s;
    }
    if (Status s = LookAtShards(view); !s.ok()) return s;
    Collect(shared_);
    for (std::size_t i = 0; i < found_.size(); ++i) {
      report_->shards[i].problems = found_[i].total();
      Collect(found_[i]);
    }
    return context_.CheckCancelled();
  }

 private:
  // As much of the store as can be opened; what cannot is a problem. Null: failure_.
  View OpenView() {
    Result<OfflineOptions> now = OfflineNow(context_);
    failure_ = now.status();
    if (!now.ok()) return nullptr;
    OfflineOptions how = std::move(*now);
    how.quarantine = true;
    Result<std::unique_ptr<OfflineStore>> whole = OfflineStore::Open(path_, how);
    failure_ = whole.status();
    if (whole.ok()) return std::move(*whole);
    const Result<StoreManifest> manifest = ReadStoreManifest(path_);
    if (manifest.status().code() == StatusCode::kDataLoss) {
      shared_.Add(ProblemKind::kInstance, std::string(kStoreFile), manifest.status().message());
      Collect(shared_);
      failure_ = Status::Ok();
    }
    if (!manifest.ok()) return nullptr;
    // An engine does not find files of its own.
    const bool lost = failure_.code() == StatusCode::kNotFound && manifest->complete;
    if (!lost && failure_.code() != StatusCode::kDataLoss && failure_.code() != StatusCode::kIoError) return nullptr;
    View part;
    const auto open = [&](bool log) {
      how.log = log;
      how.data = !log;
      Result<std::unique_ptr<OfflineStore>> one = OfflineStore::Open(path_, how);
      if (one.ok()) {
        part = std::move(*one);
      } else {
        shared_.Add(ProblemKind::kInstance, log ? "log" : "data", one.status().message());
        if (log) NameDamageOfLog(*manifest, how);
      }
    };
    open(true);
    open(false);  // the data, where both can be read one by one
    if (part == nullptr) {
      Collect(shared_);
      failure_ = Status::Ok();
    } else if (shared_.total() == 0) {  // what kept both from being opened has passed
      return nullptr;
    } else {
      shared_.Note(std::string("the ") + (part->log() == nullptr ? "log" : "data") +
                   " could not be opened, so nothing was compared with it");
    }
    return part;
  }

  // Why the log cannot be opened: damage that engines tell of only when they are asked before an open for writing.
  void NameDamageOfLog(const StoreManifest& manifest, const OfflineOptions& how) {
    const auto engines = how.engines != nullptr ? how.engines : EngineRegistry::Default();
    const Result<std::shared_ptr<EngineFactory>> factory = engines->Find(manifest.engine);
    if (!factory.ok()) return;
    const std::string path = how.log_path.empty() ? LogInstancePath(path_, manifest) : how.log_path;
    const Result<std::vector<std::string>> places = DamagedPlaces(factory->get(), path, LogInstanceOptions(manifest));
    if (!places.ok()) return shared_.Add(ProblemKind::kLog, "log", places.status().message());
    for (const std::string& place : *places) {
      shared_.Add(ProblemKind::kLog, "log", place + ": not what was written");
    }
  }

  // A copy of the log is read for as long as nobody writes to that, then another one. kCancelled.
  Result<OfflineOptions> OfflineNow(const OpsContext& context) {
    OfflineOptions how = options_.store;
    MutexLock lock(&mu_);
    const bool current = log_in_tables_ != nullptr && log_in_tables_->IsCurrent();
    if (!current && !log_as_it_is_) {
      log_in_tables_.reset();
      auto tables = PutLogInTables(path_, how, context);
      if (!tables.ok()) return tables.status();
      log_in_tables_ = std::move(*tables);
      // Small, it may have grown by the next time; else what was wrong with it is not sought in all of it again.
      const bool small = LogBytes(path_, options_.store.log_path, ".log") <= context_.memory_limit_bytes / kLogHeldPart;
      log_as_it_is_ = log_in_tables_ == nullptr && !small;
    }
    how.log_in_tables = log_in_tables_;
    return how;
  }
  Result<OfflineOptions> OfflineNow() { return OfflineNow(flow_.silent()); }

  Result<View> Reopen(const OfflineStore& like) {
    Result<OfflineOptions> how = OfflineNow();
    if (!how.ok()) return how.status();
    how->quarantine = true;
    how->log = like.log() != nullptr;
    how->data = like.data() != nullptr;
    Result<std::unique_ptr<OfflineStore>> again = OfflineStore::Open(path_, *how);
    if (!again.ok()) return again.status();
    return View(std::move(*again));
  }

  // The log as it is after `view` was opened; of all shards of a view the same copy, where it is one.
  Result<std::unique_ptr<OfflineStore>> OpenLogBehind(const View& view) {
    MutexLock lock(&behind_mu_);
    if (behind_of_.lock() != view) {
      Result<OfflineOptions> now = OfflineNow();
      if (!now.ok()) return now.status();
      behind_ = std::move(now->log_in_tables);
      behind_of_ = view;
    }
    OfflineOptions how = options_.store;
    how.log_in_tables = behind_;
    how.data = false;
    return OfflineStore::Open(path_, how);
  }

  // The files of one instance, and the same opened anew where they vanish.
  class Files {
   public:
    Files(Verification* of, View view, bool log) : of_(of), view_(std::move(view)), log_(log) {}
    KvEngine* Engine() const { return files_ != nullptr ? files_.get() : log_ ? view_->log_files() : view_->data(); }
    Result<KvEngine*> Reopen() {
      if (log_ && view_->LogIsCopied()) {  // without another copy of its rows
        Result<std::unique_ptr<KvEngine>> files = view_->OpenLogFiles();
        if (!files.ok()) return files.status();
        files_ = std::move(*files);
        return Engine();
      }
      OfflineOptions how = of_->options_.store;
      how.quarantine = true;
      how.log = log_;
      how.data = !log_;
      Result<std::unique_ptr<OfflineStore>> again = OfflineStore::Open(of_->path_, how);
      if (!again.ok()) return again.status();
      view_ = std::move(*again);
      return Engine();
    }

   private:
    Verification* const of_;
    View view_;
    std::unique_ptr<KvEngine> files_;
    const bool log_;
  };

  void Begin(const OfflineStore& store) {
    std::uint64_t bytes = 0;
    const auto add = [&](const EngineStats& stats, bool data) {
      for (const ShardVerification& shard : report_->shards) {
        if (!data) {
          bytes += stats.families[WalFamily(shard.shard)].file_bytes;
        } else {
          // Read twice: as files and as rows.
          bytes += 2 * (stats.families[IndexFamily(shard.shard)].file_bytes + stats.families[ChunkFamily(shard.shard)].file_bytes);
        }
      }
      if (options_.shards.empty()) bytes += stats.log_bytes;
    };
    if (store.log() != nullptr) add(store.LogStats(), false);
    if (store.data() != nullptr) add(store.data()->Stats(), true);
    context_.Begin("verifying", bytes, "bytes");
  }

  // ---- What the shards share ----

  Status LookAtShared(const View& view) {
    for (const bool log : {true, false}) {
      Files files(this, view, log);
      if (files.Engine() == nullptr) continue;
      const ReopenEngine reopen = [&] { return files.Reopen(); };
      const std::string instance = log ? "log" : "data";
      for (const FamilyId family : {kSharedFiles, kMetaFamily}) {
        const auto count = [this](std::uint64_t bytes) { report_->file_bytes += bytes; };
        if (Status s = LookAtFiles(files.Engine(), family, instance, reopen, &flow_, &shared_, count); !s.ok()) return s;
      }
    }
    if (view->data() == nullptr) return Status::Ok();
    std::string value;
    Status s = view->data()->Get(kMetaFamily, kScrubKey, &value);
    if (s.code() == StatusCode::kNotFound) return Status::Ok();
    if (s.ok()) s = DecodeScrubState(value).status();
    if (!s.ok()) shared_.Add(ProblemKind::kRow, "data/meta/" + std::string(kScrubKey), s.message());
    return Status::Ok();
  }

  // ---- Shards ----

  Status LookAtShards(const View& view) {
    const std::size_t pairs = std::min(kPairs, report_->shards.size());
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> file_bytes{0};
    std::deque<ShardFiles> files;
    std::vector<Status> ended(pairs);
    std::vector<std::thread> threads;
    const auto work = [&](std::size_t pair) {
      while (ended[pair].ok()) {
        const std::optional<std::size_t> i = files[pair].Next();
        if (!i) break;
        ended[pair] = LookAtShard(view, *i, &files[pair]);
      }
      files[pair].Leave();
    };
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      files.emplace_back(kAheadBytes);
      threads.emplace_back(
          [this, &view, &next, &file_bytes, files = &files.back()] { ReadFiles(view, &next, files, &file_bytes); });
    }
    for (std::size_t pair = 1; pair < pairs; ++pair) threads.emplace_back(work, pair);
    if (pairs > 0) work(0);
    for (std::thread& thread : threads) thread.join();
    report_->file_bytes += file_bytes;
    for (const Status& s : ended) {
      if (!s.ok()) return s;
    }
    return Status::Ok();
  }

  // A reader's life.
  void ReadFiles(const View& view, std::atomic<std::size_t>* next, ShardFiles* files, std::atomic<std::uint64_t>* file_bytes) {
    Status s;
    for (std::size_t i = (*next)++; i < report_->shards.size() && s.ok(); i = (*next)++) {
      files->Begin(i);
      FilesFound found{.problems = ProblemList(report_->shards[i].shard)};
      found.status = LookAtFilesOf(view, report_->shards[i].shard, &found.problems, [&](std::uint64_t bytes) {
        *file_bytes += bytes;
        files->Read(bytes);
      });
      s = found.status;
      files->Finish(std::move(found));
    }
    files->End();
  }

  // A writer may have changed what the look was at: what is wrong is wrong again when it is opened anew.
  Status LookAtShard(const View& view, std::size_t i, ShardFiles* files) {
    ProblemList rows;
    Status s = LookAtRows(view, i, files, &rows);
    FilesFound found = files->Take();
    if (s.ok()) s = found.status;
    if (!s.ok()) return s;
    found_[i] = std::move(found.problems);
    found_[i].Append(rows);
    for (int look = 1; look < kLooksMax && found_[i].total() > 0; ++look) {
      const Result<View> again = Reopen(*view);
      if (!again.ok()) return Status::Ok();  // what was found stays
      ProblemList second(report_->shards[i].shard);
      s = LookAtFilesOf(*again, report_->shards[i].shard, &second, [](std::uint64_t) {});
      if (s.ok()) s = LookAtRows(*again, i, nullptr, &rows);
      if (!s.ok()) return s;
      second.Append(rows);
      const std::uint64_t before = found_[i].total();
      found_[i].KeepCommon(second);
      if (found_[i].total() == before) break;
    }
    return Status::Ok();
  }

  Status LookAtRows(const View& view, std::size_t i, ShardFiles* files, ProblemList* problems) {
    ShardLook look;
    look.store = view.get();
    look.shard = report_->shards[i].shard;
    look.decode = options_.decode;
    look.flow = &flow_;
    look.files = files;
    look.sums_bytes_max = context_.memory_limit_bytes / 4 / kPairs;
    look.problems = ProblemList(look.shard);
    look.figures.shard = look.shard;
    look.open_log = [this, &view] { return OpenLogBehind(view); };
    Status s;
    for (const auto part : {LookAtStates, LookAtLog, LookAtIndex, LookAtChunks}) {
      if (s.ok()) s = part(&look);
    }
    report_->shards[i] = look.figures;
    *problems = std::move(look.problems);
    return s;
  }

  Status LookAtFilesOf(const View& view, ShardId shard, ProblemList* problems, const OnFileBytes& on_bytes) {
    const std::pair<bool, FamilyId> families[] = {
        {true, WalFamily(shard)}, {false, IndexFamily(shard)}, {false, ChunkFamily(shard)}};
    for (const auto& of : families) {
      const bool log = of.first;
      const FamilyId family = of.second;
      Files files(this, view, log);
      if (files.Engine() == nullptr) continue;
      const ReopenEngine reopen = [&] { return files.Reopen(); };
      const std::uint64_t before = problems->total();
      if (Status s = LookAtFiles(files.Engine(), family, log ? "log" : "data", reopen, &flow_, problems, on_bytes); !s.ok())
        return s;
      const Status damage = view->data() == nullptr || log ? Status::Ok() : view->data()->Damage(family);
      if (!damage.ok() && problems->total() == before) {
        problems->Add(ProblemKind::kFile, FamilyName(family == IndexFamily(shard) ? "index" : "chunk", shard), damage.message());
      }
    }
    return Status::Ok();
  }

  void Collect(const ProblemList& problems) {
    report_->problems_total += problems.total();
    report_->problems.insert(report_->problems.end(), problems.listed().begin(), problems.listed().end());
    report_->notes.insert(report_->notes.end(), problems.notes().begin(), problems.notes().end());
  }

  const std::string& path_;
  const VerifyOptions& options_;
  const OpsContext& context_;
  VerifyReport* const report_;
  VerifyFlow flow_;
  Mutex mu_;
  std::shared_ptr<LogInTables> log_in_tables_ ABSL_GUARDED_BY(mu_);  // may be null
  bool log_as_it_is_ ABSL_GUARDED_BY(mu_) = false;
  Mutex behind_mu_;
  std::weak_ptr<OfflineStore> behind_of_ ABSL_GUARDED_BY(behind_mu_);
  std::shared_ptr<LogInTables> behind_ ABSL_GUARDED_BY(behind_mu_);  // may be null
  Status failure_;
  std::vector<ShardId> all_;
  ProblemList shared_;
  std::vector<ProblemList> found_;  // as report_->shards
};

}  // namespace

std::string_view NameOf(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::kInstance:
      return "instance";
    case ProblemKind::kFile:
      return "file";
    case ProblemKind::kRow:
      return "row";
    case ProblemKind::kLog:
      return "log";
    case ProblemKind::kOrder:
      return "order";
    case ProblemKind::kLabels:
      return "labels";
    case ProblemKind::kPosting:
      return "posting";
    case ProblemKind::kHash:
      return "hash";
    case ProblemKind::kOrdinal:
      return "ordinal";
    case ProblemKind::kChunk:
      return "chunk";
    case ProblemKind::kTombstone:
      return "tombstone";
  }
  return "";
}

std::string_view AdviceOn(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::kInstance:
      return "put the missing or damaged file back, or restore a backup; `chronolith salvage` copies what is left";
    case ProblemKind::kFile:
      return "put the file back from a backup (its name says which), or restore one; else `chronolith salvage` copies what is "
             "sound; check the disk";
    case ProblemKind::kLog:
      return "get the log file back or restore a backup; else `recover --accept-data-loss` gives up the records named, on a copy";
    case ProblemKind::kOrder:
      return "files of two moments are mixed: put back what belongs together, or restore a backup";
    case ProblemKind::kRow:
    case ProblemKind::kLabels:
    case ProblemKind::kPosting:
    case ProblemKind::kHash:
    case ProblemKind::kOrdinal:
    case ProblemKind::kChunk:
    case ProblemKind::kTombstone:
      return "where a damaged file is named above, what is said there; else restore a backup, keep this database and report it, "
             "since it "
             "was written so";
  }
  return "";
}

Result<VerifyReport> VerifyStore(const std::string& path, const VerifyOptions& options, const OpsContext& context) {
  VerifyReport report;
  if (Status s = Verification(path, options, context, &report).Run(); !s.ok()) return s;
  return report;
}

}  // namespace chronolith::ops

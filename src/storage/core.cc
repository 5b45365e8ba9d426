// Opening, closing and accounting of a store. checkpoint.cc has its upkeep, recovery.cc what a shard's log brings back.
#include "storage/core.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <tuple>

#include "base/cgroup.h"
#include "base/posix_file.h"
#include "index/postings_merge.h"
#include "storage/log_judge.h"

namespace chronolith {
namespace {

constexpr int kReadOnlyTries = 5;
constexpr std::uint64_t kMemoryLimitMin = 64ULL << 20;
constexpr std::int64_t kDurationMsMax = 100LL * 365 * 24 * 3600 * 1000;

std::string AbsolutePath(const std::string& path) {
  std::error_code error;  // of the working directory: then the path stays as it is
  const std::filesystem::path absolute = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : absolute.has_filename() ? absolute.string() : absolute.parent_path().string();
}

Status CheckOptions(const Options& o) {
  const auto refuse = [](const char* name, const std::string& why) {
    return InvalidArgument(std::string("Options::") + name + " " + why);
  };
  if (o.shards < 1 || o.shards > 31) return refuse("shards", "must be 1 to 31, not " + std::to_string(o.shards));
  const std::tuple<const char*, std::int64_t, std::int64_t> durations[] = {{"window_ms", o.window_ms, 1000},
                                                                           {"retention_ms", o.retention_ms, 0},
                                                                           {"sync_interval_ms", o.sync_interval_ms, 0},
                                                                           {"commit_interval_ms", o.commit_interval_ms, 0},
                                                                           {"backpressure_wait_ms", o.backpressure_wait_ms, 0},
                                                                           {"checkpoint_interval_ms", o.checkpoint_interval_ms, 0},
                                                                           {"scrub_interval_ms", o.scrub_interval_ms, 0}};
  for (const auto& [name, ms, least] : durations) {
    if (ms < least) return refuse(name, "must be at least " + std::to_string(least) + ", not " + std::to_string(ms));
    // Added to a time of the clock, much more would wrap around: "for ever" would be over at once.
    if (ms > kDurationMsMax) return refuse(name, "must be at most a hundred years, not " + std::to_string(ms) + " ms");
  }
  if (o.ring_bytes < (64 << 10) || o.ring_bytes > (64 << 20) || (o.ring_bytes & (o.ring_bytes - 1)) != 0) {
    return refuse("ring_bytes", "must be a power of two from 64 KiB to 64 MiB, not " + std::to_string(o.ring_bytes));
  }
  if (o.checkpoint_bytes < (64 << 10) || o.checkpoint_bytes > (1ULL << 30)) {
    return refuse("checkpoint_bytes", "must be 64 KiB to 1 GiB, not " + std::to_string(o.checkpoint_bytes));
  }
  if (o.max_samples_per_chunk < 16 || o.max_samples_per_chunk > 1000) {
    return refuse("max_samples_per_chunk", "must be 16 to 1000, not " + std::to_string(o.max_samples_per_chunk));
  }
  if (o.max_labels_per_series == 0) return refuse("max_labels_per_series", "must not be 0");
  if (o.background_threads < 0 || o.background_threads > 64) return refuse("background_threads", "must be 0 to 64");
  if (o.engine.empty()) return refuse("engine", "must not be empty");
  if (o.accept_data_loss && o.read_only) return refuse("accept_data_loss", "needs to write, Options::read_only is set");
  if (!o.memory_budget && o.memory_limit_bytes < kMemoryLimitMin) {
    return refuse("memory_limit_bytes", "must be at least 64 MiB, not " + std::to_string(o.memory_limit_bytes));
  }
  return Status::Ok();
}

Options WithDefaults(Options o) {
  if (!o.clock) o.clock = Clock::System();
  if (!o.engines) o.engines = EngineRegistry::Default();
  if (!o.memory_budget) {
    if (const std::optional<std::uint64_t> allowed = CgroupMemoryLimit(); allowed && *allowed / 2 < o.memory_limit_bytes) {
      o.memory_limit_bytes = std::max(*allowed / 2, kMemoryLimitMin);
    }
    // Caches are the part that is not needed.
    o.block_cache_bytes = std::min(o.block_cache_bytes, o.memory_limit_bytes / 8);
    o.postings_cache_bytes = std::min(o.postings_cache_bytes, o.memory_limit_bytes / 16);
    o.memory_budget = std::make_shared<MemoryBudget>(o.memory_limit_bytes);
  }
  // The log's memtables hold up to two intervals, the data's a quarter of one.
  o.checkpoint_bytes = std::clamp<std::uint64_t>(o.memory_budget->limit_bytes() / 8, 64 << 10, o.checkpoint_bytes);
  if (o.read_only || o.accept_data_loss) o.wait_for_replay = true;
  if (o.background_threads == 0) o.background_threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 4U));
  return o;
}

}  // namespace

Core::Core(const Options& options, std::string path) : options_(WithDefaults(options)), path_(std::move(path)) {
  serve_early_ = !options_.wait_for_replay;
  limits_ = {options_.max_labels_per_series, options_.max_label_name_bytes, options_.max_label_value_bytes};
}

Core::~Core() { (void)Close(); }

void Core::Log(LogLevel level, const std::string& message) const {
  if (options_.logger) options_.logger->Log(level, message);
}

Result<std::unique_ptr<Core>> Core::Open(const Options& options, const std::string& path, const std::vector<HandedOut>* earlier,
                                         std::uint64_t held_bytes_max) {
  if (Status status = CheckOptions(options); !status.ok()) return status;
  if (path.empty()) return InvalidArgument("the path of the store is empty");
  if (!options.read_only) return OpenOnce(options, path, earlier, held_bytes_max);
  // A reader beside a live writer may find that files were removed while it opened them: it looks again. Damage does not pass: what
  // two opens in a row say of it stands.
  Status verdict;
  for (int attempt = 1;; ++attempt) {
    Result<std::unique_ptr<Core>> core = OpenOnce(options, path, earlier, held_bytes_max);
    if (core.ok()) {
      const Status& quarantine = (*core)->quarantine();
      if (quarantine.ok() || quarantine == verdict) return core;
      verdict = quarantine;
    } else {
      const StatusCode code = core.status().code();
      const bool passing = code == StatusCode::kDataLoss || code == StatusCode::kIoError || code == StatusCode::kUnavailable;
      if (!passing || attempt == kReadOnlyTries) return core;
      verdict = Status::Ok();
    }
    if (attempt == kReadOnlyTries)
      return Unavailable("each look at " + path + " found other damage, as of files that vanish: " + verdict.message());
  }
}

Result<std::unique_ptr<Core>> Core::OpenOnce(const Options& options, const std::string& path, const std::vector<HandedOut>* earlier,
                                             std::uint64_t held_bytes_max) {
  std::unique_ptr<Core> core(new Core(options, path));
  if (earlier != nullptr) core->earlier_ = *earlier;
  core->held_bytes_max_ = held_bytes_max;
  Status status = core->LoadOrCreateManifest();
  if (status.ok()) status = core->LoadUnfinished();
  if (status.ok()) status = core->OpenEngines();
  if (status.ok()) {
    core->CreateLog();
    if (!core->serve_early_) status = core->RecoverAll();
  }
  if (!status.ok()) return status.WithContext("store " + path);
  core->scrubber_ = std::make_unique<Scrubber>(ScrubSubject{.log = core->log_engine_.get(),
                                                            .data = core->data_engine_.get(),
                                                            .shards = &core->shards_,
                                                            .path = core->path_,
                                                            .manifest = &core->manifest_,
                                                            .log_failed = [wal = core->wal_.get()] { return wal->failed(); },
                                                            .has_room = [c = core.get()] { return c->DiskRoom().ok(); }},
                                               core->options_);
  if (options.read_only) return core;
  core->upkeep_ = std::thread([c = core.get()] {
    if (c->serve_early_ && !c->RecoverAll().ok()) return;
    c->scrubber_->Start();
    c->UpkeepLoop();
  });
  return core;
}

// ---- Identity ----

Status Core::LoadOrCreateManifest() {
  const std::string file = path_ + "/" + std::string(kStoreFile);
  struct stat info;
  if (stat(path_.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) return FailedPrecondition("is a file, not a database directory");
  Result<StoreManifest> manifest = ReadStoreManifest(path_);
  if (manifest.status().code() == StatusCode::kNotFound)
    return options_.read_only || !options_.create_if_missing ? manifest.status() : CreateManifest();
  const StatusCode code = manifest.status().code();
  if (!manifest.ok() && code != StatusCode::kDataLoss && code != StatusCode::kFailedPrecondition) return manifest.status();
  if (options_.error_if_exists) return AlreadyExists("a database is there and Options::error_if_exists is set");
  if (!manifest.ok()) return manifest.status();
  manifest_ = std::move(*manifest);
  if (manifest_.engine != options_.engine) {
    return FailedPrecondition("was created with storage engine '" + manifest_.engine + "', and is to be opened with '" +
                              options_.engine + "'");
  }
  Result<PartitionMap> map = PartitionMap::Decode(manifest_.partition_map);
  if (!map.ok()) return map.status().WithContext(file);
  map_ = std::move(*map);
  if (options_.log_path.empty()) return Status::Ok();
  log_moved_ = AbsolutePath(LogInstancePath(path_, manifest_)) != AbsolutePath(options_.log_path);
  if (log_moved_) manifest_.log_path = RecordedLogPath();
  return Status::Ok();
}

// Absolute, since the next process may run elsewhere; but "" for the default, so that the store's directory can be moved.
std::string Core::RecordedLogPath() const {
  const std::string path = options_.log_path.empty() ? "" : AbsolutePath(options_.log_path);
  return path == AbsolutePath(path_ + "/log") ? "" : path;
}

Status Core::CreateManifest() {
  namespace fs = std::filesystem;
  if (Result<std::shared_ptr<EngineFactory>> engine = options_.engines->Find(options_.engine); !engine.ok()) return engine.status();
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) return ErrnoStatus("cannot create the directory", error);
  // What an interrupted creation left is no obstacle; anything else is somebody's.
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    if (name != "log" && name != "data" && name != std::string(kStoreFile) + ".tmp") {
      return FailedPrecondition("the directory holds '" + name + "' and is no database: choose an empty one");
    }
    if (name != std::string(kStoreFile) + ".tmp" && !fs::is_empty(entry.path(), error)) {
      return FailedPrecondition("the directory holds a filled '" + name + "' but no file " + std::string(kStoreFile) +
                                ": a damaged or foreign database is not overwritten");
    }
  }
  if (error) return ErrnoStatus("cannot read the directory", error);
  std::random_device random;
  for (char& c : manifest_.uuid) c = static_cast<char>(random());
  manifest_.shards = static_cast<std::uint32_t>(options_.shards);
  manifest_.window_ms = options_.window_ms;
  manifest_.engine = options_.engine;
  manifest_.log_path = RecordedLogPath();
  map_ = PartitionMap::Uniform(manifest_.shards);
  manifest_.partition_map = map_.Encode();
  return WriteStoreManifest(path_, manifest_);
}

Status Core::CheckIdentity(KvEngine* engine, const char* instance, bool* fresh) {
  const InstanceRole role = engine == log_engine_.get() ? InstanceRole::kLog : InstanceRole::kData;
  const Status status = chronolith::CheckIdentity(engine, manifest_, instance);
  *fresh = status.code() == StatusCode::kNotFound;
  return *fresh ? Status::Ok() : WithAffected(status, role);
}

// ---- Engines ----

Result<std::unique_ptr<KvEngine>> Core::OpenInstance(const std::string& path, EngineOptions engine_options) {
  Result<std::shared_ptr<EngineFactory>> factory = options_.engines->Find(options_.engine);
  if (!factory.ok()) return factory.status();
  engine_options.read_only = options_.read_only;
  engine_options.create_if_missing = !options_.read_only && !manifest_.complete;
  engine_options.background_threads = options_.background_threads;
  engine_options.logger = options_.logger;
  engine_options.compaction_reserve = CompactionReserve(engine_options.instance);
  if (!options_.read_only) {
    if (Status status = CheckLog(factory->get(), path, engine_options); !status.ok()) return status;
  }
  Result<std::unique_ptr<KvEngine>> engine = (*factory)->Open(path, engine_options);
  if (engine.ok()) return engine;
  const bool missing = engine.status().code() == StatusCode::kNotFound;
  if (missing && !manifest_.complete) return CreationCutShort();
  const bool lost = manifest_.complete && missing;
  Status why = lost ? DataLoss(engine.status().message() + ": it was lost, or its disk is not mounted") : engine.status();
  bool bytes_damaged = false;
  if (options_.read_only && !lost) why = NamingDamage(std::move(why), factory->get(), path, engine_options, &bytes_damaged);
  return WithAffected(why, engine_options.instance, bytes_damaged);
}

Result<std::unique_ptr<KvEngine>> Core::OpenLog() {
  EngineOptions log = LogInstanceOptions(manifest_);
  // Records trimmed before their memtable fills never reach a file: room for the interval, and for what comes while it is flushed.
  log.write_buffer_bytes =
      2 * options_.checkpoint_bytes + std::clamp<std::uint64_t>(options_.checkpoint_bytes, 8ULL << 20, 32ULL << 20);
  log.block_cache_bytes = 8ULL << 20;
  log_options_ = log;
  const std::string path = LogInstancePath(path_, manifest_);
  if (options_.accept_data_loss && !options_.read_only) {
    if (Status status = GiveUpLogTables(path, log); !status.ok()) return status.WithContext("log instance");
  }
  Result<std::unique_ptr<KvEngine>> engine = OpenInstance(path, log);
  return engine.ok() ? std::move(engine) : engine.status().WithContext("log instance");
}

Status Core::OpenEngines() {
  ReserveDisk();  // opening may start compactions
  EngineOptions data = DataInstanceOptions(manifest_);
  data.write_buffer_bytes = std::max(std::clamp<std::uint64_t>(options_.memory_budget->limit_bytes() / 16, 8ULL << 20, 32ULL << 20),
                                     options_.checkpoint_bytes / 4);
  data.block_cache_bytes = options_.block_cache_bytes;
  data_options_ = data;
  const auto postings_filter = std::make_shared<EmptyPostingsFilter>();
  for (std::uint32_t i = 0; i < manifest_.shards; ++i) {
    auto shard = std::make_unique<Shard>();
    shard->id = i;
    shard->expiry = std::make_shared<ExpiryFilter>(manifest_.window_ms);
    shard->wal_family = WalFamily(i);
    shard->index_family = IndexFamily(i);
    shard->chunk_family = ChunkFamily(i);
    data.families[shard->index_family].drop_filter = postings_filter;
    data.families[shard->chunk_family].drop_filter = shard->expiry;
    shards_.push_back(std::move(shard));
  }
  data.quarantine = true;
  // A reader beside a live writer opens the log first: what that log was trimmed of is in the data it opens next. The other order
  // would meet, beside a writer that checkpoints often, one log after the other that is trimmed beyond the data. A writer opens the
  // log last.
  const auto open_data = [&] {
    Result<std::unique_ptr<KvEngine>> engine = OpenInstance(DataInstancePath(path_), data);
    if (!engine.ok()) return engine.status().WithContext("data instance");
    data_engine_ = std::move(*engine);
    return Status::Ok();
  };
  if (!options_.read_only) {
    if (Status status = open_data(); !status.ok()) return status;
  }
  Result<std::unique_ptr<KvEngine>> engine = OpenLog();
  if (!engine.ok()) return engine.status();
  log_engine_ = std::move(*engine);
  if (options_.read_only) {
    if (Status status = open_data(); !status.ok()) return status;
  }

  bool fresh_data = false;
  bool fresh_log = false;
  if (Status status = CheckIdentity(data_engine_.get(), "data", &fresh_data); !status.ok()) return status;
  if (Status status = CheckIdentity(log_engine_.get(), "log", &fresh_log); !status.ok()) return status;
  if (options_.accept_data_loss && fresh_data != fresh_log) {  // one was given up with damaged bytes
    KvEngine* const engine_without = fresh_data ? data_engine_.get() : log_engine_.get();
    Result<Epoch> epoch = engine_without->CurrentEpoch(1);
    if (epoch.ok() && *epoch > 0) {
      if (Status status = WriteIdentity(engine_without, manifest_); !status.ok()) return status;
      fresh_data = fresh_log = false;
    }
  }
  if (manifest_.complete && (fresh_data || fresh_log)) {
    return WithAffected(DataLoss(std::string("the ") + (fresh_data ? "data" : "log") +
                                 " instance is empty: it was lost, or its disk is not mounted"),
                        fresh_data ? InstanceRole::kData : InstanceRole::kLog);
  }
  // Creation was cut short, or format 1 does not tell. It writes the log's identity last.
  if (fresh_data && !fresh_log) return DataLoss("the data instance is empty but the log instance is not");
  // Epochs are acquired after both identities are written: one in the data instance says that there was a log.
  for (std::size_t i = 0; fresh_log && !fresh_data && i < shards_.size(); ++i) {
    Result<Epoch> epoch = data_engine_->CurrentEpoch(shards_[i]->index_family);
    if (!epoch.ok()) return epoch.status();
    if (*epoch > 0)
      return DataLoss("the log instance is empty but the data instance is not: the log was lost, or its disk is not mounted");
  }
  if (!options_.read_only && fresh_data) {
    const std::string scrub_state = Scrubber::InitialState(options_.clock->NowMs());
    const Op scrub{Op::Type::kPut, kScrubKey, scrub_state};
    if (Status status = WriteIdentity(data_engine_.get(), manifest_, {&scrub, 1}); !status.ok()) return status;
  }
  if (!options_.read_only && fresh_log) {
    if (Status status = WriteIdentity(log_engine_.get(), manifest_); !status.ok()) return status;
  }
  // From here on an instance that is not there is a loss, and none is created in its place.
  if (!options_.read_only && (!manifest_.complete || log_moved_)) {
    manifest_.complete = true;
    return WriteStoreManifest(path_, manifest_);
  }
  return Status::Ok();
}

std::uint64_t Core::series_total() const { return series_total_.load(std::memory_order_relaxed); }

void Core::SetSeries(Shard* shard, std::uint64_t n) { series_total_.fetch_add(n - shard->series_total.exchange(n)); }

// ---- Closing ----

std::vector<Core::HandedOut> Core::HandedOutOrdinals() const {
  std::vector<HandedOut> handed_out;
  for (const auto& shard : shards_) {
    if (!shard->serving.load(std::memory_order_acquire)) {  // not yet recovered: nothing new was handed out
      const HandedOut* const earlier = EarlierOf(*shard);
      handed_out.push_back(earlier == nullptr ? HandedOut{} : *earlier);
      continue;
    }
    MutexLock lock(&shard->removed_mu);
    handed_out.push_back({shard->next_ordinal.load(), shard->removed, shard->kept_labels});
  }
  return handed_out;
}

Status Core::Close() {
  if (closed_) return Status::Ok();
  closed_ = true;
  EndWaits();
  {
    MutexLock lock(&wake_mu_);
    stop_ = true;
    wake_cv_.SignalAll();
    admitted_cv_.SignalAll();
  }
  if (upkeep_.joinable()) upkeep_.join();
  if (scrubber_) scrubber_->Stop();
  Status status;
  if (wal_ && !options_.read_only) status = wal_->Stop();
  SetMemoryShare(0);
  for (auto* engine : {&log_engine_, &data_engine_}) {
    if (!*engine) continue;
    const Status closed = (*engine)->Close();
    if (status.ok()) status = closed;
  }
  return status;
}

}  // namespace chronolith

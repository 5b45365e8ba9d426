#include "ops/offline_store.h"

#include <utility>

#include "chronolith/engine_registry.h"
#include "storage/bad_log_tables.h"
#include "storage/log_judge.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr int kOpeningThreads = 4;  // each table file is read at its end, which from a disk is waiting

// Not where another attempt may open it: too little memory, too many open files.
bool MeansUnusable(const Status& s) {
  return s.code() == StatusCode::kDataLoss || s.code() == StatusCode::kNotFound || s.code() == StatusCode::kIoError ||
         s.code() == StatusCode::kFailedPrecondition;
}

std::string LogPathOf(const std::string& path, const StoreManifest& manifest, const OfflineOptions& options) {
  return options.log_path.empty() ? LogInstancePath(path, manifest) : options.log_path;
}

Result<std::shared_ptr<EngineFactory>> FindEngine(const StoreManifest& manifest, const OfflineOptions& options) {
  return (options.engines != nullptr ? options.engines : EngineRegistry::Default())->Find(manifest.engine);
}

}  // namespace

Result<std::shared_ptr<LogInTables>> PutLogInTables(const std::string& path, const OfflineOptions& options,
                                                    const OpsContext& context) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return std::shared_ptr<LogInTables>();
  const Result<std::shared_ptr<EngineFactory>> factory = FindEngine(*manifest, options);
  if (!factory.ok()) return std::shared_ptr<LogInTables>();
  LogInTables::Source source{*factory, path, LogPathOf(path, *manifest, options), LogInstanceOptions(*manifest)};
  source.options.background_threads = kOpeningThreads;
  source.options.block_cache_bytes = options.block_cache_bytes;
  source.options.logger = options.logger;
  auto made = LogInTables::Make(source, context, {.held_bytes_max = options.log_held_bytes_max});
  // So that a process that is killed leaves nothing: `dump-wal | head` ends by a signal.
  if (made.ok() && *made != nullptr) (*made)->Remove();
  return made;
}

Result<std::unique_ptr<OfflineStore>> OfflineStore::Open(const std::string& path, const OfflineOptions& options) {
  Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return manifest.status();
  Result<Unfinished> unfinished = ReadUnfinished(path, manifest->shards);
  if (!unfinished.ok()) return unfinished.status();
  std::unique_ptr<OfflineStore> store(new OfflineStore);
  store->unfinished_ = std::move(*unfinished);
  store->path_ = path;
  store->cache_bytes_ = options.block_cache_bytes;
  store->manifest_ = std::move(*manifest);
  store->log_path_ = LogPathOf(path, store->manifest_, options);
  const Result<std::shared_ptr<EngineFactory>> factory = FindEngine(store->manifest_, options);
  if (!factory.ok()) return factory.status();
  const auto identify = [&](const char* instance, const std::string& directory, KvEngine* engine) {
    const Status s = CheckIdentity(engine, store->manifest_, instance);
    if (s.code() != StatusCode::kNotFound) return s;
    if (!store->manifest_.complete) return CreationCutShort();
    return DataLoss(std::string("the ") + instance + " instance in " + directory +
                    " is empty: it was lost, or its disk is not mounted");
  };
  const auto open = [&](const char* instance, const std::string& directory, EngineOptions engine_options,
                        std::unique_ptr<KvEngine>* engine) {
    engine_options.read_only = true;
    engine_options.create_if_missing = false;
    engine_options.background_threads = kOpeningThreads;
    engine_options.block_cache_bytes = options.block_cache_bytes;
    engine_options.logger = options.logger;
    Result<std::unique_ptr<KvEngine>> opened = (*factory)->Open(directory, engine_options);
    if (!opened.ok()) {
      // A file in its place is kInvalidArgument.
      const StatusCode code = opened.status().code();
      if (!store->manifest_.complete && code == StatusCode::kNotFound) return CreationCutShort();
      const bool lost = store->manifest_.complete && (code == StatusCode::kNotFound || code == StatusCode::kInvalidArgument);
      const Status why = lost ? DataLoss(opened.status().message() + ": it was lost, or its disk is not mounted")
                              : NamingDamage(opened.status(), factory->get(), directory, engine_options);
      return why.WithContext(std::string(instance) + " instance");
    }
    *engine = std::move(*opened);
    return identify(instance, directory, engine->get());
  };
  if (options.log) {
    store->tables_ = options.log_in_tables;
    const Status s = store->tables_ != nullptr ? identify("log", store->log_path_, store->log())
                                               : open("log", store->log_path_, LogInstanceOptions(store->manifest_), &store->log_);
    if (!s.ok() && !(options.data && options.log_may_fail && MeansUnusable(s))) return s.WithContext("store " + path);
    if (!s.ok()) {
      store->log_.reset();
      store->tables_.reset();
    }
    store->log_failure_ = s;
  }
  if (options.data) {
    EngineOptions data = DataInstanceOptions(store->manifest_);
    data.quarantine = options.quarantine;
    const Status s = open("data", DataInstancePath(path), std::move(data), &store->data_);
    if (!s.ok() && !(store->log() != nullptr && options.data_may_fail && MeansUnusable(s))) {
      return (store->log_failure_.ok() ? s : store->log_failure_).WithContext("store " + path);
    }
    if (!s.ok()) store->data_.reset();
    store->data_failure_ = s;
  }
  return store;
}

OfflineStore::~OfflineStore() {
  if (log_ != nullptr) (void)log_->Close();
  if (data_ != nullptr) (void)data_->Close();
}

bool LogCanBeGivenUp(const std::string& path, const OfflineOptions& options) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return false;
  const Result<std::shared_ptr<EngineFactory>> factory = FindEngine(*manifest, options);
  if (!factory.ok()) return false;
  const Result<std::vector<std::string>> places =
      DamagedPlaces(factory->get(), LogPathOf(path, *manifest, options), LogInstanceOptions(*manifest));
  return places.ok() && !places->empty();
}

bool CanBeOpenedToRead(const std::string& path, const OfflineOptions& options) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return false;
  const Result<std::shared_ptr<EngineFactory>> factory = FindEngine(*manifest, options);
  if (!factory.ok()) return false;
  const auto open = [&](const std::string& directory, EngineOptions how) {
    how.read_only = true;
    how.create_if_missing = false;
    how.quarantine = true;
    how.extra["log_rows"] = "left_out";
    return (*factory)->Open(directory, how);
  };
  if (!open(DataInstancePath(path), DataInstanceOptions(*manifest)).ok()) return false;
  const Result<std::unique_ptr<KvEngine>> log = open(LogPathOf(path, *manifest, options), LogInstanceOptions(*manifest));
  return log.ok() && BadLogTables(log->get(), manifest->shards).empty();
}

}  // namespace chronolith::ops

#include "ops/offline_store.h"

#include <utility>

#include "chronolith/engine_registry.h"
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

}  // namespace

Result<std::unique_ptr<OfflineStore>> OfflineStore::Open(const std::string& path, const OfflineOptions& options) {
  Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return manifest.status();
  Result<std::set<ShardId>> unfinished = ReadUnfinished(path, *manifest);
  if (!unfinished.ok()) return unfinished.status();
  std::unique_ptr<OfflineStore> store(new OfflineStore);
  store->unfinished_ = std::move(*unfinished);
  store->path_ = path;
  store->manifest_ = std::move(*manifest);
  store->log_path_ = options.log_path.empty() ? LogInstancePath(path, store->manifest_) : options.log_path;
  const std::shared_ptr<EngineRegistry> engines = options.engines != nullptr ? options.engines : EngineRegistry::Default();
  const Result<std::shared_ptr<EngineFactory>> factory = engines->Find(store->manifest_.engine);
  if (!factory.ok()) return factory.status();
  const auto open = [&](const char* instance, const std::string& directory, EngineOptions engine_options,
                        std::unique_ptr<KvEngine>* engine) {
    engine_options.read_only = true;
    engine_options.create_if_missing = false;
    engine_options.background_threads = kOpeningThreads;
    engine_options.block_cache_bytes = options.block_cache_bytes;
    engine_options.logger = options.logger;
    Result<std::unique_ptr<KvEngine>> opened = (*factory)->Open(directory, engine_options);
    if (!opened.ok()) {
      const bool lost = store->manifest_.complete && opened.status().code() == StatusCode::kNotFound;
      const Status why = lost ? DataLoss(opened.status().message() + ": it was lost, or its disk is not mounted")
                              : NamingDamage(opened.status(), factory->get(), directory, engine_options);
      return why.WithContext(std::string(instance) + " instance");
    }
    *engine = std::move(*opened);
    const Status s = CheckIdentity(engine->get(), store->manifest_, instance);
    if (s.code() != StatusCode::kNotFound) return s;
    if (!store->manifest_.complete) return NotFound("its creation was cut short: nothing was written to it");
    return DataLoss(std::string("the ") + instance + " instance in " + directory +
                    " is empty: it was lost, or its disk is not mounted");
  };
  if (options.log) {
    if (Status s = open("log", store->log_path_, LogInstanceOptions(store->manifest_), &store->log_); !s.ok()) {
      return s.WithContext("store " + path);
    }
  }
  if (options.data) {
    EngineOptions data = DataInstanceOptions(store->manifest_);
    data.quarantine = options.quarantine;
    const Status s = open("data", DataInstancePath(path), std::move(data), &store->data_);
    if (!s.ok() && !(options.log && options.data_may_fail && MeansUnusable(s))) return s.WithContext("store " + path);
    if (!s.ok()) {
      store->data_.reset();
      store->data_failure_ = s;
    }
  }
  return store;
}

OfflineStore::~OfflineStore() {
  if (log_ != nullptr) (void)log_->Close();
  if (data_ != nullptr) (void)data_->Close();
}

}  // namespace chronolith::ops

// salvage: whose the instances are, where the file STORE cannot tell: each of them has a copy of what it said.
#include <filesystem>
#include <system_error>

#include "chronolith/engine_registry.h"
#include "ops/salvage_parts.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

constexpr std::uint32_t kShardsMax = 31;

// Opens the instance with families for one shard, two, and so on, until they are those that it has.
Result<StoreManifest> IdentityIn(const std::string& path, EngineOptions (*options_of)(const StoreManifest&),
                                 const OpsContext& context) {
  const Result<std::shared_ptr<EngineFactory>> factory = EngineRegistry::Default()->Find(Options().engine);
  if (!factory.ok()) return factory.status();
  StoreManifest guess;
  guess.window_ms = Options().window_ms;
  Status last;
  for (guess.shards = 1; guess.shards <= kShardsMax; ++guess.shards) {
    EngineOptions options = options_of(guess);
    options.read_only = true;
    options.create_if_missing = false;
    options.quarantine = options.instance == InstanceRole::kData;
    options.background_threads = 1;
    options.block_cache_bytes = 1 << 20;
    options.logger = context.logger;
    const Result<std::unique_ptr<KvEngine>> engine = (*factory)->Open(path, options);
    last = engine.status();
    if (last.code() == StatusCode::kFailedPrecondition) continue;  // it has more families
    if (!engine.ok()) return last;
    std::string value;
    if (Status s = (*engine)->Get(kMetaFamily, kStoreKey, &value); !s.ok()) return s;
    return DecodeManifest(value);
  }
  return last;
}

}  // namespace

Result<StoreManifest> FindSalvageManifest(const std::string& source, const SalvageOptions& options, const OpsContext& context,
                                          LossList* losses) {
  Result<StoreManifest> manifest = ReadStoreManifest(source);
  if (manifest.ok()) return manifest;
  const Result<StoreManifest> data = IdentityIn(DataInstancePath(source), DataInstanceOptions, context);
  const std::string log_path =
      !options.log_path.empty() ? options.log_path : LogInstancePath(source, data.ok() ? *data : StoreManifest());
  const Result<StoreManifest> log = IdentityIn(log_path, LogInstanceOptions, context);
  for (const Result<StoreManifest>* found : {&data, &log}) {
    if (found->status().code() == StatusCode::kFailedPrecondition) return found->status();  // of a newer version
  }
  if (!data.ok() && !log.ok()) {
    std::error_code error;
    const bool nothing = !std::filesystem::exists(DataInstancePath(source), error) && !std::filesystem::exists(log_path, error);
    if (nothing) return manifest;
    return DataLoss(manifest.status().message() + "; nor can its instances say what it said (data: " + data.status().message() +
                    "; log: " + log.status().message() + "). Put it back first: every backup of the database has it");
  }
  if (data.ok() && log.ok() && (data->uuid != log->uuid || data->incarnation != log->incarnation)) {
    return FailedPrecondition("data belongs to store " + data->UuidHex() + " incarnation " + std::to_string(data->incarnation) +
                              ", the log in " + log_path + " to " + log->UuidHex() + " incarnation " +
                              std::to_string(log->incarnation) + ": name its own with --log-dir");
  }
  losses->Note(manifest.status().message() + "; what it said was taken from the " + (data.ok() ? "data" : "log") + " instance");
  StoreManifest found = data.ok() ? *data : *log;
  found.complete = true;  // only STORE tells
  return found;
}

}  // namespace chronolith::ops

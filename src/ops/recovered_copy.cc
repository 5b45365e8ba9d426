#include "ops/recovered_copy.h"

#include <utility>

#include "base/heap.h"
#include "ops/disk_room.h"
#include "ops/writing_store.h"
#include "storage/storage_impl.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
std::uint64_t LogBytes(const std::string& path, const std::string& log_path, const std::string& extension) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return 0;
  return FileBytes(log_path.empty() ? LogInstancePath(path, *manifest) : log_path, extension);
}

Result<std::unique_ptr<Storage>> OpenToRead(const Options& options, const std::string& path, std::uint64_t held_bytes_max) {
  Result<std::unique_ptr<Storage>> store = StorageImpl::OpenWithin(options, path, held_bytes_max);
  if (!store.ok() && store.status().code() == StatusCode::kResourceExhausted) ReturnFreedMemory(0);
  return store;
}

void FitRecovery(std::uint64_t memory_limit_bytes, Options* options) {
  // A quarter is for what a slow disk has not taken yet: an engine's open does not wait for it as writers do.
  options->memory_limit_bytes = StoreMemoryBytes(memory_limit_bytes - memory_limit_bytes / 4);
  // The log's buffers follow from it: where they are small its rows go to tables instead of into memory.
  options->checkpoint_bytes = options->memory_limit_bytes / 32;
}

Result<std::unique_ptr<RecoveredCopy>> RecoveredCopy::Prepare(const std::string& path, const std::string& log_path,
                                                              const OpsContext& context, const std::string& parent,
                                                              Rehearsal::Writer writer) {
  auto rehearsal = Rehearsal::Prepare(path, log_path, context, parent, writer);
  if (!rehearsal.ok()) return rehearsal.status();
  std::unique_ptr<RecoveredCopy> copy(new RecoveredCopy);
  copy->rehearsal_ = std::move(*rehearsal);
  return copy;
}

Status RecoveredCopy::Recover(const OpsContext& context) {
  context.Begin("recovering a copy", 0, "bytes");
  const Result<StoreManifest> manifest = ReadStoreManifest(path());
  if (!manifest.ok()) return OfSource(manifest.status());
  Options options;
  options.engine = manifest->engine;
  options.create_if_missing = false;
  FitRecovery(context.memory_limit_bytes, &options);
  options.background_compaction = false;
  options.scrub_interval_ms = 0;
  options.logger = context.logger;
  Result<std::unique_ptr<Storage>> store = OpenToWrite(OptionsOf(options), path(), context);
  if (!store.ok()) return OfSource(store.status());
  found_ = (*store)->Stats();
  Status status = context.CheckCancelled();
  if (status.ok()) status = (*store)->Checkpoint();
  const Status closed = (*store)->Close();
  store->reset();
  ReturnFreedMemory(0);  // who reads the copy opens another store
  return OfSource(status.ok() ? closed : status);
}

Options RecoveredCopy::OptionsOf(Options options) const {
  options.log_path = rehearsal_->log_path();
  options.logger = rehearsal_->LoggerOfSource(options.logger, std::string(kOnACopy));
  return options;
}

Status RecoveredCopy::OfSource(const Status& status) const {
  return status.ok() ? status : Status(status.code(), rehearsal_->OfSource(status.message()));
}

}  // namespace chronolith::ops

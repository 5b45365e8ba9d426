#include "ops/recovered_copy.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/heap.h"
#include "chronolith/storage.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::uint64_t LogBytes(const std::string& path, const std::string& log_path) {
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (!manifest.ok()) return 0;
  std::error_code error;
  std::uint64_t bytes = 0;
  fs::directory_iterator it(log_path.empty() ? LogInstancePath(path, *manifest) : log_path, error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    const std::uintmax_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

Result<std::unique_ptr<RecoveredCopy>> RecoveredCopy::Prepare(const std::string& path, const std::string& log_path,
                                                              const OpsContext& context, const std::string& parent) {
  auto rehearsal = Rehearsal::Prepare(path, log_path, context, parent);
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
  options.memory_limit_bytes = StoreMemoryBytes(context.memory_limit_bytes);
  options.checkpoint_bytes = options.memory_limit_bytes / 8;
  options.background_compaction = false;
  options.scrub_interval_ms = 0;
  options.logger = context.logger;
  Result<std::unique_ptr<Storage>> store = Storage::Open(OptionsOf(options), path());
  if (!store.ok()) return OfSource(store.status());
  found_ = (*store)->Stats();
  Status status = context.CheckCancelled();
  if (status.ok()) status = (*store)->Checkpoint();
  const Status closed = (*store)->Close();
  store->reset();
  ReturnFreedMemory(context.memory_limit_bytes / 2);
  return OfSource(status.ok() ? closed : status);
}

Options RecoveredCopy::OptionsOf(Options options) const {
  options.log_path = rehearsal_->log_path();
  options.logger = rehearsal_->LoggerOfSource(options.logger, "on a copy: ");
  return options;
}

Status RecoveredCopy::OfSource(const Status& status) const {
  return status.ok() ? status : Status(status.code(), rehearsal_->OfSource(status.message()));
}

}  // namespace chronolith::ops

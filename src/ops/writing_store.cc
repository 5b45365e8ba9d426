#include "ops/writing_store.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "storage/storage_impl.h"
#include "storage/store_directory.h"

namespace chronolith::ops {
namespace {

// Other errors may have the words from a label.
bool HasErrno(const Status& status, int error) {
  switch (status.code()) {
    case StatusCode::kResourceExhausted:
    case StatusCode::kIoError:
    case StatusCode::kUnknown:
    case StatusCode::kUnavailable:
      return status.message().find(std::strerror(error)) != std::string::npos;
    default:
      return false;
  }
}

// None: it cannot be looked at.
std::optional<std::uint64_t> FreeBytesOf(const std::string& directory) {
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) != 0) return std::nullopt;
  return disk.f_bavail * disk.f_frsize;
}

}  // namespace

void HeedCancel(const std::atomic<bool>* cancelled, Storage* store) { StorageImpl::Of(store)->HeedCancel(cancelled); }

Result<std::unique_ptr<Storage>> OpenToWrite(Options options, const std::string& path, const OpsContext& context) {
  options.backpressure_wait_ms = kPatienceMs;
  Result<std::unique_ptr<Storage>> store = Storage::Open(options, path);
  if (store.ok()) HeedCancel(context.cancelled, store->get());
  return store;
}

bool IsOfFullDisk(const Status& status) {
  if (HasErrno(status, ENOSPC) || HasErrno(status, EDQUOT)) return true;
  return status.code() == StatusCode::kResourceExhausted && status.message().find("the disk of ") != std::string::npos;
}

Status OfFullDisk(const Status& status, const std::string& path) {
  if (!HasErrno(status, ENOSPC)) return status;
  std::string full = path;
  std::optional<std::uint64_t> least;
  for (const std::string& directory : StoreDirectories(path)) {
    const std::optional<std::uint64_t> free = FreeBytesOf(directory);
    if (!free || (least && *least <= *free)) continue;
    full = directory;
    least = free;
  }
  return ResourceExhausted("the disk of " + full + " is full" +
                           (least ? ", " + std::to_string(*least) + " bytes are left" : std::string()) + ": free space");
}

std::vector<std::string> StoreDirectories(const std::string& path) {
  std::vector<std::string> directories = {path};
  const Result<StoreManifest> manifest = ReadStoreManifest(path);
  if (manifest.ok() && !manifest->log_path.empty()) directories.push_back(manifest->log_path);
  return directories;
}

}  // namespace chronolith::ops

// A store stops taking writes while there is still room to store what it has taken: a log that meets the end of its disk has
// failed, and only reopening helps. Reads go on, and so do deletes and checkpoints, which free the log; writes are taken again as
// soon as there is room.
#include <sys/statvfs.h>

#include <algorithm>

#include "storage/core.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kBetweenLooks = 2 << 20;  // at most that is logged between two looks
constexpr std::uint64_t kDiskFraction = 16;       // a small disk is not kept empty

}  // namespace

// Room for a checkpoint of what the head holds, for what the rings hold, and for what comes before the next look.
Status Core::DiskRoom() const {
  for (const std::string& directory : {path_, manifest_.log_path}) {
    struct statvfs disk;
    if (directory.empty() || statvfs(directory.c_str(), &disk) != 0) continue;
    const std::uint64_t free = disk.f_bavail * disk.f_frsize;
    const std::uint64_t wanted =
        std::min<std::uint64_t>(options_.checkpoint_bytes + options_.ring_bytes * shards_.size() + kBetweenLooks,
                                disk.f_blocks * disk.f_frsize / kDiskFraction);
    if (free >= wanted) continue;
    return ResourceExhausted("the disk of " + directory + " has " + std::to_string(free) + " bytes left: writes are taken from " +
                             std::to_string(wanted) + " on (free space, or lower Options::checkpoint_bytes)");
  }
  return Status::Ok();
}

void Core::LookAtDisk() {
  Status room = DiskRoom();
  const bool low = !room.ok();
  if (low == disk_low_.load(std::memory_order_relaxed)) return;
  Log(low ? LogLevel::kWarning : LogLevel::kInfo, low ? "writes are refused: " + room.message() : "writes are taken again");
  MutexLock lock(&wake_mu_);
  disk_room_ = std::move(room);
  disk_low_.store(low);
  if (!low) admitted_cv_.SignalAll();
}

}  // namespace chronolith

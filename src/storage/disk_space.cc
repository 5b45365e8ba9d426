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

// Writes that were taken since the last look, and those in the rings.
std::uint64_t Core::UnderWayBytes() const { return options_.ring_bytes * shards_.size() + kBetweenLooks; }

// Room for a checkpoint of what the head holds, and for what is under way.
Status Core::DiskRoom(std::uint64_t* compactions_leave) const {
  for (const std::string& directory : {path_, manifest_.log_path}) {
    struct statvfs disk;
    if (directory.empty() || statvfs(directory.c_str(), &disk) != 0) continue;
    const std::uint64_t free = disk.f_bavail * disk.f_frsize;
    const std::uint64_t wanted =
        std::min<std::uint64_t>(options_.checkpoint_bytes + UnderWayBytes(), disk.f_blocks * disk.f_frsize / kDiskFraction);
    // Once writes are refused, compactions may go on to where the writes under way still fit: they make room.
    if (compactions_leave != nullptr) {
      *compactions_leave = std::max(*compactions_leave, free >= wanted ? wanted : std::min(wanted, UnderWayBytes()));
    }
    if (free >= wanted) continue;
    return ResourceExhausted("the disk of " + directory + " has " + std::to_string(free) + " bytes left: writes are taken from " +
                             std::to_string(wanted) + " on (free space, or lower Options::checkpoint_bytes)");
  }
  return Status::Ok();
}

void Core::LookAtDisk() {
  std::uint64_t compactions_leave = 0;
  Status room = DiskRoom(&compactions_leave);
  compaction_reserve_->store(compactions_leave);
  const bool low = !room.ok();
  if (low == disk_low_.load(std::memory_order_relaxed)) return;
  Log(low ? LogLevel::kWarning : LogLevel::kInfo, low ? "writes are refused: " + room.message() : "writes are taken again");
  MutexLock lock(&wake_mu_);
  disk_room_ = std::move(room);
  disk_low_.store(low);
  if (!low) admitted_cv_.SignalAll();
}

}  // namespace chronolith

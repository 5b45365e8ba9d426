// A store stops taking writes while there is still room to store what it has taken: a log that meets the end of its disk has
// failed, and only reopening helps. Reads go on, and so do deletes and checkpoints, which free the log; writes are taken again as
// soon as there is room.
#include <sys/statvfs.h>

#include <algorithm>
#include <optional>

#include "storage/core.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kBetweenLooks = 2 << 20;  // at most that is logged between two looks
constexpr std::uint64_t kDiskFraction = 16;       // a small disk is not kept empty

}  // namespace

// Writes that were taken since the last look, and those in the rings.
std::uint64_t Core::UnderWayBytes() const { return options_.ring_bytes * manifest_.shards + kBetweenLooks; }

// Wanted: room for a checkpoint of what the head holds, and for what is under way.
std::optional<Core::DiskSpace> Core::SpaceOf(const std::string& directory) const {
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) != 0) return std::nullopt;
  return DiskSpace{.free = disk.f_bavail * disk.f_frsize,
                   .wanted = std::min<std::uint64_t>(options_.checkpoint_bytes + UnderWayBytes(),
                                                     disk.f_blocks * disk.f_frsize / kDiskFraction)};
}

Status Core::DiskRoom() const {
  for (const std::string& directory : {path_, manifest_.log_path}) {
    const std::optional<DiskSpace> space = directory.empty() ? std::nullopt : SpaceOf(directory);
    if (!space || space->free >= space->wanted) continue;
    return ResourceExhausted("the disk of " + directory + " has " + std::to_string(space->free) +
                             " bytes left: writes are taken from " + std::to_string(space->wanted) + " on: free space");
  }
  return Status::Ok();
}

// Once writes are refused, compactions may go on to where the writes under way still fit: they make room.
void Core::ReserveDisk() {
  for (const InstanceRole instance : {InstanceRole::kLog, InstanceRole::kData}) {
    const bool own_disk = instance == InstanceRole::kLog && !manifest_.log_path.empty();
    const std::optional<DiskSpace> space = SpaceOf(own_disk ? manifest_.log_path : path_);
    if (!space) continue;
    compaction_reserve_[static_cast<std::size_t>(instance)]->store(
        space->free >= space->wanted ? space->wanted : std::min(space->wanted, UnderWayBytes()));
  }
}

std::function<std::uint64_t()> Core::CompactionReserve(InstanceRole instance) const {
  return [reserve = compaction_reserve_[static_cast<std::size_t>(instance)]] { return reserve->load(std::memory_order_relaxed); };
}

void Core::LookAtDisk(bool tried) {
  ReserveDisk();
  Status room = DiskRoom();
  const bool low = !room.ok();
  const bool was_low = disk_low_.load(std::memory_order_relaxed);
  if (!low && !was_low) return;
  if (low != was_low) {
    Log(low ? LogLevel::kWarning : LogLevel::kInfo, low ? "writes are refused: " + room.message() : "writes are taken again");
  }
  MutexLock lock(&wake_mu_);
  if (low && !was_low) {
    low_since_ = std::chrono::steady_clock::now();
    low_looks_ = 0;
  }
  disk_room_ = std::move(room);
  disk_low_.store(low);
  low_looks_ += low && tried ? 1 : 0;
  admitted_cv_.SignalAll();
}

}  // namespace chronolith

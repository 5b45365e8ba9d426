// Room on disks: what files take, what is left, and what is said where that does not suffice.
#ifndef CHRONOLITH_OPS_DISK_ROOM_H_
#define CHRONOLITH_OPS_DISK_ROOM_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith::ops {

// Of the files in a directory whose names end so, not of those in directories below it; 0 where there is none.
std::uint64_t FileBytes(const std::string& directory, std::string_view ending = "");

struct DiskRoom {
  std::uint64_t free = 0;
  std::uint64_t capacity = 0;
};
// Of the disk that `target` will be on: its parent is there.
Result<DiskRoom> RoomFor(const std::string& target);
// kResourceExhausted where less is free than a new database at `target` needs; says both, and what to do.
Status CheckRoom(const std::string& target, std::uint64_t free, std::uint64_t needed);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_DISK_ROOM_H_

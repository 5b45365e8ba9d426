#include "ops/disk_room.h"

#include <filesystem>
#include <system_error>

#include "base/posix_file.h"

namespace chronolith::ops {

namespace fs = std::filesystem;

std::uint64_t FileBytes(const std::string& directory, std::string_view ending) {
  std::error_code error;
  std::uint64_t bytes = 0;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (!it->path().native().ends_with(ending)) continue;
    std::error_code gone;
    const std::uintmax_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

Result<DiskRoom> RoomFor(const std::string& target) {
  const fs::path parent = fs::absolute(target).parent_path();
  std::error_code error;
  const fs::space_info disk = fs::space(parent, error);
  if (error) return ErrnoStatus("cannot look at the disk of " + parent.string(), error);
  return DiskRoom{.free = disk.available, .capacity = disk.capacity};
}

Status CheckRoom(const std::string& target, std::uint64_t free, std::uint64_t needed) {
  if (free >= needed) return Status::Ok();
  return ResourceExhausted("the disk of " + target + " has " + std::to_string(free >> 20) +
                           " MiB left, the new database needs about " + std::to_string((needed >> 20) + 1) +
                           " MiB: free space, or name a target on another disk");
}

}  // namespace chronolith::ops

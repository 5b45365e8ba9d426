// A small file system of a test's own, which somebody else may fill.
#ifndef CHRONOLITH_TESTS_SUPPORT_SMALL_DISK_H_
#define CHRONOLITH_TESTS_SUPPORT_SMALL_DISK_H_

#include <cstdint>
#include <string>
#include <utility>

namespace chronolith::testing {

// Mounts a tmpfs at `path`, which only this process and those it starts see, and which goes with them. False: this machine does not
// let us. Call it before there are threads.
bool MountSmallDisk(const std::string& path, std::uint64_t bytes);

// Thread safety: one thread.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {}
  std::uint64_t FreeBytes() const;
  // Somebody else's file that leaves `room` bytes.
  void Crowd(std::uint64_t room);
  void MakeRoom();
  std::string Store() const { return path_ + "/db"; }

 private:
  std::string Other() const { return path_ + "/other"; }
  const std::string path_;
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_SMALL_DISK_H_

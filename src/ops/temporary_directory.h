// A directory among temporary files (TMPDIR, else /tmp), or in another one, that outlives its process at most until the next of its
// kind.
#ifndef CHRONOLITH_OPS_TEMPORARY_DIRECTORY_H_
#define CHRONOLITH_OPS_TEMPORARY_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "chronolith/result.h"
#include "storage/path_lock.h"

namespace chronolith::ops {

// Locked for as long as its process lives, from before it has its name: one that has the name and no lock was left by a process
// that was killed. Thread safety: one thread.
class TemporaryDirectory {
 public:
  // `chronolith-<purpose>-XXXXXX` in `parent`; "": among temporary files. What dead processes of this user have left there of that
  // purpose is removed before.
  static Result<std::unique_ptr<TemporaryDirectory>> Make(std::string_view purpose, const std::string& parent = "");
  // Removes what dead processes of this user have left in `parent`, of any purpose.
  static void RemoveLeft(const std::string& parent);
  ~TemporaryDirectory();  // removes it
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Removes it while what is in it may still be open and written to: as far as can be.
  void Remove() const;
  // kResourceExhausted names the bytes, the directory, and what to do.
  Status CheckRoom(std::uint64_t bytes_needed) const;

 private:
  TemporaryDirectory(std::string path, bool placed, std::unique_ptr<PathLock> lock)
      : path_(std::move(path)), placed_(placed), lock_(std::move(lock)) {}

  const std::string path_;
  const bool placed_;  // not among temporary files
  const std::unique_ptr<PathLock> lock_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_TEMPORARY_DIRECTORY_H_

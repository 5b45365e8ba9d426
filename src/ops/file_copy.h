// Copying and reading files whole: checksummed, synced, paced, to be interrupted between two pieces.
#ifndef CHRONOLITH_OPS_FILE_COPY_H_
#define CHRONOLITH_OPS_FILE_COPY_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "chronolith/result.h"
#include "ops/context.h"

namespace chronolith::ops {

// Counts bytes as progress and lets no more than so many a second pass. Thread safety: one thread.
class Pace {
 public:
  // 0: no bound.
  Pace(const OpsContext& context, std::uint64_t bytes_per_second) : context_(context), bytes_per_second_(bytes_per_second) {}
  // Waits as long as these bytes are ahead of their time. kCancelled.
  Status Pass(std::uint64_t bytes);

 private:
  const OpsContext& context_;
  const std::uint64_t bytes_per_second_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::uint64_t passed_ = 0;
};

// Fills the buffer from `offset` on and returns how much there was; less only at the end.
using ReadAt = std::function<Result<std::size_t>(std::uint64_t offset, std::span<char> buffer)>;

// A file open for reading.
class SourceFile {
 public:
  static Result<std::unique_ptr<SourceFile>> Open(const std::string& path);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  Result<std::size_t> Read(std::uint64_t offset, std::span<char> buffer) const;
  Result<std::uint64_t> Size() const;

 private:
  SourceFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  const std::string path_;
  const int fd_;
};

// The first `bytes` as a new file, written and synced before it has its name `to` (which the caller syncs, with SyncDirectory);
// what had the name is replaced. Returns their CRC32C. kDataLoss: the source is shorter.
Result<std::uint32_t> CopyFile(const ReadAt& source, std::uint64_t bytes, const std::string& to, Pace* pace);
// kNotFound. kDataLoss: it has another length than `bytes`.
Result<std::uint32_t> ChecksumOfFile(const std::string& path, std::uint64_t bytes, Pace* pace);

// Held by one process at a time, until destroyed or the process ends. `path`: a directory, or a file, made where it is missing.
class PathLock {
 public:
  // kFailedPrecondition: another process holds it; `what` says, for the message, what that one does.
  static Result<std::unique_ptr<PathLock>> Take(const std::string& path, bool directory, const std::string& what);
  ~PathLock();
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;

 private:
  explicit PathLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_FILE_COPY_H_

#include "ops/file_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/posix_file.h"
#include "interop/file_sink.h"

namespace chronolith::ops {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = 1 << 20;

// Reads `bytes`, piece by piece; `take` may be empty.
Result<std::uint32_t> ReadAll(const ReadAt& source, std::uint64_t bytes, Pace* pace,
                              const std::function<Status(std::string_view)>& take) {
  std::vector<char> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, std::max<std::uint64_t>(bytes, 1))));
  std::uint32_t crc = 0;
  for (std::uint64_t offset = 0; offset < bytes;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - offset));
    const Result<std::size_t> n = source(offset, {buffer.data(), wanted});
    if (!n.ok()) return n.status();
    if (*n == 0) return DataLoss("ends after " + std::to_string(offset) + " bytes, " + std::to_string(bytes) + " were expected");
    const std::string_view piece(buffer.data(), *n);
    crc = Crc32c(piece, crc);
    if (take) {
      if (Status s = take(piece); !s.ok()) return s;
    }
    offset += *n;
    if (Status s = pace->Pass(*n); !s.ok()) return s;
  }
  return crc;
}

}  // namespace

Status Pace::Pass(std::uint64_t bytes) {
  context_.Add(bytes);
  return context_.WaitUntil(pacer_.Next(bytes, context_.clock->NowNanos()));
}

Result<std::uint32_t> CopyFile(const ReadAt& source, std::uint64_t bytes, const std::string& to, Pace* pace) {
  const std::string temporary = to + ".tmp";
  const int fd = open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus("cannot create " + temporary, errno);
  Result<std::uint32_t> crc =
      ReadAll(source, bytes, pace, [&](std::string_view piece) { return WriteFully(fd, piece, temporary); });
  if (crc.ok() && fsync(fd) != 0) crc = ErrnoStatus("cannot sync " + temporary, errno);
  close(fd);
  if (crc.ok() && rename(temporary.c_str(), to.c_str()) != 0) crc = ErrnoStatus("cannot name " + to, errno);
  if (!crc.ok()) unlink(temporary.c_str());
  return crc;
}

Status CopyFile(const std::string& from, const std::string& to, Pace* pace) {
  FileSource source;
  if (Status s = source.Open(from); !s.ok()) return s;
  const Result<std::uint64_t> size = source.Size();
  if (!size.ok()) return size.status();
  return CopyFile([&](std::uint64_t at, std::span<char> buffer) { return source.Read(at, buffer); }, *size, to, pace).status();
}

Status CopyInstanceFiles(const std::string& from, const std::string& to, const OpsContext& context) {
  Pace pace(context, 0);
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return ErrnoStatus("cannot create " + to, error);
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const std::string copy = to + "/" + entry.path().filename().string();
    std::error_code failed;
    const bool file = entry.is_regular_file(failed);
    if (failed && failed != std::errc::no_such_file_or_directory)
      return ErrnoStatus("cannot read " + entry.path().string(), failed);
    if (!file || entry.path().filename() == "LOCK") continue;
    if (entry.path().extension() == ".sst") {
      fs::create_symlink(fs::absolute(entry.path()), copy, failed);
      if (failed) return ErrnoStatus("cannot link to " + entry.path().string(), failed);
    } else if (Status s = CopyFile(entry.path().string(), copy, &pace); !s.ok()) {
      return s;
    }
  }
  return error ? ErrnoStatus("cannot list " + from, error) : Status::Ok();
}

Result<std::uint32_t> ChecksumOfFile(const std::string& path, std::uint64_t bytes, Pace* pace) {
  FileSource file;
  if (Status s = file.Open(path); !s.ok()) return s;
  const Result<std::uint64_t> size = file.Size();
  if (!size.ok()) return size.status();
  if (*size != bytes) {
    return DataLoss(path + " has " + std::to_string(*size) + " bytes, " + std::to_string(bytes) + " were expected");
  }
  Result<std::uint32_t> crc =
      ReadAll([&](std::uint64_t at, std::span<char> buffer) { return file.Read(at, buffer); }, bytes, pace, nullptr);
  return crc.ok() ? crc : crc.status().WithContext(path);
}

}  // namespace chronolith::ops

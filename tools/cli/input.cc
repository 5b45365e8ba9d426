#include "tools/cli/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

namespace chronolith::cli {

Result<std::unique_ptr<TextInput>> TextInput::Open(const std::string& path) {
  std::unique_ptr<TextInput> input(new TextInput(path == "-" ? "stdin" : path));
  const int fd = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string message = "cannot open " + input->name_ + ": " + std::strerror(errno);
    return errno == EACCES ? PermissionDenied(message) : errno == ENOENT ? NotFound(message) : IoError(message);
  }
  struct stat info {};
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    close(fd);
    return InvalidArgument(input->name_ + " is a directory");
  }
  if (S_ISREG(info.st_mode) && path != "-") input->LookAtEnds(fd);
  gzFile file = gzdopen(fd, "rb");
  if (file == nullptr) {
    close(fd);
    return ResourceExhausted("out of memory");
  }
  gzbuffer(file, 128 << 10);
  input->file_ = file;
  return input;
}

TextInput::~TextInput() {
  if (file_ != nullptr) gzclose(static_cast<gzFile>(file_));
}

void TextInput::LookAtEnds(int fd) {
  const ssize_t n = pread(fd, buffer_.data(), buffer_.size(), 0);
  std::string_view head(buffer_.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  if (head.size() < 2 || head.starts_with("\x1f\x8b")) return;
  const off_t size = lseek(fd, 0, SEEK_END);
  lseek(fd, 0, SEEK_SET);
  char tail_bytes[64];
  const off_t tail_at = size > static_cast<off_t>(sizeof(tail_bytes)) ? size - static_cast<off_t>(sizeof(tail_bytes)) : 0;
  const ssize_t tail_size = pread(fd, tail_bytes, sizeof(tail_bytes), tail_at);
  std::string_view tail(tail_bytes, tail_size > 0 ? static_cast<std::size_t>(tail_size) : 0);
  while (!tail.empty() && std::strchr(" \t\r\n", tail.back()) != nullptr) tail.remove_suffix(1);
  if (tail.ends_with("\n# EOF") || tail == "# EOF") {
    format_ = interop::TextFormat::kOpenMetrics;
    return;
  }
  // No end mark: complete, as far as the decision goes. A last line that the look cut off must not be judged.
  if (size > static_cast<off_t>(head.size())) head = head.substr(0, head.rfind('\n') + 1);
  format_ = interop::DetectTextFormat(head, true);
}

std::uint64_t TextInput::file_bytes() const {
  const auto at = gzoffset(static_cast<gzFile>(file_));
  return at < 0 ? bytes_ : static_cast<std::uint64_t>(at);
}

Result<std::string_view> TextInput::Next() {
  const auto file = static_cast<gzFile>(file_);
  const int n = gzread(file, buffer_.data(), static_cast<unsigned>(buffer_.size()));
  if (n > 0) {
    bytes_ += static_cast<std::uint64_t>(n);
    return std::string_view(buffer_.data(), static_cast<std::size_t>(n));
  }
  int code = Z_OK;
  const char* message = gzerror(file, &code);
  if (code == Z_OK || code == Z_STREAM_END) return std::string_view();
  if (code == Z_ERRNO) return IoError("cannot read " + name_ + ": " + std::strerror(errno));
  return DataLoss(name_ + " is damaged or cut off: " + message);
}

}  // namespace chronolith::cli

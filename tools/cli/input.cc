#include "tools/cli/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/cli/interrupt.h"

namespace chronolith::cli {

Result<std::unique_ptr<TextInput>> TextInput::Open(const std::string& path) {
  const std::string name = path == "-" ? "stdin" : path;
  // Not blocking: opening a named pipe must not wait for its writer, as only reads are waited for so that they can be interrupted.
  const int fd = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const std::string message = "cannot open " + name + ": " + std::strerror(errno);
    return errno == EACCES ? PermissionDenied(message) : errno == ENOENT ? NotFound(message) : IoError(message);
  }
  std::unique_ptr<TextInput> input(new TextInput(name, fd));
  struct stat info {};
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) return InvalidArgument(name + " is a directory");
  if (S_ISREG(info.st_mode) && path != "-") input->LookAtEnds();
  return input;
}

TextInput::~TextInput() {
  close(fd_);
  if (form_ == Form::kGzip) inflateEnd(&zip_);
}

void TextInput::LookAtEnds() {
  const ssize_t n = pread(fd_, raw_.data(), raw_.size(), 0);
  std::string_view head(raw_.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  if (head.size() < 2 || head.starts_with("\x1f\x8b")) return;
  const off_t size = lseek(fd_, 0, SEEK_END);
  lseek(fd_, 0, SEEK_SET);
  char tail_bytes[64];
  const off_t tail_at = size > static_cast<off_t>(sizeof(tail_bytes)) ? size - static_cast<off_t>(sizeof(tail_bytes)) : 0;
  const ssize_t tail_size = pread(fd_, tail_bytes, sizeof(tail_bytes), tail_at);
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

Status TextInput::Fill() {
  if (raw_begin_ == raw_end_) raw_begin_ = raw_end_ = 0;
  while (!ended_) {
    if (!WaitReadable(fd_)) return Cancelled("interrupted");
    const ssize_t n = read(fd_, raw_.data() + raw_end_, raw_.size() - raw_end_);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return IoError("cannot read " + name_ + ": " + std::strerror(errno));
    ended_ = n == 0;
    raw_end_ += static_cast<std::size_t>(n);
    file_bytes_ += static_cast<std::uint64_t>(n);
    if (n > 0) break;
  }
  return Status::Ok();
}

Status TextInput::FillForMagic() {
  if (raw_end_ - raw_begin_ == 1) {
    raw_[0] = raw_[raw_begin_];
    raw_begin_ = 0;
    raw_end_ = 1;
  }
  while (!ended_ && raw_end_ - raw_begin_ < 2) {
    if (Status s = Fill(); !s.ok()) return s;
  }
  return Status::Ok();
}

std::string_view TextInput::TakeRaw() {
  const std::string_view piece(raw_.data() + raw_begin_, raw_end_ - raw_begin_);
  raw_begin_ = raw_end_;
  bytes_ += piece.size();
  return piece;
}

Result<std::string_view> TextInput::Next() {
  if (form_ == Form::kPlain) {
    if (Status s = Fill(); !s.ok()) return s;
    return TakeRaw();
  }
  while (true) {
    if (!in_member_) {
      if (Status s = BeginMember(); !s.ok()) return s;
      if (form_ == Form::kPlain) return TakeRaw();
      if (!in_member_) return std::string_view();
    }
    const Result<std::string_view> piece = Inflate();
    if (!piece.ok() || !piece->empty()) return piece;
  }
}

Status TextInput::BeginMember() {
  constexpr std::string_view kMagic = "\x1f\x8b";
  if (Status s = FillForMagic(); !s.ok()) return s;
  if (std::string_view(raw_.data() + raw_begin_, raw_end_ - raw_begin_).substr(0, 2) != kMagic) {
    if (form_ == Form::kUnknown) form_ = Form::kPlain;
    return Status::Ok();
  }
  if ((form_ == Form::kGzip ? inflateReset(&zip_) : inflateInit2(&zip_, 15 + 16)) != Z_OK)
    return ResourceExhausted("out of memory");
  form_ = Form::kGzip;
  text_.resize(kPieceBytes);
  in_member_ = true;
  return Status::Ok();
}

Result<std::string_view> TextInput::Inflate() {
  std::size_t n = 0;
  while (n == 0 && in_member_) {
    if (raw_begin_ == raw_end_) {
      if (Status s = Fill(); !s.ok()) return s;
      if (ended_) return DataLoss(name_ + " is damaged or cut off: its end is missing");
    }
    zip_.next_in = reinterpret_cast<Bytef*>(raw_.data() + raw_begin_);
    zip_.avail_in = static_cast<uInt>(raw_end_ - raw_begin_);
    zip_.next_out = reinterpret_cast<Bytef*>(text_.data());
    zip_.avail_out = static_cast<uInt>(text_.size());
    const int code = inflate(&zip_, Z_NO_FLUSH);
    raw_begin_ = raw_end_ - zip_.avail_in;
    n = text_.size() - zip_.avail_out;
    if (code == Z_STREAM_END) {
      in_member_ = false;
    } else if (code != Z_OK) {
      return DataLoss(name_ + " is damaged or cut off: " + (zip_.msg != nullptr ? zip_.msg : "its bytes make no sense"));
    }
  }
  bytes_ += n;
  return std::string_view(text_.data(), n);
}

}  // namespace chronolith::cli

#include "interop/spool_file.h"

#include <unistd.h>

#include <algorithm>

#include "base/coding.h"

namespace chronolith {

Status SpoolFile::Create() {
  Status s = sink_.Create(path_);
  created_ = s.ok();
  return s;
}

Status SpoolFile::Finish() {
  if (Status s = Append({}); !s.ok()) return s;
  if (Status s = sink_.CloseUnsynced(); !s.ok()) return s;
  return source_.Open(path_);
}

void SpoolFile::Remove() {
  if (created_) ::unlink(path_.c_str());
  created_ = false;
}

bool SpoolReader::Fill(std::size_t n) {
  if (!status_.ok()) return false;
  offset_ += at_;
  at_ = 0;
  const std::uint64_t left = end_ - std::min(offset_, end_);
  if (left < n) {
    status_ = IoError(file_->path() + " ends too early");
    return false;
  }
  status_ = file_->source().ReadAt(offset_, std::min<std::uint64_t>(left, std::max(n, buffer_bytes_)), &buffer_);
  if (status_.ok() && buffer_.size() < n) status_ = IoError(file_->path() + " has become shorter");
  return status_.ok();
}

bool SpoolReader::TakeFramed(std::string_view* bytes) {
  return Take(4, bytes) && Take(LoadFixed<std::uint32_t>(bytes->data()), bytes);
}

bool SpoolReader::TakeVarint(std::uint64_t* n) {
  *n = 0;
  std::string_view byte;
  for (int shift = 0; shift < 64; shift += 7) {
    if (!Take(1, &byte)) return false;
    *n |= static_cast<std::uint64_t>(byte[0] & 0x7f) << shift;
    if ((byte[0] & 0x80) == 0) return true;
  }
  status_ = IoError(file_->path() + " is malformed");
  return false;
}

}  // namespace chronolith

#include "interop/prometheus_pieces.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <queue>

#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::size_t kReadBytes = 64 << 10;

}  // namespace

// Reads one piece.
class PrometheusSeriesPieces::Reader {
 public:
  Reader(const FileSource* file, std::uint64_t begin, std::uint64_t end) : file_(file), offset_(begin), end_(end) {}

  // False at the end, and where status() is not ok.
  bool Next() {
    if (offset_ + at_ >= end_ || !Have(4)) return false;
    const auto length = LoadFixed<std::uint32_t>(buffer_.data() + at_);
    at_ += 4;
    if (!Have(length)) return false;
    ByteReader in(std::string_view(buffer_).substr(at_, length));
    at_ += length;
    labels = Labels::FromEncoded(std::string(in.LengthPrefixed()));
    chunks.clear();
    while (in.ok() && in.remaining() > 0) {
      PrometheusChunkRef c;
      c.min_time = in.Fixed<Timestamp>();
      c.max_time = in.Fixed<Timestamp>();
      c.ref = in.Fixed<std::uint64_t>();
      chunks.push_back(c);
    }
    if (!in.ok()) status = IoError("the file of waiting series is malformed");
    return in.ok();
  }

  Labels labels;
  std::vector<PrometheusChunkRef> chunks;
  Status status;

 private:
  bool Have(std::size_t n) {
    if (buffer_.size() - at_ >= n) return true;
    offset_ += at_;
    at_ = 0;
    status = file_->ReadAt(offset_, std::max(n, kReadBytes), &buffer_);
    if (status.ok() && buffer_.size() < n) status = IoError("the file of waiting series ends too early");
    return status.ok();
  }

  const FileSource* const file_;
  std::uint64_t offset_;  // of buffer_ in the file
  const std::uint64_t end_;
  std::size_t at_ = 0;
  std::string buffer_;
};

PrometheusSeriesPieces::~PrometheusSeriesPieces() {
  if (created_) ::unlink(path_.c_str());
}

Status PrometheusSeriesPieces::Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  if (!created_) {
    if (Status s = file_.Create(path_); !s.ok()) return s;
    created_ = true;
  }
  std::string entry(4, '\0');
  PutBytes(&entry, labels.encoded());
  for (const PrometheusChunkRef& c : chunks) {
    PutFixed64(&entry, static_cast<std::uint64_t>(c.min_time));
    PutFixed64(&entry, static_cast<std::uint64_t>(c.max_time));
    PutFixed64(&entry, c.ref);
  }
  StoreFixed(entry.data(), static_cast<std::uint32_t>(entry.size() - 4));
  file_.Append(entry);
  return Status::Ok();
}

void PrometheusSeriesPieces::EndPiece() {
  if (created_ && (ends_.empty() || ends_.back() < file_.position())) ends_.push_back(file_.position());
}

Status PrometheusSeriesPieces::Merge(const Visit& visit) {
  if (!created_) return Status::Ok();
  EndPiece();
  if (Status s = file_.CloseUnsynced(); !s.ok()) return s;
  FileSource file;
  if (Status s = file.Open(path_); !s.ok()) return s;
  std::vector<std::unique_ptr<Reader>> readers;
  const auto later = [](const Reader* a, const Reader* b) { return (b->labels <=> a->labels) < 0; };
  std::priority_queue<Reader*, std::vector<Reader*>, decltype(later)> next(later);
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends_) {
    readers.push_back(std::make_unique<Reader>(&file, begin, end));
    begin = end;
    if (readers.back()->Next()) next.push(readers.back().get());
    if (!readers.back()->status.ok()) return readers.back()->status;
  }
  while (!next.empty()) {
    Reader* const reader = next.top();
    next.pop();
    if (Status s = visit(reader->labels, reader->chunks); !s.ok()) return s;
    if (reader->Next()) next.push(reader);
    if (!reader->status.ok()) return reader->status;
  }
  return Status::Ok();
}

}  // namespace chronolith

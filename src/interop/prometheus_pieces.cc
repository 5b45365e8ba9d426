#include "interop/prometheus_pieces.h"

#include <memory>
#include <queue>

#include "base/coding.h"

namespace chronolith {

// Reads one piece.
class PrometheusSeriesPieces::Reader {
 public:
  explicit Reader(const SpoolReader& part) : spool_(part) {}

  // False at the end, and where status is not ok.
  bool Next() {
    std::string_view entry;
    if (spool_.at_end()) return false;
    if (!spool_.TakeFramed(&entry)) {
      status = spool_.status();
      return false;
    }
    ByteReader in(entry);
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
  SpoolReader spool_;
};

Status PrometheusSeriesPieces::Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  std::string entry(4, '\0');
  PutBytes(&entry, labels.encoded());
  for (const PrometheusChunkRef& c : chunks) {
    PutFixed64(&entry, static_cast<std::uint64_t>(c.min_time));
    PutFixed64(&entry, static_cast<std::uint64_t>(c.max_time));
    PutFixed64(&entry, c.ref);
  }
  StoreFixed(entry.data(), static_cast<std::uint32_t>(entry.size() - 4));
  return file_.Append(entry);
}

void PrometheusSeriesPieces::EndPiece() {
  if (file_.size() > (ends_.empty() ? 0 : ends_.back())) ends_.push_back(file_.size());
}

Status PrometheusSeriesPieces::Merge(const Visit& visit) {
  EndPiece();
  if (Status s = file_.Finish(); !s.ok()) return s;
  std::vector<std::unique_ptr<Reader>> readers;
  const auto later = [](const Reader* a, const Reader* b) { return (b->labels <=> a->labels) < 0; };
  std::priority_queue<Reader*, std::vector<Reader*>, decltype(later)> next(later);
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends_) {
    readers.push_back(std::make_unique<Reader>(SpoolReader(&file_, begin, end, SpoolReader::BufferBytes(ends_.size()))));
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

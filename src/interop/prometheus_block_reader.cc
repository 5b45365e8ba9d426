#include <cstdio>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_block.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kSegmentMagic = 0x85bd40dd;
constexpr std::uint32_t kTombstonesMagic = 0x0130ba30;
constexpr unsigned kXorEncoding = 1;
constexpr std::size_t kFirstRead = 4096;            // most chunks are smaller: one system call each
constexpr std::uint64_t kMaxChunkBytes = 64 << 20;  // far above 65,535 samples of 19 bytes; a damaged length must not allocate

}  // namespace

Result<std::unique_ptr<PrometheusBlockReader>> PrometheusBlockReader::Open(const std::string& directory) {
  std::unique_ptr<PrometheusBlockReader> r(new PrometheusBlockReader(directory));
  Result<std::string> bytes = ReadWholeFile(directory + "/index");
  if (!bytes.ok()) return bytes.status();
  r->index_bytes_ = std::move(*bytes);
  Result<PrometheusIndexReader> index = PrometheusIndexReader::Open(r->index_bytes_);
  if (!index.ok()) return index.status().WithContext(directory + "/index");
  r->index_ = std::make_unique<PrometheusIndexReader>(std::move(*index));
  if (Status s = r->ReadTombstones(); !s.ok()) return s;
  return r;
}

Status PrometheusBlockReader::ReadTombstones() {
  const std::string path = directory_ + "/tombstones";
  Result<std::string> bytes = ReadWholeFile(path);
  if (bytes.status().code() == StatusCode::kNotFound) return Status::Ok();  // as Prometheus takes it
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() < 9 || LoadBigEndian<std::uint32_t>(bytes->data()) != kTombstonesMagic) {
    return DataLoss(path + ": wrong magic number or cut off");
  }
  if ((*bytes)[4] != 1) return FailedPrecondition(path + ": unknown version");
  const std::string_view deletes = std::string_view(*bytes).substr(5, bytes->size() - 9);
  if (Crc32c(deletes) != LoadBigEndian<std::uint32_t>(bytes->data() + bytes->size() - 4)) {
    return DataLoss(path + ": checksum mismatch");
  }
  ByteReader in(deletes);
  while (in.ok() && in.remaining() != 0) {
    const std::uint64_t series = in.Varint();
    const Timestamp first = in.SignedVarint(), last = in.SignedVarint();
    tombstones_[series].push_back({first, last == kMaxTimestamp ? last : last + 1});
  }
  return in.ok() ? Status::Ok() : DataLoss(path + ": malformed");
}

std::span<const TimeRange> PrometheusBlockReader::deleted() const {
  const auto found = tombstones_.find(index_->series_ref());
  if (found == tombstones_.end()) return {};
  return found->second;
}

Status PrometheusBlockReader::OpenSegment(std::uint64_t number) {
  if (number == segment_number_) return Status::Ok();
  char name[24];
  std::snprintf(name, sizeof(name), "/chunks/%06llu", static_cast<unsigned long long>(number + 1));
  segment_number_ = ~0ULL;
  if (Status s = segment_.Open(directory_ + name); !s.ok()) return s;
  std::string header;
  if (Status s = segment_.ReadAt(0, 8, &header); !s.ok()) return s;
  if (header.size() < 8 || LoadBigEndian<std::uint32_t>(header.data()) != kSegmentMagic) {
    return DataLoss(directory_ + name + ": wrong magic number");
  }
  if (header[4] != 1) return FailedPrecondition(directory_ + name + ": unknown version");
  segment_number_ = number;
  return Status::Ok();
}

// Appends the chunk's data to data_; chunk->data is set by the caller, when data_ no longer moves.
Status PrometheusBlockReader::ReadChunk(const PrometheusChunkRef& ref, RawChunk* chunk) {
  if (Status s = OpenSegment(ref.ref >> 32); !s.ok()) return s;
  const std::uint64_t offset = ref.ref & 0xffffffff;
  if (Status s = segment_.ReadAt(offset, kFirstRead, &entry_); !s.ok()) return s;
  std::uint64_t length = 0;
  const char* body = DecodeVarint(entry_.data(), entry_.data() + entry_.size(), &length);
  if (body == nullptr || length > kMaxChunkBytes) return DataLoss("its length is malformed");
  const auto head = static_cast<std::size_t>(body - entry_.data());
  const std::size_t whole = head + 1 + length + 4;
  if (entry_.size() < whole) {
    if (Status s = segment_.ReadAt(offset, whole, &entry_); !s.ok()) return s;
    if (entry_.size() < whole) return DataLoss("it is cut off");
  }
  const std::string_view checked = std::string_view(entry_).substr(head, 1 + length);
  if (Crc32c(checked) != LoadBigEndian<std::uint32_t>(entry_.data() + head + 1 + length)) return DataLoss("it fails its checksum");
  const auto encoding = static_cast<unsigned char>(checked[0]);
  if (encoding != kXorEncoding)
    return Unimplemented("its encoding is " + std::to_string(encoding) + ", only float chunks (1) are read");
  if (length < 2) return DataLoss("it is shorter than its header");
  chunk->min_time = ref.min_time;
  chunk->max_time = ref.max_time;
  chunk->samples = LoadBigEndian<std::uint16_t>(checked.data() + 1);
  data_.append(checked.substr(1));
  return Status::Ok();
}

bool PrometheusBlockReader::Next() {
  if (!status_.ok()) return false;
  if (!index_->Next()) {
    status_ = index_->status().ok() ? Status::Ok() : index_->status().WithContext(directory_);
    return false;
  }
  chunks_.clear();
  data_.clear();
  std::vector<std::size_t> ends;
  for (const PrometheusChunkRef& ref : index_->chunks()) {
    RawChunk chunk;
    if (Status s = ReadChunk(ref, &chunk); !s.ok()) {
      status_ = s.WithContext(directory_ + ": chunk " + std::to_string(chunks_.size()) + " of " + labels().ToString());
      return false;
    }
    chunks_.push_back(chunk);
    ends.push_back(data_.size());
  }
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    chunks_[i].data = std::string_view(data_).substr(begin, ends[i] - begin);
  }
  return true;
}

}  // namespace chronolith

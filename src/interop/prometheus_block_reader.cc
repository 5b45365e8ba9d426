#include <cstdio>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_block.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kSegmentMagic = 0x85bd40dd;
constexpr std::uint32_t kTombstonesMagic = 0x0130ba30;
constexpr std::uint64_t kMaxChunkBytes = 64 << 20;  // far above 65,535 samples of 19 bytes; a damaged length must not allocate

}  // namespace

Result<std::unique_ptr<PrometheusBlockReader>> PrometheusBlockReader::Open(const std::string& directory, const Options& options) {
  std::unique_ptr<PrometheusBlockReader> r(new PrometheusBlockReader(directory, options));
  if (Status s = r->index_file_.Open(directory + "/index"); !s.ok()) return s;
  const auto size = r->index_file_.Size();
  if (!size.ok()) return size.status();
  const FileSource* const file = &r->index_file_;
  const auto read = [file](std::uint64_t at, std::size_t n, std::string* to) { return file->ReadAt(at, n, to); };
  Result<PrometheusIndexReader> index = PrometheusIndexReader::Open(read, *size);
  if (!index.ok()) return index.status().WithContext(directory + "/index");
  r->index_ = std::make_unique<PrometheusIndexReader>(std::move(*index));
  const FileSource* const segment = &r->segment_;
  r->segment_bytes_ = ReadAhead([segment](std::uint64_t at, std::size_t n, std::string* to) { return segment->ReadAt(at, n, to); });
  if (Status s = r->ReadTombstones(); !s.ok()) return s;
  return r;
}

Result<PrometheusTombstones> ParsePrometheusTombstones(std::string_view file) {
  if (file.size() < 9 || LoadBigEndian<std::uint32_t>(file.data()) != kTombstonesMagic) {
    return DataLoss("wrong magic number or cut off");
  }
  if (file[4] != 1) return FailedPrecondition("unknown version " + std::to_string(static_cast<unsigned char>(file[4])));
  const std::string_view deletes = file.substr(5, file.size() - 9);
  if (Crc32c(deletes) != LoadBigEndian<std::uint32_t>(file.data() + file.size() - 4)) return DataLoss("it fails its checksum");
  PrometheusTombstones all;
  ByteReader in(deletes);
  while (in.ok() && in.remaining() != 0) {
    const std::uint64_t series = in.Varint();
    const Timestamp first = in.SignedVarint(), last = in.SignedVarint();
    if (in.ok()) all[series].push_back({first, last == kMaxTimestamp ? last : last + 1});
  }
  if (!in.ok()) {
    return DataLoss("a delete is malformed, at byte " + std::to_string(static_cast<std::size_t>(in.position() - file.data())));
  }
  return all;
}

Status PrometheusBlockReader::ReadTombstones() {
  const std::string path = directory_ + "/tombstones";
  Result<std::string> bytes = ReadWholeFile(path);
  if (bytes.status().code() == StatusCode::kNotFound) return Status::Ok();  // as Prometheus takes it
  if (!bytes.ok()) return bytes.status();
  Result<PrometheusTombstones> all = ParsePrometheusTombstones(*bytes);
  if (!all.ok()) return all.status().WithContext(path);
  tombstones_ = std::move(*all);
  return Status::Ok();
}

std::span<const TimeRange> PrometheusBlockReader::deleted() const {
  const auto found = tombstones_.find(index_->series_ref());
  if (found == tombstones_.end()) return {};
  return found->second;
}

std::string PrometheusBlockReader::SegmentName(std::uint64_t number) const {
  char name[24];
  std::snprintf(name, sizeof(name), "/chunks/%06llu", static_cast<unsigned long long>(number + 1));
  return directory_ + name;
}

Status PrometheusBlockReader::OpenSegment(std::uint64_t number) {
  if (number == segment_number_) return Status::Ok();
  if (number == failed_segment_) return segment_status_;
  const auto open = [&]() -> Status {
    if (Status s = segment_.Open(SegmentName(number)); !s.ok()) return s;
    std::string header;
    if (Status s = segment_.ReadAt(0, 8, &header); !s.ok()) return s;
    if (header.size() < 8 || LoadBigEndian<std::uint32_t>(header.data()) != kSegmentMagic) {
      return DataLoss(SegmentName(number) + ": wrong magic number");
    }
    return header[4] == 1 ? Status::Ok() : FailedPrecondition(SegmentName(number) + ": unknown version");
  };
  segment_number_ = ~0ULL;
  const FileSource* const segment = &segment_;
  segment_bytes_ = ReadAhead([segment](std::uint64_t at, std::size_t n, std::string* to) { return segment->ReadAt(at, n, to); });
  segment_status_ = open();
  (segment_status_.ok() ? segment_number_ : failed_segment_) = number;
  return segment_status_;
}

// Appends the chunk's data to data_; chunk->data is set by the caller, when data_ no longer moves.
Status PrometheusBlockReader::ReadChunk(const PrometheusChunkRef& ref, PrometheusChunk* chunk) {
  if (Status s = OpenSegment(ref.ref >> 32); !s.ok()) return s;
  const std::uint64_t offset = ref.ref & 0xffffffff;
  const auto damaged = [&](const std::string& how) {
    return DataLoss(SegmentName(ref.ref >> 32) + ": byte " + std::to_string(offset) + ": " + how);
  };
  std::string_view entry;
  if (Status s = segment_bytes_.View(offset, kMaxVarint64Bytes, &entry); !s.ok()) return s;
  std::uint64_t length = 0;
  const char* body = DecodeVarint(entry.data(), entry.data() + entry.size(), &length);
  if (body == nullptr || length > kMaxChunkBytes) return damaged("its length is malformed");
  const auto head = static_cast<std::size_t>(body - entry.data());
  if (Status s = segment_bytes_.View(offset + head, 1 + length + 4, &entry); !s.ok()) return s;
  if (entry.size() < 1 + length + 4) return damaged("it is cut off");
  const std::string_view checked = entry.substr(0, 1 + length);
  if (Crc32c(checked) != LoadBigEndian<std::uint32_t>(entry.data() + 1 + length)) return damaged("it fails its checksum");
  chunk->encoding = static_cast<std::uint8_t>(checked[0]);
  if (chunk->encoding < 1 || chunk->encoding > 3) {
    return Unimplemented(SegmentName(ref.ref >> 32) + ": byte " + std::to_string(offset) + ": its encoding is " +
                         std::to_string(chunk->encoding) + "; floats (1) and native histograms (2, 3) are read");
  }
  if (length < 2) return damaged("it is shorter than its header");
  chunk->min_time = ref.min_time;
  chunk->max_time = ref.max_time;
  chunk->samples = LoadBigEndian<std::uint16_t>(checked.data() + 1);
  data_.append(checked.substr(1));
  return Status::Ok();
}

bool PrometheusBlockReader::Skip(const Status& problem) {
  if (!options_.skip_damaged || problem.code() == StatusCode::kPermissionDenied) return false;
  problems_.push_back(problem);
  return true;
}

bool PrometheusBlockReader::ReadChunks() {
  chunks_.clear();
  data_.clear();
  std::size_t number = 0;
  std::vector<std::size_t> ends;
  for (const PrometheusChunkRef& ref : index_->chunks()) {
    const std::size_t n = number++;
    if (!options_.range.Overlaps(ref.min_time, ref.max_time)) continue;
    PrometheusChunk chunk;
    if (Status s = ReadChunk(ref, &chunk); !s.ok()) {
      s = s.WithContext("chunk " + std::to_string(n) + " of " + labels().ToString());
      if (Skip(s)) continue;
      status_ = std::move(s);
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

bool PrometheusBlockReader::Next() {
  problems_.clear();
  if (!status_.ok()) return false;
  while (!index_->Next()) {
    if (index_->status().ok()) return false;
    const Status s = index_->status().WithContext(directory_ + "/index");
    if (s.code() != StatusCode::kDataLoss || !Skip(s)) {
      status_ = s;
      return false;
    }
    index_->PassDamage();
  }
  return ReadChunks();
}

}  // namespace chronolith

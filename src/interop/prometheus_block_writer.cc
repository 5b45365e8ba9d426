#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <random>
#include <system_error>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/posix_file.h"
#include "interop/prometheus_block.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kSegmentMagic = 0x85bd40dd;
constexpr std::uint32_t kTombstonesMagic = 0x0130ba30;
constexpr std::uint64_t kMaxSegmentBytes = 1ULL << 31;  // offsets in a segment have 32 bits

std::string FreshUlid() {
  std::random_device device;
  std::array<std::uint8_t, 10> random;
  for (std::uint8_t& byte : random) byte = static_cast<std::uint8_t>(device());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return MakeUlid(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(), random);
}

}  // namespace

std::string MakeUlid(std::int64_t now_ms, const std::array<std::uint8_t, 10>& random) {
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string ulid(26, '0');
  auto time = static_cast<std::uint64_t>(now_ms);
  for (std::size_t i = 10; i-- > 0; time >>= 5) ulid[i] = kDigits[time & 31];
  for (std::size_t i = 0; i < 16; ++i) {
    unsigned digit = 0;
    for (std::size_t bit = i * 5; bit < i * 5 + 5; ++bit) digit = digit << 1 | (random[bit / 8] >> (7 - bit % 8) & 1);
    ulid[10 + i] = kDigits[digit];
  }
  return ulid;
}

PrometheusBlockWriter::PrometheusBlockWriter(std::string parent, const Options& options)
    : parent_(std::move(parent)), options_(options) {
  summary_.ulid = options.ulid.empty() ? FreshUlid() : options.ulid;
  summary_.min_time = std::numeric_limits<Timestamp>::max();
  summary_.max_time = std::numeric_limits<Timestamp>::min();
}

Result<std::unique_ptr<PrometheusBlockWriter>> PrometheusBlockWriter::Create(const std::string& parent, const Options& options) {
  std::unique_ptr<PrometheusBlockWriter> w(new PrometheusBlockWriter(parent, options));
  const std::string final_directory = parent + "/" + w->summary_.ulid;
  const std::string temporary = final_directory + ".tmp-for-creation";
  std::error_code error;
  if (std::filesystem::exists(final_directory, error)) return AlreadyExists(final_directory + " exists");
  if (!std::filesystem::create_directory(temporary, error)) {
    return error ? ErrnoStatus("cannot create " + temporary, error) : AlreadyExists(temporary + " exists");
  }
  w->directory_ = temporary;
  w->index_ = std::make_unique<PrometheusIndexWriter>(temporary + "/index.spool");
  if (options.in_pieces) w->pieces_ = std::make_unique<PrometheusSeriesPieces>(temporary + "/series.spool");
  if (!std::filesystem::create_directory(temporary + "/chunks", error)) {
    return ErrnoStatus("cannot create " + temporary + "/chunks", error);
  }
  return w;
}

PrometheusBlockWriter::~PrometheusBlockWriter() {
  std::error_code ignored;  // what stays behind is named so that Prometheus removes it
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

Status PrometheusBlockWriter::CheckChunks(const Labels& labels, std::span<const PrometheusChunk> chunks) {
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const PrometheusChunk& c = chunks[i];
    const std::string name = "chunk " + std::to_string(i) + " of " + labels.ToString();
    if (c.encoding < 1 || c.encoding > 3) {
      return Unimplemented(name + " has encoding " + std::to_string(c.encoding) + ", which Prometheus has not");
    }
    if (c.data.size() < 2 || LoadBigEndian<std::uint16_t>(c.data.data()) != c.samples || c.samples == 0) {
      return InvalidArgument(name + " does not hold the " + std::to_string(c.samples) + " samples it says");
    }
    if (c.max_time == kMaxTimestamp) return InvalidArgument(name + " ends at the last timestamp there is");
  }
  return Status::Ok();
}

Status PrometheusBlockWriter::AppendChunk(const PrometheusChunk& chunk, std::uint64_t* ref) {
  const auto encoding = static_cast<char>(chunk.encoding);
  std::string head;
  PutVarint(&head, chunk.data.size());
  head.push_back(encoding);
  const std::size_t length = head.size() + chunk.data.size() + 4;
  if (segment_.is_open() && segment_.position() + length > std::min(options_.segment_bytes, kMaxSegmentBytes)) {
    if (Status s = segment_.Close(); !s.ok()) return s;
  }
  if (!segment_.is_open()) {
    std::string name = std::to_string(++segments_);
    name.insert(0, 6 - std::min<std::size_t>(6, name.size()), '0');
    if (Status s = segment_.Create(directory_ + "/chunks/" + name); !s.ok()) return s;
    std::string header;
    PutBigEndian32(&header, kSegmentMagic);
    header.append("\x01\0\0\0", 4);
    segment_.Append(header);
  }
  *ref = (segments_ - 1) << 32 | segment_.position();
  segment_.Append(head);
  segment_.Append(chunk.data);
  std::string crc;
  PutBigEndian32(&crc, Crc32c(chunk.data, Crc32c(std::string_view(&encoding, 1))));
  segment_.Append(crc);
  return Status::Ok();
}

Status PrometheusBlockWriter::Add(const Labels& labels, std::span<const PrometheusChunk> chunks) {
  if (chunks.empty()) return Status::Ok();
  if (Status s = CheckChunks(labels, chunks); !s.ok()) return s;
  refs_.clear();
  for (const PrometheusChunk& c : chunks) {
    PrometheusChunkRef ref{c.min_time, c.max_time, 0};
    if (Status s = AppendChunk(c, &ref.ref); !s.ok()) return s;
    refs_.push_back(ref);
  }
  if (Status s = pieces_ != nullptr ? pieces_->Add(labels, refs_) : index_->Add(labels, refs_); !s.ok()) return s;
  for (const PrometheusChunk& c : chunks) summary_.samples += c.samples;
  summary_.chunks += chunks.size();
  ++summary_.series;
  summary_.min_time = std::min(summary_.min_time, chunks.front().min_time);
  summary_.max_time = std::max(summary_.max_time, chunks.back().max_time + 1);
  return Status::Ok();
}

void PrometheusBlockWriter::EndPiece() { pieces_->EndPiece(); }

std::string PrometheusBlockWriter::MetaJson() const {
  const auto number = [](auto n) { return std::to_string(n); };
  return "{\n\t\"ulid\": \"" + summary_.ulid + "\",\n\t\"minTime\": " + number(summary_.min_time) +
         ",\n\t\"maxTime\": " + number(summary_.max_time) + ",\n\t\"stats\": {\n\t\t\"numSamples\": " + number(summary_.samples) +
         ",\n\t\t\"numSeries\": " + number(summary_.series) + ",\n\t\t\"numChunks\": " + number(summary_.chunks) +
         "\n\t},\n\t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n\t\t\t\"" + summary_.ulid +
         "\"\n\t\t]\n\t},\n\t\"version\": 1\n}";
}

Status PrometheusBlockWriter::WriteSmallFile(const std::string& name, std::string_view bytes) {
  FileSink file;
  if (Status s = file.Create(directory_ + "/" + name); !s.ok()) return s;
  file.Append(bytes);
  return file.Close();
}

Status PrometheusBlockWriter::WriteIndex() {
  FileSink file;
  if (Status s = file.Create(directory_ + "/index"); !s.ok()) return s;
  const Status written = index_->WriteTo(&file);
  index_ = nullptr;  // with its files
  const Status closed = file.Close();
  return written.ok() ? closed : written;
}

Result<PrometheusBlockWriter::Summary> PrometheusBlockWriter::Finish() {
  if (summary_.series == 0) {
    Summary nothing;
    nothing.ulid = summary_.ulid;
    return nothing;
  }
  if (Status s = segment_.Close(); !s.ok()) return s;
  if (pieces_ != nullptr) {
    const auto add = [this](const Labels& labels, std::span<const PrometheusChunkRef> refs) { return index_->Add(labels, refs); };
    if (Status s = pieces_->Merge(add); !s.ok()) return s;
    pieces_ = nullptr;
  }
  if (Status s = WriteIndex(); !s.ok()) return s;
  std::string tombstones;
  PutBigEndian32(&tombstones, kTombstonesMagic);
  tombstones.append("\x01\0\0\0\0", 5);  // version, and the checksum of no deletes
  if (Status s = WriteSmallFile("tombstones", tombstones); !s.ok()) return s;
  if (Status s = WriteSmallFile("meta.json", MetaJson()); !s.ok()) return s;
  if (Status s = SyncDirectory(directory_ + "/chunks"); !s.ok()) return s;
  if (Status s = SyncDirectory(directory_); !s.ok()) return s;
  summary_.directory = parent_ + "/" + summary_.ulid;
  std::error_code error;
  std::filesystem::rename(directory_, summary_.directory, error);
  if (error) return ErrnoStatus("cannot rename to " + summary_.directory, error);
  directory_.clear();
  if (Status s = SyncDirectory(parent_); !s.ok()) return s;
  return summary_;
}

}  // namespace chronolith

#include <algorithm>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_index.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kMagic = 0xbaaad700;
constexpr char kVersion = 2;
constexpr std::size_t kHeaderBytes = 5;
constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kTocBytes = 6 * 8 + 4;

Status Damaged(const std::string& what) { return DataLoss("Prometheus index: " + what); }

bool CrcMatches(std::string_view content, std::string_view crc) {
  return Crc32c(content) == LoadBigEndian<std::uint32_t>(crc.data());
}

}  // namespace

// In pieces: a section may be as large as all labels are.
Result<PrometheusIndexReader::Section> PrometheusIndexReader::CheckedSection(std::uint64_t offset, const std::string& what,
                                                                             std::uint32_t* count) const {
  const std::string name = what + " (byte " + std::to_string(offset) + ")";
  if (offset > size_ || size_ - offset < 8) return Damaged(name + " lies outside of the file");
  std::string bytes;
  if (Status s = read_(offset, 4, &bytes); !s.ok()) return s;
  if (bytes.size() < 4) return Damaged(name + " is cut off");
  const auto length = LoadBigEndian<std::uint32_t>(bytes.data());
  if (length > size_ - offset - 8) return Damaged(name + " is cut off");
  const Section section{offset + 4, offset + 4 + length};
  std::uint32_t crc = 0;
  for (std::uint64_t at = section.begin; at < section.end; at += bytes.size()) {
    if (Status s = read_(at, std::min<std::uint64_t>(section.end - at, kReadBytes), &bytes); !s.ok()) return s;
    if (bytes.empty()) return Damaged(name + " is cut off");
    if (at == section.begin && bytes.size() >= 4) *count = LoadBigEndian<std::uint32_t>(bytes.data());
    crc = Crc32c(bytes, crc);
  }
  if (Status s = read_(section.end, 4, &bytes); !s.ok()) return s;
  if (bytes.size() < 4) return Damaged(name + " is cut off");
  if (crc != LoadBigEndian<std::uint32_t>(bytes.data())) return Damaged(name + " fails its checksum");
  if (length < 4) return Damaged(name + " is cut off");
  return section;
}

Result<PrometheusIndexReader> PrometheusIndexReader::Open(std::string_view bytes) {
  const auto read = [bytes](std::uint64_t offset, std::size_t n, std::string* to) {
    to->assign(offset < bytes.size() ? bytes.substr(offset, n) : std::string_view());
    return Status::Ok();
  };
  return Open(read, bytes.size());
}

Result<PrometheusIndexReader> PrometheusIndexReader::Open(ReadFunction read, std::uint64_t size) {
  if (size < kHeaderBytes + kTocBytes) return Damaged("the file is shorter than its header and table of contents");
  PrometheusIndexReader r(std::move(read), size);
  std::string header, toc;
  if (Status s = r.read_(0, kHeaderBytes, &header); !s.ok()) return s;
  if (Status s = r.read_(size - kTocBytes, kTocBytes, &toc); !s.ok()) return s;
  if (header.size() < kHeaderBytes || toc.size() < kTocBytes) return Damaged("the file has become shorter");
  if (LoadBigEndian<std::uint32_t>(header.data()) != kMagic) return Damaged("wrong magic number");
  if (header[4] != kVersion) {
    return FailedPrecondition("Prometheus index has version " + std::to_string(static_cast<unsigned char>(header[4])) +
                              "; only version 2 is read");
  }
  if (!CrcMatches(std::string_view(toc).substr(0, 48), std::string_view(toc).substr(48))) {
    return Damaged("the table of contents fails its checksum");
  }
  if (Status s = r.ReadSymbols(LoadBigEndian<std::uint64_t>(toc.data())); !s.ok()) return s;
  if (Status s = r.FindAllPostings(LoadBigEndian<std::uint64_t>(toc.data() + 40)); !s.ok()) return s;
  return r;
}

Status PrometheusIndexReader::ReadSymbols(std::uint64_t offset) {
  std::uint32_t count = 0;
  const Result<Section> table = CheckedSection(offset, "the symbol table", &count);
  if (!table.ok()) return table.status();
  if (count > table->end - table->begin - 4) {
    return Damaged("the symbol table claims " + std::to_string(count) + " symbols");
  }
  return symbols_.Open(read_, table->begin + 4, table->end, count);
}

Status PrometheusIndexReader::FindAllPostings(std::uint64_t offset) {
  std::uint32_t count = 0;
  const Result<Section> table = CheckedSection(offset, "the postings offset table", &count);
  if (!table.ok()) return table.status();
  ReadAhead entries(read_);
  std::uint64_t at = table->begin + 4;
  // An entry: a byte, two strings behind their lengths, an offset.
  const auto view = [&](std::uint64_t n, std::string_view* bytes) {
    return entries.View(at, std::min<std::uint64_t>(n, table->end - at), bytes);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto malformed = [i] { return Damaged("entry " + std::to_string(i) + " of the postings offset table is malformed"); };
    std::string_view bytes;
    if (Status s = view(1, &bytes); !s.ok()) return s;
    if (bytes != "\x02") return malformed();
    ++at;
    bool all = true;
    for (int part = 0; part < 2; ++part) {
      if (Status s = view(kMaxVarint64Bytes, &bytes); !s.ok()) return s;
      std::uint64_t length = 0;
      const char* const text = DecodeVarint(bytes.data(), bytes.data() + bytes.size(), &length);
      if (text == nullptr) return malformed();
      at += static_cast<std::uint64_t>(text - bytes.data());
      if (length > table->end - at) return malformed();
      at += length;
      all = all && length == 0;
    }
    if (Status s = view(kMaxVarint64Bytes, &bytes); !s.ok()) return s;
    std::uint64_t postings = 0;
    const char* const end = DecodeVarint(bytes.data(), bytes.data() + bytes.size(), &postings);
    if (end == nullptr) return malformed();
    at += static_cast<std::uint64_t>(end - bytes.data());
    if (all) return OpenPostings(postings);
  }
  return count == 0 ? Status::Ok() : Damaged("there is no list of all series");
}

Status PrometheusIndexReader::OpenPostings(std::uint64_t offset) {
  std::uint32_t count = 0;
  const Result<Section> list = CheckedSection(offset, "the list of all series", &count);
  if (!list.ok()) return list.status();
  if ((list->end - list->begin - 4) / 4 != count) return Damaged("the list of all series has another length than it says");
  next_offset_ = list->begin + 4;
  series_ = count;
  return Status::Ok();
}

Status PrometheusIndexReader::ReadSeries(std::uint32_t ref) {
  const std::uint64_t offset = static_cast<std::uint64_t>(ref) * 16;
  const auto damaged = [&] {
    return Damaged("series " + std::to_string(ref) + " (byte " + std::to_string(offset) + ") is malformed or fails its checksum");
  };
  if (offset >= size_) return damaged();
  std::string_view frame;
  if (Status s = ahead_.View(offset, kMaxVarint64Bytes, &frame); !s.ok()) return s;
  std::uint64_t length = 0;
  const char* const begin = DecodeVarint(frame.data(), frame.data() + frame.size(), &length);
  if (begin == nullptr || length > size_ - offset) return damaged();
  const auto head = static_cast<std::size_t>(begin - frame.data());
  if (Status s = ahead_.View(offset + head, length + 4, &frame); !s.ok()) return s;
  if (frame.size() < length + 4 || !CrcMatches(frame.substr(0, length), frame.substr(length))) return damaged();
  bool well_formed = false;
  if (Status s = ParseSeries(frame.substr(0, length), &well_formed); !s.ok()) return s;
  return well_formed ? Status::Ok() : damaged();
}

Status PrometheusIndexReader::ParseSeries(std::string_view content, bool* well_formed) {
  ByteReader in(content);
  if (Status s = ParseLabels(&in, well_formed); !s.ok() || !*well_formed) return s;
  *well_formed = ParseChunks(&in);
  return Status::Ok();
}

Status PrometheusIndexReader::ParseLabels(ByteReader* in, bool* well_formed) {
  std::string encoded;
  name_before_.clear();
  *well_formed = false;
  for (std::uint64_t n = in->Varint(); n > 0 && in->ok(); --n) {
    const std::uint64_t name_symbol = in->Varint(), value_symbol = in->Varint();
    std::string_view name, value;
    if (!in->ok() || name_symbol >= symbols_.size() || value_symbol >= symbols_.size()) return Status::Ok();
    if (Status s = symbols_.Get(static_cast<std::uint32_t>(name_symbol), &name); !s.ok()) return s;
    if (Status s = symbols_.Get(static_cast<std::uint32_t>(value_symbol), &value); !s.ok()) return s;
    if (name <= name_before_) return Status::Ok();
    name_before_.assign(name);
    Labels::AppendEncoded(name, value, &encoded);
  }
  *well_formed = in->ok();
  labels_ = Labels::FromEncoded(std::move(encoded));
  return Status::Ok();
}

bool PrometheusIndexReader::ParseChunks(ByteReader* in) {
  chunks_.clear();
  PrometheusChunkRef before;
  for (std::uint64_t n = in->Varint(); n > 0 && in->ok(); --n) {
    PrometheusChunkRef c;
    const bool first = chunks_.empty();
    // Wraps around: a malformed distance is found below as disorder.
    c.min_time = first ? in->SignedVarint() : static_cast<Timestamp>(static_cast<std::uint64_t>(before.max_time) + in->Varint());
    c.max_time = static_cast<Timestamp>(static_cast<std::uint64_t>(c.min_time) + in->Varint());
    c.ref = first ? in->Varint() : before.ref + static_cast<std::uint64_t>(in->SignedVarint());
    if (!in->ok() || c.max_time < c.min_time || (!first && c.min_time < before.max_time)) return false;
    chunks_.push_back(c);
    before = c;
  }
  return in->AtEnd();
}

bool PrometheusIndexReader::Next() {
  if (!status_.ok() || visited_ == series_) return false;
  std::string_view bytes;
  status_ = postings_.View(next_offset_, 4, &bytes);
  if (status_.ok() && bytes.size() < 4) status_ = Damaged("the list of all series has become shorter");
  if (!status_.ok()) {
    visited_ = series_;  // no series of it can be told
    return false;
  }
  const auto ref = LoadBigEndian<std::uint32_t>(bytes.data());
  next_offset_ += 4;
  ++visited_;
  status_ = ReadSeries(ref);
  series_ref_ = ref;
  return status_.ok();
}

}  // namespace chronolith

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_index.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kMagic = 0xbaaad700;
constexpr char kVersion = 2;
constexpr std::size_t kHeaderBytes = 5;
constexpr std::size_t kTocBytes = 6 * 8 + 4;

Status Damaged(const std::string& what) { return DataLoss("Prometheus index: " + what); }

bool CrcMatches(std::string_view content, std::string_view crc) {
  return Crc32c(content) == LoadBigEndian<std::uint32_t>(crc.data());
}

}  // namespace

Result<std::string> PrometheusIndexReader::Section(std::uint64_t offset, const char* what) const {
  const std::string name = std::string(what) + " (byte " + std::to_string(offset) + ")";
  if (offset > size_ || size_ - offset < 8) return Damaged(name + " lies outside of the file");
  std::string bytes;
  if (Status s = read_(offset, 4, &bytes); !s.ok()) return s;
  if (bytes.size() < 4) return Damaged(name + " is cut off");
  const auto length = LoadBigEndian<std::uint32_t>(bytes.data());
  if (length > size_ - offset - 8) return Damaged(name + " is cut off");
  if (Status s = read_(offset + 4, length + 4ULL, &bytes); !s.ok()) return s;
  if (bytes.size() < length + 4ULL) return Damaged(name + " is cut off");
  const auto crc = LoadBigEndian<std::uint32_t>(bytes.data() + length);
  bytes.resize(length);
  if (Crc32c(bytes) != crc) return Damaged(name + " fails its checksum");
  return bytes;
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
  Result<std::string> content = Section(offset, "the symbol table");
  if (!content.ok()) return content.status();
  if (content->size() < 4) return Damaged("the symbol table is cut off");
  symbols_ = std::move(*content);
  const auto count = LoadBigEndian<std::uint32_t>(symbols_.data());
  ByteReader in(std::string_view(symbols_).substr(4));
  if (count > in.remaining()) return Damaged("the symbol table claims " + std::to_string(count) + " symbols");
  symbol_offsets_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    symbol_offsets_.push_back(static_cast<std::uint32_t>(in.position() - symbols_.data()));
    in.LengthPrefixed();
    if (!in.ok()) return Damaged("symbol " + std::to_string(i) + " is cut off");
  }
  return Status::Ok();
}

Status PrometheusIndexReader::FindAllPostings(std::uint64_t offset) {
  Result<std::string> table = Section(offset, "the postings offset table");
  if (!table.ok()) return table.status();
  if (table->size() < 4) return Damaged("the postings offset table is cut off");
  const auto count = LoadBigEndian<std::uint32_t>(table->data());
  ByteReader in(std::string_view(*table).substr(4));
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto keys = in.Fixed<std::uint8_t>();
    const std::string_view name = in.LengthPrefixed(), value = in.LengthPrefixed();
    const std::uint64_t at = in.Varint();
    if (!in.ok() || keys != 2) return Damaged("entry " + std::to_string(i) + " of the postings offset table is malformed");
    if (!name.empty() || !value.empty()) continue;
    Result<std::string> postings = Section(at, "the list of all series");
    if (!postings.ok()) return postings.status();
    if (postings->size() < 4 || (postings->size() - 4) / 4 != LoadBigEndian<std::uint32_t>(postings->data())) {
      return Damaged("the list of all series has another length than it says");
    }
    postings_ = postings->substr(4);
    return Status::Ok();
  }
  return count == 0 ? Status::Ok() : Damaged("there is no list of all series");
}

bool PrometheusIndexReader::Symbol(std::uint64_t number, std::string_view* s) const {
  if (number >= symbol_offsets_.size()) return false;
  ByteReader in(std::string_view(symbols_).substr(symbol_offsets_[number]));
  *s = in.LengthPrefixed();
  return true;
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
  return ParseSeries(frame.substr(0, length)) ? Status::Ok() : damaged();
}

// False where anything about the series is malformed.
bool PrometheusIndexReader::ParseSeries(std::string_view content) {
  ByteReader in(content);
  std::string encoded;
  std::string_view name_before;
  for (std::uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    const std::uint64_t name_symbol = in.Varint(), value_symbol = in.Varint();
    std::string_view name, value;
    if (!in.ok() || !Symbol(name_symbol, &name) || !Symbol(value_symbol, &value)) return false;
    if (name <= name_before) return false;
    name_before = name;
    Labels::AppendEncoded(name, value, &encoded);
  }
  labels_ = Labels::FromEncoded(std::move(encoded));
  chunks_.clear();
  PrometheusChunkRef before;
  for (std::uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    PrometheusChunkRef c;
    const bool first = chunks_.empty();
    // Wraps around: a malformed distance is found below as disorder.
    c.min_time = first ? in.SignedVarint() : static_cast<Timestamp>(static_cast<std::uint64_t>(before.max_time) + in.Varint());
    c.max_time = static_cast<Timestamp>(static_cast<std::uint64_t>(c.min_time) + in.Varint());
    c.ref = first ? in.Varint() : before.ref + static_cast<std::uint64_t>(in.SignedVarint());
    if (!in.ok() || c.max_time < c.min_time || (!first && c.min_time < before.max_time)) return false;
    chunks_.push_back(c);
    before = c;
  }
  return in.AtEnd();
}

bool PrometheusIndexReader::Next() {
  if (!status_.ok() || next_ >= postings_.size()) return false;
  const auto ref = LoadBigEndian<std::uint32_t>(postings_.data() + next_);
  next_ += 4;
  status_ = ReadSeries(ref);
  series_ref_ = ref;
  return status_.ok();
}

}  // namespace chronolith

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

Result<std::string_view> PrometheusIndexReader::Section(std::uint64_t offset, const char* what) const {
  if (offset > bytes_.size() || bytes_.size() - offset < 8) return Damaged(std::string(what) + " lies outside of the file");
  const auto length = LoadBigEndian<std::uint32_t>(bytes_.data() + offset);
  if (length > bytes_.size() - offset - 8) return Damaged(std::string(what) + " is cut off");
  const std::string_view content = bytes_.substr(offset + 4, length);
  if (!CrcMatches(content, bytes_.substr(offset + 4 + length, 4))) return Damaged(std::string(what) + " fails its checksum");
  return content;
}

Result<PrometheusIndexReader> PrometheusIndexReader::Open(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + kTocBytes) return Damaged("the file is shorter than its header and table of contents");
  if (LoadBigEndian<std::uint32_t>(bytes.data()) != kMagic) return Damaged("wrong magic number");
  PrometheusIndexReader r;
  r.bytes_ = bytes;
  if (bytes[4] != kVersion) {
    return FailedPrecondition("Prometheus index has version " + std::to_string(static_cast<unsigned char>(bytes[4])) +
                              "; only version 2 is read");
  }
  const std::string_view toc = bytes.substr(bytes.size() - kTocBytes);
  if (!CrcMatches(toc.substr(0, 48), toc.substr(48))) return Damaged("the table of contents fails its checksum");
  if (Status s = r.ReadSymbols(LoadBigEndian<std::uint64_t>(toc.data())); !s.ok()) return s;
  if (Status s = r.FindAllPostings(LoadBigEndian<std::uint64_t>(toc.data() + 40)); !s.ok()) return s;
  return r;
}

Status PrometheusIndexReader::ReadSymbols(std::uint64_t offset) {
  Result<std::string_view> content = Section(offset, "the symbol table");
  if (!content.ok()) return content.status();
  if (content->size() < 4) return Damaged("the symbol table is cut off");
  const auto count = LoadBigEndian<std::uint32_t>(content->data());
  ByteReader in(content->substr(4));
  if (count > in.remaining()) return Damaged("the symbol table claims " + std::to_string(count) + " symbols");
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string_view symbol = in.LengthPrefixed();
    if (!in.ok()) return Damaged("symbol " + std::to_string(i) + " is cut off");
    symbols_.push_back(symbol);
  }
  return Status::Ok();
}

Status PrometheusIndexReader::FindAllPostings(std::uint64_t offset) {
  Result<std::string_view> table = Section(offset, "the postings offset table");
  if (!table.ok()) return table.status();
  if (table->size() < 4) return Damaged("the postings offset table is cut off");
  const auto count = LoadBigEndian<std::uint32_t>(table->data());
  ByteReader in(table->substr(4));
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto keys = in.Fixed<std::uint8_t>();
    const std::string_view name = in.LengthPrefixed(), value = in.LengthPrefixed();
    const std::uint64_t at = in.Varint();
    if (!in.ok() || keys != 2) return Damaged("entry " + std::to_string(i) + " of the postings offset table is malformed");
    if (!name.empty() || !value.empty()) continue;
    Result<std::string_view> postings = Section(at, "the list of all series");
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
  if (number >= symbols_.size()) return false;
  *s = symbols_[number];
  return true;
}

// False where anything about the series is malformed.
bool PrometheusIndexReader::ReadSeries(std::uint32_t ref) {
  const std::uint64_t offset = static_cast<std::uint64_t>(ref) * 16;
  if (offset >= bytes_.size()) return false;
  ByteReader frame(bytes_.substr(offset));
  const std::string_view content = frame.LengthPrefixed();
  const std::string_view crc = frame.Bytes(4);
  if (!frame.ok() || !CrcMatches(content, crc)) return false;
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
  if (!status_.ok() || postings_.empty()) return false;
  const auto ref = LoadBigEndian<std::uint32_t>(postings_.data());
  postings_.remove_prefix(4);
  if (!ReadSeries(ref)) {
    status_ = Damaged("series " + std::to_string(ref) + " is malformed or fails its checksum");
    return false;
  }
  series_ref_ = ref;
  return true;
}

}  // namespace chronolith

// Any bytes as the index of a Prometheus block: as they are, and with the checksums put right, because no fuzzer gets past those.
#include <string>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_index.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

constexpr std::size_t kTocBytes = 52;

void PutCrc(std::string* bytes, std::size_t from, std::size_t length) {
  StoreBigEndian(bytes->data() + from + length, Crc32c(std::string_view(*bytes).substr(from, length)));
}

// The content of the section at `offset`, its checksum put right; empty where it does not lie within the bytes.
std::string_view FixSection(std::string* bytes, std::uint64_t offset) {
  if (offset > bytes->size() || bytes->size() - offset < 8) return {};
  const auto length = LoadBigEndian<std::uint32_t>(bytes->data() + offset);
  if (length > bytes->size() - offset - 8) return {};
  PutCrc(bytes, offset + 4, length);
  return std::string_view(*bytes).substr(offset + 4, length);
}

void FixSeries(std::string* bytes, std::uint64_t offset) {
  if (offset >= bytes->size()) return;
  ByteReader in(std::string_view(*bytes).substr(offset));
  const std::string_view content = in.LengthPrefixed();
  in.Bytes(4);
  if (in.ok()) PutCrc(bytes, static_cast<std::size_t>(content.data() - bytes->data()), content.size());
}

void FixChecksums(std::string* bytes) {
  if (bytes->size() < kTocBytes) return;
  const std::size_t toc = bytes->size() - kTocBytes;
  FixSection(bytes, LoadBigEndian<std::uint64_t>(bytes->data() + toc));
  std::string_view postings;
  const std::string_view table = FixSection(bytes, LoadBigEndian<std::uint64_t>(bytes->data() + toc + 40));
  if (table.size() > 7) {
    ByteReader in(table.substr(7));  // behind the number of entries and the keys of the first
    postings = FixSection(bytes, in.Varint());
  }
  for (std::size_t i = 4; i + 4 <= postings.size(); i += 4) {
    FixSeries(bytes, static_cast<std::uint64_t>(LoadBigEndian<std::uint32_t>(postings.data() + i)) * 16);
  }
  PutCrc(bytes, toc, 48);
}

void ReadIt(std::string_view bytes) {
  Result<PrometheusIndexReader> reader = PrometheusIndexReader::Open(bytes);
  if (!reader.ok()) return;
  while (reader->Next()) {
    std::size_t labels = 0;
    for (const Label& l : reader->labels()) {
      FUZZ_CHECK(!l.name.empty());
      ++labels;
    }
    FUZZ_CHECK(labels == reader->labels().size());
    for (const PrometheusChunkRef& c : reader->chunks()) FUZZ_CHECK(c.min_time <= c.max_time);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  ReadIt(bytes);
  std::string fixed(bytes);
  FixChecksums(&fixed);
  ReadIt(fixed);
  return 0;
}

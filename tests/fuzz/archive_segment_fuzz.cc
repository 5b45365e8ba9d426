// Any bytes as a block of a log archive, as they are and as the payload of a block of each type under a right checksum: what
// decodes also encodes to the same, and nothing is read outside of the bytes.
#include <algorithm>
#include <string>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/archive_segment.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

bool SameRows(const std::vector<ArchivedRow>& a, const std::vector<ArchivedRow>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ArchivedRow& x, const ArchivedRow& y) {
    return x.shard == y.shard && x.first_lsn == y.first_lsn && x.last_lsn == y.last_lsn && x.epoch == y.epoch &&
           x.write_time_ms == y.write_time_ms && x.value == y.value;
  });
}

void Check(std::string_view bytes) {
  ArchiveBlock block;
  if (!DecodeArchiveBlock(bytes, &block).ok()) return;
  std::string again;
  switch (block.type) {
    case ArchiveBlockType::kHeader:
      AppendArchiveHeader(block.header, &again);
      break;
    case ArchiveBlockType::kRows:
      for (std::size_t i = 1; i < block.rows.size(); ++i) FUZZ_CHECK(block.rows[i].first_lsn > block.rows[i - 1].last_lsn);
      FUZZ_CHECK(AppendArchiveRows(block.rows, &again) == block.rows.size());
      break;
    case ArchiveBlockType::kGap:
      AppendArchiveGap(block.gap, &again);
      break;
    case ArchiveBlockType::kMark:
      AppendArchiveMark(block.mark, &again);
      break;
  }
  ArchiveBlock decoded;
  FUZZ_CHECK(DecodeArchiveBlock(again, &decoded).ok() && decoded.type == block.type && decoded.header == block.header);
  FUZZ_CHECK(SameRows(decoded.rows, block.rows) && decoded.gap == block.gap && decoded.mark == block.mark);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  Check(bytes);
  const std::string_view payload = bytes.substr(std::min(bytes.size(), kArchivePrefixBytes));
  for (char type = 1; type <= 4; ++type) {
    std::string sealed = std::string("CLAB") + type;
    PutFixed32(&sealed, static_cast<std::uint32_t>(payload.size()));
    PutFixed32(&sealed, Crc32c(payload, Crc32c(std::string_view(sealed).substr(4))));
    Check(sealed.append(payload));
  }
  return 0;
}

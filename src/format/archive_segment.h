// The bytes of a log archive: blocks, one behind the other. README.md, "The log archive", is the specification.
#ifndef CHRONOLITH_FORMAT_ARCHIVE_SEGMENT_H_
#define CHRONOLITH_FORMAT_ARCHIVE_SEGMENT_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/archive_marks.h"
#include "chronolith/log_archiver.h"
#include "chronolith/result.h"
#include "format/series_id.h"

namespace chronolith {

inline constexpr std::size_t kArchivePrefixBytes = 13;              // of a block, before its payload
inline constexpr std::uint32_t kArchivePayloadBytesMax = 4U << 20;  // so a reader's memory is bounded

enum class ArchiveBlockType : std::uint8_t { kHeader = 1, kRows = 2, kGap = 3, kMark = 4 };

// The last row of a shard that is in earlier segments.
struct ArchiveShardState {
  ShardId shard = 0;
  Lsn last_lsn = 0;
  std::uint64_t epoch = 0;
  std::int64_t write_time_ms = 0;
  friend bool operator==(const ArchiveShardState&, const ArchiveShardState&) = default;
};

struct ArchiveHeader {
  std::array<char, 16> uuid{};
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;  // of the segment
  std::vector<ArchiveShardState> shards;
  friend bool operator==(const ArchiveHeader&, const ArchiveHeader&) = default;
};

struct ArchiveGap {
  ShardId shard = 0;
  Lsn first_lsn = 0;
  Lsn last_lsn = 0;
  friend bool operator==(const ArchiveGap&, const ArchiveGap&) = default;
};

// Of `type`, one of these.
struct ArchiveBlock {
  ArchiveBlockType type = ArchiveBlockType::kHeader;
  ArchiveHeader header;
  std::vector<ArchivedRow> rows;  // of one shard, in order; views into the bytes that were decoded
  ArchiveGap gap;
  ArchiveMark mark;
};

// ---- Encoding: each appends one whole block to `out` ----
void AppendArchiveHeader(const ArchiveHeader& header, std::string* out);
// As many of the rows, all of one shard, as one block takes; returns how many, at least one of at least one.
std::size_t AppendArchiveRows(std::span<const ArchivedRow> rows, std::string* out);
void AppendArchiveGap(const ArchiveGap& gap, std::string* out);
void AppendArchiveMark(const ArchiveMark& mark, std::string* out);

// ---- Decoding ----
// The length of the payload behind these kArchivePrefixBytes. kDataLoss: they begin no block.
Result<std::uint32_t> ArchivePayloadBytes(std::string_view prefix);
// A whole block: prefix and payload. kDataLoss; kFailedPrecondition: a newer format.
Status DecodeArchiveBlock(std::string_view bytes, ArchiveBlock* block);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_ARCHIVE_SEGMENT_H_

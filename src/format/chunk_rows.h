// The rows of a family `chunk.<k>`: chunks, tombstones, and one state row.
//
//   chunk      key    'c' | window: BE64, sign flipped | ordinal: BE32 | creation LSN: BE64 | sequence: BE32 | chunk type: u8
//              value  version: u8 = 1 | flags: u8 (bit 0: overlay; others 0) | epoch: uvarint | min_time - window: uvarint |
//                     max_time - min_time: uvarint | samples: uvarint | payload, encoded as the type says | CRC32C: LE32
//              packed version: u8 = 3, plus 16: overlay, 32: steady | epoch: uvarint | min_time - window: uvarint | samples:
//              uvarint |
//                     where there are two: their distance: uvarint of whole seconds, or 0 and uvarint of ms |
//                     unless steady: max_time - min_time: uvarint | a packed float chunk without its front | CRC32C: LE32
//   tombstone  key    't' | LSN: BE64 | part: BE32
//              value  version: u8 = 1 | parts: uvarint | start: svarint | end: svarint |
//                     repeat: (uvarint gap to the end of the previous run | uvarint length of the run - 1) | CRC32C: LE32
//   state      key    's'
//              value  version: u8 = 1 | applied LSN: uvarint | floor: svarint | epoch: uvarint | CRC32C: LE32
//
// uvarint: LEB128, as in Protocol Buffers; svarint: the same, zigzag. Differences of times are modulo 2^64. The CRC covers the key
// and all of the value before it, so a row that turns up under another key is found as well. A value is at most 64 KiB.
//
// Byte order of the chunk keys is (window, ordinal, creation LSN, ...): a window is one key range, which expires whole, and all
// chunks of a series in a window are neighbours. Rows are idempotent: the same key always means the same chunk, perhaps grown.
// A tombstone with many series is split into parts, each valid alone; it counts only when all its parts are there (the state row's
// applied LSN is written after them, so the log still holds a tombstone that was cut short by a crash).
//
// Errors: kFailedPrecondition names a version that is newer than this build's; everything else that is wrong is kDataLoss and names
// the key in hexadecimal. The caller adds the family.
#ifndef CHRONOLITH_FORMAT_CHUNK_ROWS_H_
#define CHRONOLITH_FORMAT_CHUNK_ROWS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ordinal_set.h"
#include "chronolith/result.h"
#include "format/chunk_row.h"

namespace chronolith {

inline constexpr std::uint8_t kChunkRowVersion = 1;
// Of a chunk row whose payload is packed (chunk/packed_chunk.h). The older is read, never written.
inline constexpr std::uint8_t kOlderPackedChunkRowVersion = 2;
inline constexpr std::uint8_t kPackedChunkRowVersion = 3;
inline constexpr std::size_t kChunkKeyBytes = 26;
inline constexpr std::uint64_t kChunkValueBytesMax = 64ULL << 10;
// A payload of at most this many bytes fits into a value, whatever the other fields are.
inline constexpr std::uint64_t kChunkPayloadBytesMax = kChunkValueBytesMax - 64;

inline constexpr char kChunkKeyTag = 'c';
inline constexpr char kTombstoneKeyTag = 't';
inline constexpr std::string_view kChunkStateKey = "s";

// What a family chunk.<k> says of itself: written in the last batch of each checkpoint.
struct ChunkState {
  Lsn applied_lsn = 0;  // lower bound: every sample, delete and floor record up to it is in the rows
  Timestamp floor = kMinTimestamp;
  std::uint64_t epoch = 0;  // of the shard, when written
};

// Hides samples in `range` of `ordinals` in chunks with creation_lsn < lsn. (A delete cuts the open chunks, so no chunk is partly
// older.)
struct Tombstone {
  Lsn lsn = 0;
  TimeRange range;
  OrdinalSet ordinals;
};

struct ChunkFamilyRow {
  std::string key;
  std::string value;
};

// The start of the window of `window_ms` that holds t. Where that lies below the smallest timestamp: the smallest timestamp.
Timestamp WindowOf(Timestamp t, std::int64_t window_ms);

// ---- Chunks ----
using ChunkKey = std::array<char, kChunkKeyBytes>;
ChunkKey EncodeChunkKey(const ChunkMeta& meta);
// Prefixes of chunk keys, for seeking: the first row of a window, of a series in it.
std::string ChunkWindowPrefix(Timestamp window);
std::string ChunkSeriesPrefix(Timestamp window, std::uint32_t ordinal);
// Fills the fields of the identity only. False where it is not the key of a chunk, or its type is none that this build knows:
// BadChunkKey tells which.
bool DecodeChunkKey(std::string_view key, ChunkMeta* meta);
Status BadChunkKey(std::string_view key);

// Replaces *value. kInvalidArgument where the payload is too large for a row (the caller cuts chunks long before), the times are
// out of order or before the window, or a packed payload is of other samples than `meta`.
Status EncodeChunkValue(std::string_view key, const ChunkMeta& meta, std::string_view payload, std::string* value);
// `meta` has the identity from DecodeChunkKey; the rest is filled. Checks the CRC. The payload is of `value`, or where that is a
// packed row, of *buffer.
Status DecodeChunkValue(std::string_view key, std::string_view value, ChunkMeta* meta, std::string_view* payload,
                        std::string* buffer);
// Only min_time, max_time, samples, overlay and epoch; does not check the CRC, so use it only to skip rows that are not wanted.
bool PeekChunkValue(std::string_view value, ChunkMeta* meta);

// ---- Tombstones ----
// One row or, where its series do not fit one, several.
std::vector<ChunkFamilyRow> EncodeTombstone(const Tombstone& tombstone);
struct TombstonePart {
  Tombstone tombstone;  // the series of this part only
  std::uint32_t part = 0;
  std::uint64_t parts = 0;
};
Status DecodeTombstone(std::string_view key, std::string_view value, TombstonePart* part);
std::string TombstonePrefix(Lsn lsn);  // of the keys of all its parts

// ---- State ----
ChunkFamilyRow EncodeChunkState(const ChunkState& state);
Status DecodeChunkState(std::string_view key, std::string_view value, ChunkState* state);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_CHUNK_ROWS_H_

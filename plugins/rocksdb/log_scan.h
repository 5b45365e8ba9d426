// Reads a log file of RocksDB by itself, to tell what RocksDB's recovery does not: where exactly damage begins and ends, and what
// is intact behind it.
//
// The format is LevelDB's, unchanged since: blocks of 32 KiB; in them fragments of
//   u32 CRC32C of type and payload, masked | u16 payload length | u8 type (1 whole record, 2 first, 3 middle, 4 last) | payload
// Fewer than 7 bytes at the end of a block are padding. Recycled files (types 5 to 8) do not occur: recycle_log_file_num is 0.
//
// RocksDB gives up a block at its first bad byte, and takes a bad length in the last block for the end of the log. Here every place
// of the block is tried again, so one flipped bit costs one record.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_LOG_SCAN_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_LOG_SCAN_H_

#include <rocksdb/env.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

inline constexpr std::size_t kLogBlockBytes = 32 << 10;
inline constexpr std::size_t kFragmentHeaderBytes = 7;
enum FragmentType : std::uint8_t { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
// Of a fragment's type and payload. LevelDB stores checksums rotated and shifted, since a CRC of bytes that hold their own is weak.
std::uint32_t MaskedLogChecksum(std::string_view type_and_payload);

// Bytes [begin, end) of a log file, which are no intact record.
struct DamagedBytes {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  // The file ends within a record; or zeroes fill a sector of 512 bytes, as far as it is damaged, or end a 4 KiB page (16 or more).
  bool unwritten = false;
  bool ends_file = false;
};

// Run on the caller's thread, in the order of the file.
struct LogScanCallbacks {
  std::function<void(std::string_view record)> on_record;  // intact ones
  std::function<void(const DamagedBytes&)> on_damage;
  std::function<bool(std::uint64_t bytes)> on_bytes;  // so many more were read and checked; false: stop. May be null
};

// Without `put_together` records are checked only, and on_record gets "". The file is taken to end at `end`, if it is longer.
// kIoError where the file cannot be read, kCancelled where on_bytes says so. Memory: one record.
Status ScanLogFile(rocksdb::Env* env, const std::string& path, bool put_together, const LogScanCallbacks& callbacks,
                   std::uint64_t end = std::numeric_limits<std::uint64_t>::max());

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_LOG_SCAN_H_

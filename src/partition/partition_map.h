// PartitionMap: which shard a series belongs to, by contiguous ranges of the 64-bit hash of its labels. Persisted with the store and
// versioned, so that a shard can later be split or moved without touching keys. Pure: no I/O, no threads.
//
// Bytes: u8 format (1) | varint version | varint n | n x (u64 first hash of the range, little-endian | varint shard) | u32 CRC32C
// Ranges are ascending, the first begins at 0, each ends where the next begins.
#ifndef CHRONOLITH_PARTITION_PARTITION_MAP_H_
#define CHRONOLITH_PARTITION_PARTITION_MAP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"

namespace chronolith {

// Thread safety: immutable after construction.
class PartitionMap {
 public:
  struct Range {
    std::uint64_t first = 0;
    std::uint32_t shard = 0;
  };

  // `shards` equal ranges, numbered from 0.
  static PartitionMap Uniform(std::uint32_t shards);
  // kDataLoss, kFailedPrecondition (newer format).
  static Result<PartitionMap> Decode(std::string_view bytes);
  std::string Encode() const;

  std::uint32_t ShardFor(std::uint64_t hash) const {
    std::size_t low = 0;
    for (std::size_t n = ranges_.size(); n > 1;) {
      const std::size_t half = n / 2;
      if (ranges_[low + half].first <= hash) low += half;
      n -= half;
    }
    return ranges_[low].shard;
  }
  const std::vector<Range>& ranges() const { return ranges_; }
  std::uint64_t version() const { return version_; }

 private:
  std::uint64_t version_ = 1;
  std::vector<Range> ranges_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_PARTITION_PARTITION_MAP_H_

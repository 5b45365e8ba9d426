#include "partition/partition_map.h"

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {

PartitionMap PartitionMap::Uniform(std::uint32_t shards) {
  PartitionMap map;
  for (std::uint32_t i = 0; i < shards; ++i) {
    // ceil(i * 2^64 / shards)
    const auto first = static_cast<std::uint64_t>(((static_cast<unsigned __int128>(i) << 64) + shards - 1) / shards);
    map.ranges_.push_back({first, i});
  }
  return map;
}

std::string PartitionMap::Encode() const {
  std::string bytes(1, '\1');
  PutVarint(&bytes, version_);
  PutVarint(&bytes, ranges_.size());
  for (const Range& range : ranges_) {
    PutFixed64(&bytes, range.first);
    PutVarint(&bytes, range.shard);
  }
  PutFixed32(&bytes, Crc32c(bytes));
  return bytes;
}

Result<PartitionMap> PartitionMap::Decode(std::string_view bytes) {
  if (bytes.size() < 5 || Crc32c(bytes.substr(0, bytes.size() - 4)) != LoadFixed<std::uint32_t>(bytes.data() + bytes.size() - 4)) {
    return DataLoss("the partition map has a wrong checksum");
  }
  ByteReader in(bytes.substr(0, bytes.size() - 4));
  if (const auto format = in.Fixed<std::uint8_t>(); format != 1) {
    return FailedPrecondition("the partition map has format " + std::to_string(format) + ", this build reads 1");
  }
  PartitionMap map;
  map.version_ = in.Varint();
  const std::uint64_t n = in.Varint();
  for (std::uint64_t i = 0; in.ok() && i < n; ++i) {
    Range range;
    range.first = in.Fixed<std::uint64_t>();
    const std::uint64_t shard = in.Varint();
    range.shard = static_cast<std::uint32_t>(shard);
    const bool ascending = map.ranges_.empty() ? range.first == 0 : range.first > map.ranges_.back().first;
    if (!ascending || shard >= 31) in.Fail();
    map.ranges_.push_back(range);
  }
  if (!in.AtEnd() || map.ranges_.empty()) return DataLoss("the partition map is malformed");
  return map;
}

}  // namespace chronolith

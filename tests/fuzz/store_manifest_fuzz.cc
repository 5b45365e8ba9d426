// Any bytes as a store's manifest and as a partition map, as they are and under a right checksum: what decodes also encodes to the
// same meaning and keeps its bounds.
#include <string>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/store_manifest.h"
#include "partition/partition_map.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void CheckManifest(std::string_view bytes) {
  const Result<StoreManifest> m = DecodeManifest(bytes);
  if (!m.ok()) return;
  FUZZ_CHECK(m->shards >= 1 && m->shards <= 31 && m->window_ms > 0);
  FUZZ_CHECK(m->UuidHex().size() == 32);
  const Result<StoreManifest> again = DecodeManifest(EncodeManifest(*m));
  FUZZ_CHECK(again.ok() && *again == *m);
}

void CheckMap(std::string_view bytes) {
  const Result<PartitionMap> map = PartitionMap::Decode(bytes);
  if (!map.ok()) return;
  for (const PartitionMap::Range& range : map->ranges()) {
    FUZZ_CHECK(range.shard < 31 && map->ShardFor(range.first) == range.shard);
  }
  FUZZ_CHECK(map->ShardFor(0) == map->ranges().front().shard && map->ShardFor(~0ULL) == map->ranges().back().shard);
  const Result<PartitionMap> again = PartitionMap::Decode(map->Encode());
  FUZZ_CHECK(again.ok() && again->Encode() == map->Encode());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  std::string sealed(bytes);
  PutFixed32(&sealed, Crc32c(bytes));
  for (const std::string_view form : {bytes, std::string_view(sealed)}) {
    CheckManifest(form);
    CheckMap(form);
  }
  return 0;
}

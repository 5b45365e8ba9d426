// Any bytes as a block's tombstones, as they are and under a right checksum, and as its meta.json.
#include <string>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_block.h"
#include "interop/prometheus_meta.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  const auto meta = ParsePrometheusMeta(bytes);
  FUZZ_CHECK(!meta.ok() || !meta->ulid.empty());
  std::string fixed(bytes);
  if (fixed.size() >= 9) {
    StoreBigEndian(fixed.data() + fixed.size() - 4, Crc32c(std::string_view(fixed).substr(5, fixed.size() - 9)));
  }
  for (const std::string_view file : {bytes, std::string_view(fixed)}) {
    const auto deletes = ParsePrometheusTombstones(file);
    if (!deletes.ok()) continue;
    std::size_t n = 0;
    for (const auto& [series, ranges] : *deletes) n += ranges.size();
    FUZZ_CHECK(n * 3 <= size);
  }
  return 0;
}

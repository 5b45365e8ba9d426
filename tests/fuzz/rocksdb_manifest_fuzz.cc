// Any bytes as a record of RocksDB's MANIFEST: what decodes says the same whatever was known before, and decodes behind another,
// too.
#include <algorithm>
#include <string>

#include "plugins/rocksdb/newest_log.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string record(FuzzBytes(data, size));
  std::uint64_t number = 0;
  std::uint64_t above = 1000;
  const bool decodes = LargestLogNumber(record, &number);
  FUZZ_CHECK(LargestLogNumber(record, &above) == decodes);
  FUZZ_CHECK(above >= 1000);
  if (!decodes) return 0;
  FUZZ_CHECK(above == std::max<std::uint64_t>(1000, number));
  std::uint64_t twice = 0;
  FUZZ_CHECK(LargestLogNumber(record + record, &twice) && twice == number);
  return 0;
}

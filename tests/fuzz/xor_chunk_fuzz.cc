// Any bytes as a float chunk: bulk and single decoding agree, and what decodes also encodes and decodes again.
#include <bit>
#include <vector>

#include "chunk/xor_chunk.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

bool Same(const Sample& a, const Sample& b) {
  return a.timestamp == b.timestamp && std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  std::vector<Sample> single;
  XorIterator one(bytes);
  while (one.Next()) single.push_back(one.sample());
  FUZZ_CHECK(single.size() <= one.count());
  FUZZ_CHECK(one.ok() == (size >= 2 && single.size() == one.count()));

  std::vector<Sample> bulk;
  XorIterator many(bytes);
  Timestamp t[17];
  double v[17];
  while (const std::size_t n = many.Decode(t, v, 17)) {
    for (std::size_t i = 0; i < n; ++i) bulk.push_back({t[i], v[i]});
  }
  FUZZ_CHECK(many.ok() == one.ok());
  FUZZ_CHECK(bulk.size() == single.size());
  for (std::size_t i = 0; i < bulk.size(); ++i) FUZZ_CHECK(Same(bulk[i], single[i]));

  Result<std::vector<Sample>> again = DecodeXor(EncodeXor(single));
  FUZZ_CHECK(again.ok() && again->size() == single.size());
  for (std::size_t i = 0; i < single.size(); ++i) FUZZ_CHECK(Same((*again)[i], single[i]));
  return 0;
}

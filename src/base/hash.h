// The 64-bit hash of a label set (XXH3 over Labels::encoded()). It is persistent: it places series on shards and is a key of the
// index. A golden test pins it.
#ifndef CHRONOLITH_BASE_HASH_H_
#define CHRONOLITH_BASE_HASH_H_

#include <cstdint>
#include <string_view>

namespace chronolith {

std::uint64_t StableHash(std::string_view bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_HASH_H_

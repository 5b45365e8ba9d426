#include "base/hash.h"

#include <xxhash.h>

namespace chronolith {

std::uint64_t StableHash(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace chronolith

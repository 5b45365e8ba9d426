// The portable form of a roaring bitmap, checked before the bitmap library sees it: the library's own "safe" reader keeps to its
// bounds only, and a bitmap whose items are out of order or miscounted makes later operations write where they must not.
#ifndef CHRONOLITH_FORMAT_ROARING_BYTES_H_
#define CHRONOLITH_FORMAT_ROARING_BYTES_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace chronolith {

struct RoaringShape {
  std::uint32_t containers = 0;
  std::uint16_t first_key = 0;  // high half of the items of the first container
  std::uint64_t items = 0;
};

// Nothing where `bytes` are not exactly one bitmap with ascending containers, ascending items in each, and right counts.
std::optional<RoaringShape> CheckRoaring(std::string_view bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_ROARING_BYTES_H_

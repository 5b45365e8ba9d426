#include "base/checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace chronolith {

std::uint32_t Crc32c(std::string_view bytes, std::uint32_t seed) {
  // ISA-L takes a length of int and neither inverts before nor after.
  std::uint32_t crc = ~seed;
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), 1U << 30);
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())), static_cast<int>(n), crc);
    bytes.remove_prefix(n);
  }
  return ~crc;
}

}  // namespace chronolith

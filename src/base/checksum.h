// CRC32C (Castagnoli), by ISA-L: the checksum of every byte that Chronolith persists.
#ifndef CHRONOLITH_BASE_CHECKSUM_H_
#define CHRONOLITH_BASE_CHECKSUM_H_

#include <cstdint>
#include <string_view>

namespace chronolith {

// The standard CRC32C of iSCSI and Prometheus: Crc32c("123456789") == 0xe3069283. `seed` is the CRC of the bytes before.
std::uint32_t Crc32c(std::string_view bytes, std::uint32_t seed = 0);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_CHECKSUM_H_

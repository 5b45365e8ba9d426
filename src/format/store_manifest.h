// The store's identity, kept three times: the file STORE in its directory, and a row of the family `meta` of each engine instance.
//
// All three hold the same fields:
//   u8 format (2) | 16 bytes uuid | varint incarnation | varint parent | u8 flags (1: complete) | varint shards | varint window ms
//   | length-prefixed engine name | length-prefixed log path ("" is <path>/log) | length-prefixed partition map | u32 CRC32C
// Format 1 lacks parent and flags; it is read still, and not written. The file STORE has the magic line "chronolith store\n" before
// them. Rows: key "store".
#ifndef CHRONOLITH_FORMAT_STORE_MANIFEST_H_
#define CHRONOLITH_FORMAT_STORE_MANIFEST_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith {

inline constexpr std::string_view kStoreFile = "STORE";
inline constexpr std::string_view kStoreKey = "store";
inline constexpr std::string_view kStoreMagic = "chronolith store\n";

struct StoreManifest {
  std::array<char, 16> uuid{};
  // 1 where the store was created; a random number for each copy, so that log and data of different copies do not mix.
  std::uint64_t incarnation = 1;
  std::uint64_t parent = 0;  // incarnation that this one was copied from; 0: none
  // Creation has ended: both instances have their identity. Only the file STORE tells; creation writes that again, last.
  bool complete = false;
  std::uint32_t shards = 0;
  std::int64_t window_ms = 0;
  std::string engine;
  std::string log_path;
  std::string partition_map;

  friend bool operator==(const StoreManifest&, const StoreManifest&) = default;
  std::string UuidHex() const;
};

std::string EncodeManifest(const StoreManifest& manifest);
// kDataLoss, kFailedPrecondition (newer format).
Result<StoreManifest> DecodeManifest(std::string_view bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_STORE_MANIFEST_H_

#include "format/roaring_bytes.h"

#include <bit>

#include "base/coding.h"

namespace chronolith {
namespace {

// Cookie 12346, then the number of containers; or 12347 where some are runs, with the number less one in its upper half.
constexpr std::uint32_t kCookieNoRuns = 12346;
constexpr std::uint32_t kCookieRuns = 12347;
constexpr std::uint32_t kOffsetsMin = 4;  // containers from which a bitmap with runs has their offsets too
constexpr std::uint32_t kContainersMax = 1 << 16;
constexpr std::uint32_t kArrayMax = 4096;  // more items than this are a bitmap of 65536 bits

bool ValidRuns(ByteReader* reader, std::uint32_t count) {
  const auto runs = reader->Fixed<std::uint16_t>();
  std::uint64_t total = 0;
  std::int64_t last = -1;
  for (std::uint16_t i = 0; i < runs && reader->ok(); ++i) {
    const std::int64_t start = reader->Fixed<std::uint16_t>();
    const std::int64_t length = reader->Fixed<std::uint16_t>();  // less one
    if (start <= last || start + length > 0xffff) return false;
    last = start + length;
    total += static_cast<std::uint64_t>(length) + 1;
  }
  return reader->ok() && total == count;
}

bool ValidBits(ByteReader* reader, std::uint32_t count) {
  std::uint32_t total = 0;
  for (int i = 0; i < 1024; ++i) total += static_cast<std::uint32_t>(std::popcount(reader->Fixed<std::uint64_t>()));
  return reader->ok() && total == count;
}

bool ValidArray(ByteReader* reader, std::uint32_t count) {
  std::int32_t last = -1;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::int32_t item = reader->Fixed<std::uint16_t>();
    if (item <= last) return false;
    last = item;
  }
  return reader->ok();
}

}  // namespace

std::optional<RoaringShape> CheckRoaring(std::string_view bytes) {
  ByteReader reader(bytes);
  RoaringShape shape;
  const auto cookie = reader.Fixed<std::uint32_t>();
  const bool with_runs = (cookie & 0xffff) == kCookieRuns;
  std::string_view run_flags;
  if (with_runs) {
    shape.containers = (cookie >> 16) + 1;
    run_flags = reader.Bytes((shape.containers + 7) / 8);
  } else if (cookie == kCookieNoRuns) {
    shape.containers = reader.Fixed<std::uint32_t>();
  } else {
    return std::nullopt;
  }
  if (shape.containers > kContainersMax) return std::nullopt;
  ByteReader heads(reader.Bytes(std::uint64_t{shape.containers} * 4));
  if (!with_runs || shape.containers >= kOffsetsMin) reader.Bytes(std::uint64_t{shape.containers} * 4);
  std::int32_t last_key = -1;
  for (std::uint32_t i = 0; i < shape.containers && reader.ok(); ++i) {
    const auto key = heads.Fixed<std::uint16_t>();
    const std::uint32_t count = heads.Fixed<std::uint16_t>() + 1U;
    if (key <= last_key) return std::nullopt;
    last_key = key;
    if (i == 0) shape.first_key = key;
    shape.items += count;
    const bool is_runs = with_runs && (static_cast<std::uint8_t>(run_flags[i / 8]) >> i % 8 & 1) != 0;
    if (is_runs ? !ValidRuns(&reader, count) : count > kArrayMax ? !ValidBits(&reader, count) : !ValidArray(&reader, count)) {
      return std::nullopt;
    }
  }
  if (!reader.AtEnd()) return std::nullopt;
  return shape;
}

}  // namespace chronolith

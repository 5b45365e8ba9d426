// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef CHRONOLITH_INDEX_UTF8_H_
#define CHRONOLITH_INDEX_UTF8_H_

#include <cstdint>
#include <cstring>
#include <string_view>

namespace chronolith {

// Eight bytes at a time.
inline bool IsAscii(std::string_view s) {
  const char* at = s.data();
  std::size_t left = s.size();
  std::uint64_t high = 0;
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof(word));
    high |= word;
  }
  for (; left > 0; ++at, --left) high |= static_cast<std::uint64_t>(static_cast<unsigned char>(*at));
  return (high & 0x8080808080808080ULL) == 0;
}

inline bool IsValidUtf8(std::string_view s) {
  if (IsAscii(s)) return true;
  std::size_t i = 0;
  while (i < s.size()) {
    const auto lead = static_cast<unsigned char>(s[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t more = 0;
    std::uint32_t point = 0;
    std::uint32_t least = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1, point = lead & 0x1f, least = 0x80;
    } else if ((lead & 0xf0) == 0xe0) {
      more = 2, point = lead & 0x0f, least = 0x800;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3, point = lead & 0x07, least = 0x10000;
    } else {
      return false;
    }
    if (more >= s.size() - i) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto byte = static_cast<unsigned char>(s[i + k]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_UTF8_H_

// One Unicode character as UTF-8.
#ifndef CHRONOLITH_INTEROP_UTF8_H_
#define CHRONOLITH_INTEROP_UTF8_H_

#include <cstdint>
#include <string>

namespace chronolith::interop {

// `rune` must be at most U+10FFFF.
inline void AppendUtf8(std::uint32_t rune, std::string* text) {
  if (rune < 0x80) {
    text->push_back(static_cast<char>(rune));
  } else if (rune < 0x800) {
    text->append({static_cast<char>(0xc0 | rune >> 6), static_cast<char>(0x80 | (rune & 0x3f))});
  } else if (rune < 0x10000) {
    text->append({static_cast<char>(0xe0 | rune >> 12), static_cast<char>(0x80 | (rune >> 6 & 0x3f)),
                  static_cast<char>(0x80 | (rune & 0x3f))});
  } else {
    text->append({static_cast<char>(0xf0 | rune >> 18), static_cast<char>(0x80 | (rune >> 12 & 0x3f)),
                  static_cast<char>(0x80 | (rune >> 6 & 0x3f)), static_cast<char>(0x80 | (rune & 0x3f))});
  }
}

// The value of a hexadecimal digit, or -1.
inline int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_UTF8_H_

// Bytes as lower-case hexadecimal digits, for golden literals.
#ifndef CHRONOLITH_TESTS_FORMAT_HEX_H_
#define CHRONOLITH_TESTS_FORMAT_HEX_H_

#include <string>
#include <string_view>

namespace chronolith {

inline std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    hex.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return hex;
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_FORMAT_HEX_H_

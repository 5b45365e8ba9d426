// Small files of text that the tools keep: lines of fields, the last one a checksum of all before.
#ifndef CHRONOLITH_OPS_CHECKED_LINES_H_
#define CHRONOLITH_OPS_CHECKED_LINES_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"

namespace chronolith::ops {

// Adds the last line, "end CRC32C" (8 hexadecimal digits) of the text, which ends with '\n'.
std::string WithEndLine(std::string text);
// The lines, without the last, which was compared. kDataLoss: cut off, or its checksum is another; the message goes on behind the
// name of the file.
Result<std::vector<std::string_view>> CheckedLines(std::string_view text);

std::string Hex32(std::uint32_t n);
bool ParseHex32(std::string_view text, std::uint32_t* number);
template <typename T>
bool ParseNumber(std::string_view text, T* number, int base = 10) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *number, base);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
}
// Of visible ASCII characters, at least one.
bool IsWord(std::string_view text);
// The fields of a line that begins with `word`, each one a word; false unless there are so many.
bool Fields(std::string_view line, std::string_view word, std::size_t count, std::vector<std::string_view>* fields);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CHECKED_LINES_H_

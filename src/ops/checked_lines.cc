#include "ops/checked_lines.h"

#include <algorithm>
#include <cstdio>

#include "base/checksum.h"

namespace chronolith::ops {
namespace {

constexpr std::string_view kEnd = "end ";

}  // namespace

std::string Hex32(std::uint32_t n) {
  char text[9];
  std::snprintf(text, sizeof(text), "%08x", n);
  return text;
}

bool ParseHex32(std::string_view text, std::uint32_t* number) { return text.size() == 8 && ParseNumber(text, number, 16); }

bool IsWord(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool Fields(std::string_view line, std::string_view word, std::size_t count, std::vector<std::string_view>* fields) {
  if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != ' ') return false;
  line.remove_prefix(word.size() + 1);
  fields->clear();
  while (true) {
    const std::size_t blank = line.find(' ');
    fields->push_back(line.substr(0, blank));
    if (!IsWord(fields->back())) return false;
    if (blank == std::string_view::npos) return fields->size() == count;
    line.remove_prefix(blank + 1);
  }
}

std::string WithEndLine(std::string text) {
  const std::uint32_t crc = Crc32c(text);
  return std::move(text.append(kEnd).append(Hex32(crc)).append("\n"));
}

Result<std::vector<std::string_view>> CheckedLines(std::string_view text) {
  std::vector<std::string_view> lines;
  std::size_t last = 0;  // where the last line begins
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return DataLoss("is cut off");
    lines.push_back(text.substr(at, end - at));
    last = at;
    at = end + 1;
  }
  std::uint32_t crc = 0;
  if (lines.empty() || !lines.back().starts_with(kEnd) || !ParseHex32(lines.back().substr(kEnd.size()), &crc)) {
    return DataLoss("is cut off");
  }
  if (crc != Crc32c(text.substr(0, last))) return DataLoss("does not match its checksum");
  lines.pop_back();
  return lines;
}

}  // namespace chronolith::ops

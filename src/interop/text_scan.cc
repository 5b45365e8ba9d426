#include "interop/text_scan.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace chronolith::interop {

namespace {

constexpr std::uint64_t kNormalNaNBits = 0x7ff8000000000001ULL;  // what Prometheus stores for a scraped NaN

enum CharClass : unsigned char { kNameStart = 1, kDigit = 2, kColon = 4 };

constexpr std::array<unsigned char, 256> kClasses = [] {
  std::array<unsigned char, 256> classes{};
  for (int c = 'a'; c <= 'z'; ++c) classes[static_cast<std::size_t>(c)] = kNameStart;
  for (int c = 'A'; c <= 'Z'; ++c) classes[static_cast<std::size_t>(c)] = kNameStart;
  for (int c = '0'; c <= '9'; ++c) classes[static_cast<std::size_t>(c)] = kDigit;
  classes['_'] = kNameStart;
  classes[':'] = kColon;
  return classes;
}();

std::size_t NamePrefix(std::string_view text, unsigned start, unsigned rest) {
  if (text.empty() || (kClasses[static_cast<unsigned char>(text[0])] & start) == 0) return 0;
  std::size_t n = 1;
  while (n < text.size() && (kClasses[static_cast<unsigned char>(text[n])] & rest) != 0) ++n;
  return n;
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != lower[i]) return false;
  }
  return true;
}

// The length of the multi-byte character at the start of `text`, or 0 where it is malformed.
std::size_t MultiByteLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second > 0x9f;
  const bool beyond = lead == 0xf4 && second > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

// Whole numbers of up to 15 digits are exact in a double and by far the most frequent values.
bool ParseShortInteger(std::string_view token, double* value) {
  if (token.empty() || token.size() > 15) return false;
  std::int64_t v = 0;
  for (const char c : token) {
    if (c < '0' || c > '9') return false;
    v = v * 10 + (c - '0');
  }
  *value = static_cast<double>(v);
  return true;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    std::uint64_t word;
    if (text.size() >= sizeof(word)) {
      std::memcpy(&word, text.data(), sizeof(word));
      if ((word & 0x8080808080808080ULL) == 0) {
        text.remove_prefix(sizeof(word));
        continue;
      }
    }
    const std::size_t n = static_cast<unsigned char>(text[0]) < 0x80 ? 1 : MultiByteLength(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string AsUtf8(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string valid;
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    const std::size_t n = byte < 0x80 ? 1 : MultiByteLength(text);
    if (n == 0) valid.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    valid.append(text.substr(0, n));
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return valid;
}

std::size_t MetricNamePrefix(std::string_view text) { return NamePrefix(text, kNameStart | kColon, kNameStart | kDigit | kColon); }
std::size_t LabelNamePrefix(std::string_view text) { return NamePrefix(text, kNameStart, kNameStart | kDigit); }

bool ParseValue(std::string_view token, double* value) {
  if (ParseShortInteger(token, value)) return true;
  if (token == "StaleNaN") {
    *value = std::bit_cast<double>(kStaleNaNBits);
    return true;
  }
  if (EqualsIgnoringCase(token, "nan")) {
    *value = std::bit_cast<double>(kNormalNaNBits);
    return true;
  }
  const bool negative = !token.empty() && token[0] == '-';
  if (negative || (!token.empty() && token[0] == '+')) token.remove_prefix(1);
  if (token.empty()) return false;
  if (EqualsIgnoringCase(token, "inf") || EqualsIgnoringCase(token, "infinity")) {
    *value = negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    return true;
  }
  if (token[0] != '.' && (token[0] < '0' || token[0] > '9')) return false;
  double v = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), v);
  if (end != token.data() + token.size()) return false;
  if (error == std::errc::result_out_of_range) {
    // Too small is zero or denormal, which is fine; too large is not. from_chars does not tell which.
    v = std::strtod(std::string(token).c_str(), nullptr);
    if (std::isinf(v)) return false;
  } else if (error != std::errc()) {
    return false;
  }
  *value = negative ? -v : v;
  return true;
}

bool ParseMillis(std::string_view token, Timestamp* t) {
  if (!token.empty() && token[0] == '+') {
    token.remove_prefix(1);
    if (!token.empty() && token[0] == '-') return false;
  }
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), *t);
  return error == std::errc() && end == token.data() + token.size();
}

bool ParseSeconds(std::string_view token, Timestamp* t) {
  std::string_view rest = token;
  const bool negative = !rest.empty() && rest[0] == '-';
  if (negative || (!rest.empty() && rest[0] == '+')) rest.remove_prefix(1);
  std::int64_t ms = 0;
  int digits = 0;
  int fraction = -1;  // digits behind the point; -1 before it
  for (const char c : rest) {
    if (c == '.' && fraction < 0) {
      fraction = 0;
    } else if (c >= '0' && c <= '9') {
      ++digits;
      if (fraction >= 3) continue;
      if (__builtin_mul_overflow(ms, std::int64_t{10}, &ms) || __builtin_add_overflow(ms, std::int64_t{c - '0'}, &ms)) return false;
      if (fraction >= 0) ++fraction;
    } else if ((c == 'e' || c == 'E') && digits > 0) {
      double seconds = 0;
      if (!ParseValue(token, &seconds) || !(std::fabs(seconds) < 9.2e15)) return false;
      *t = std::llround(seconds * 1000);
      return true;
    } else {
      return false;
    }
  }
  if (digits == 0) return false;
  for (int i = fraction < 0 ? 0 : fraction; i < 3; ++i) {
    if (__builtin_mul_overflow(ms, std::int64_t{10}, &ms)) return false;
  }
  *t = negative ? -ms : ms;
  return true;
}

std::string Quoted(std::string_view text) {
  constexpr std::size_t kMaxBytes = 64;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text.substr(0, kMaxBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e) {
      quoted.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    } else {
      if (c == '"' || c == '\\') quoted.push_back('\\');
      quoted.push_back(c);
    }
  }
  return quoted.append(text.size() > kMaxBytes ? "\"..." : "\"");
}

}  // namespace chronolith::interop

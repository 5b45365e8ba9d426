#include "interop/time_text.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "interop/text_scan.h"

namespace chronolith::interop {

namespace {

constexpr std::int64_t kSecondMs = 1000;
constexpr std::int64_t kDayMs = 86400 * kSecondMs;

// Reads fixed-width fields; after the first mismatch everything fails.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : rest_(text) {}

  int Digits(std::size_t n) {
    if (rest_.size() < n) ok_ = false;
    int v = 0;
    for (std::size_t i = 0; ok_ && i < n; ++i) {
      ok_ = rest_[i] >= '0' && rest_[i] <= '9';
      v = v * 10 + (rest_[i] - '0');
    }
    if (ok_) rest_.remove_prefix(n);
    return v;
  }
  bool Take(std::string_view one_of) {
    if (!ok_ || rest_.empty() || one_of.find(rest_[0]) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void Expect(std::string_view one_of) {
    if (!Take(one_of)) ok_ = false;
  }
  bool ok() const { return ok_; }
  bool AtEnd() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Milliseconds of ".123456"; digits below are cut off.
std::int64_t Fraction(FieldReader* in) {
  std::int64_t ms = in->Digits(1) * 100;
  std::int64_t scale = 10;
  while (in->ok() && !in->AtEnd()) {
    FieldReader ahead = *in;
    const int digit = ahead.Digits(1);
    if (!ahead.ok()) break;
    *in = ahead;
    ms += digit * scale;
    scale /= 10;
  }
  return ms;
}

std::optional<Timestamp> ParseRfc3339(std::string_view text) {
  FieldReader in(text);
  const int year = in.Digits(4);
  in.Expect("-");
  const int month = in.Digits(2);
  in.Expect("-");
  const int day = in.Digits(2);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!in.ok() || !date.ok()) return std::nullopt;
  Timestamp t = std::chrono::sys_days(date).time_since_epoch().count() * kDayMs;
  if (in.AtEnd()) return t;

  in.Expect("Tt ");
  const int hour = in.Digits(2);
  in.Expect(":");
  const int minute = in.Digits(2);
  in.Expect(":");
  const int second = in.Digits(2);
  if (!in.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;  // 60: a leap second, the next second here
  t += ((hour * 60 + minute) * 60 + second) * kSecondMs;
  if (in.Take(".")) t += Fraction(&in);
  if (!in.Take("Zz")) {
    const bool west = in.Take("-");
    if (!west) in.Expect("+");
    const int offset_hour = in.Digits(2);
    in.Expect(":");
    const int offset = offset_hour * 60 + in.Digits(2);
    if (!in.ok() || offset >= 24 * 60) return std::nullopt;
    t += (west ? offset : -offset) * 60 * kSecondMs;
  }
  if (!in.ok() || !in.AtEnd()) return std::nullopt;
  return t;
}

}  // namespace

Result<std::int64_t> ParseDuration(std::string_view text) {
  static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
      {"y", 365 * kDayMs}, {"w", 7 * kDayMs},     {"d", kDayMs},   {"h", 3600 * kSecondMs},
      {"ms", 1},           {"m", 60 * kSecondMs}, {"s", kSecondMs}};
  const Status bad = InvalidArgument("duration " + Quoted(text) +
                                     ": expected numbers with units, the largest first, as in 1h30m (y w d h m s ms)");
  std::string_view rest = text;
  if (rest == "0") return std::int64_t{0};
  if (rest.empty()) return bad;
  std::int64_t total = 0;
  std::int64_t last_unit = std::numeric_limits<std::int64_t>::max();
  while (!rest.empty()) {
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
    if (error != std::errc() || rest[0] == '-') return bad;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    std::int64_t unit = 0;
    for (const auto& [name, ms] : kUnits) {
      if (rest.starts_with(name)) {
        rest.remove_prefix(name.size());
        unit = ms;
        break;
      }
    }
    if (unit == 0 || unit >= last_unit) return bad;
    last_unit = unit;
    std::int64_t part = 0;
    if (__builtin_mul_overflow(n, unit, &part) || __builtin_add_overflow(total, part, &total)) return bad;
  }
  return total;
}

Result<Timestamp> ParseTime(std::string_view text, Timestamp now_ms) {
  if (text == "now") return now_ms;
  if (const auto t = ParseRfc3339(text)) return *t;
  Timestamp ms = 0;
  if (ParseMillis(text, &ms)) return ms;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    if (const auto duration = ParseDuration(text.substr(1)); duration.ok()) {
      Timestamp t = 0;
      if (!__builtin_add_overflow(now_ms, text[0] == '-' ? -*duration : *duration, &t)) return t;
    }
  }
  return InvalidArgument(
      "time " + Quoted(text) +
      ": expected RFC 3339 (2026-01-31T12:00:00Z), milliseconds since 1970, now, or a duration before now (-1h)");
}

std::string FormatTime(Timestamp t) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(t)};
  constexpr Timestamp kYear0 = -62167219200000;
  constexpr Timestamp kYear10000 = 253402300800000;
  if (t < kYear0 || t >= kYear10000) return std::to_string(t);
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  char text[40];
  std::snprintf(text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text;
}

}  // namespace chronolith::interop

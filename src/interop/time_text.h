// Points in time and durations as people type and read them.
#ifndef CHRONOLITH_INTEROP_TIME_TEXT_H_
#define CHRONOLITH_INTEROP_TIME_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/result.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// RFC 3339 ("2026-01-31T12:00:00Z", also "+02:00", a fraction, a blank for the T, or only the date), whole milliseconds since 1970
// ("1700000000000"), "now", or a duration before or after now ("-1h30m", "+5m"). kInvalidArgument says what was expected.
Result<Timestamp> ParseTime(std::string_view text, Timestamp now_ms);

// Prometheus' durations: numbers with units, the largest first: "1h30m", "500ms"; y w d h m s ms. A year is 365 days. In ms, >= 0.
Result<std::int64_t> ParseDuration(std::string_view text);

// "2026-01-31T12:00:00.000Z"; outside of the years 0000 to 9999 the number of milliseconds.
std::string FormatTime(Timestamp t);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_TIME_TEXT_H_

// Small, allocation-free scanners that the text parsers of this folder share: names, numbers, timestamps, UTF-8, quoting of
// culprits.
#ifndef CHRONOLITH_INTEROP_TEXT_SCAN_H_
#define CHRONOLITH_INTEROP_TEXT_SCAN_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "chronolith/types.h"

namespace chronolith::interop {

// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. Pure ASCII is checked eight bytes at a time.
bool IsValidUtf8(std::string_view text);

// Bytes at the start of `text` that form a metric name, [a-zA-Z_:][a-zA-Z0-9_:]*, or a label name (the same without the colon).
std::size_t MetricNamePrefix(std::string_view text);
std::size_t LabelNamePrefix(std::string_view text);

// A sample value, all of `token`: decimal floats, NaN, [+-]Inf, and StaleNaN, which is our own word for the stale marker so that a
// printed query result can be read back. NaN yields the payload that Prometheus gives it. False: malformed or out of range.
bool ParseValue(std::string_view token, double* value);

// A timestamp, all of `token`. Prometheus text: whole milliseconds. OpenMetrics: seconds, with a fraction of which digits below a
// millisecond are cut off (decimal arithmetic: no rounding error, unlike a detour over double). False: malformed or out of range.
bool ParseMillis(std::string_view token, Timestamp* t);
bool ParseSeconds(std::string_view token, Timestamp* t);

// `text` with what is not UTF-8 as \xNN: for an answer that names what somebody sent.
std::string AsUtf8(std::string_view text);

// `text` in double quotes for an error message: at most 64 bytes of it, bytes outside printable ASCII as \xNN.
std::string Quoted(std::string_view text);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_TEXT_SCAN_H_

// The one refusal for want of room that waiting does not end.
#ifndef CHRONOLITH_INTEROP_SERIES_LIMIT_H_
#define CHRONOLITH_INTEROP_SERIES_LIMIT_H_

#include <string>

#include "chronolith/status.h"

namespace chronolith::interop {

// Whether a new series was refused because there are Options::max_series. Known series go on: what is refused of those for want of
// memory, of disk or of room in the log has the same code, and may pass.
inline bool IsSeriesLimit(const Status& reason) {
  return reason.code() == StatusCode::kResourceExhausted && reason.message().find("(max_series)") != std::string::npos;
}

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_SERIES_LIMIT_H_

// The server's log, on stderr.
#ifndef CHRONOLITH_TOOLS_CHRONOLITHD_LOG_H_
#define CHRONOLITH_TOOLS_CHRONOLITHD_LOG_H_

#include <memory>
#include <string>

#include "chronolith/env.h"

namespace chronolith::daemon {

// `level`: "debug", "info", "warning" or "error".
std::shared_ptr<Logger> NewLogger(const std::string& level);

}  // namespace chronolith::daemon

#endif  // CHRONOLITH_TOOLS_CHRONOLITHD_LOG_H_

#include "tools/chronolithd/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace chronolith::daemon {
namespace {

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Thread safety: safe.
class SpdLogger : public Logger {
 public:
  explicit SpdLogger(const std::string& level) : log_("chronolithd", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    log_.set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    log_.set_level(spdlog::level::from_str(level));
    log_.flush_on(spdlog::level::debug);
  }
  void Log(LogLevel level, std::string_view message) override { log_.log(LevelOf(level), message); }

 private:
  spdlog::logger log_;
};

}  // namespace

std::shared_ptr<Logger> NewLogger(const std::string& level) { return std::make_shared<SpdLogger>(level); }

}  // namespace chronolith::daemon

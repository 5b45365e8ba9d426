#include "server/grpc_log.h"

#include <grpc/support/log.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"

namespace chronolith::server {
namespace {

class GrpcLog {
 public:
  static GrpcLog& Only() {
    static auto* const log = new GrpcLog;  // threads of gRPC outlive main
    return *log;
  }
  void SendTo(std::shared_ptr<Logger> logger) {
    MutexLock lock(&mu_);
    logger_ = std::move(logger);
  }
  void Log(const gpr_log_func_args& args) {
    if (args.severity < GPR_LOG_SEVERITY_ERROR) return;
    const bool aborts = std::string_view(args.message).starts_with("assertion failed");
    std::shared_ptr<Logger> logger;
    {
      MutexLock lock(&mu_);
      const auto now = std::chrono::steady_clock::now();
      if (now - begun_ > std::chrono::minutes(1)) {
        begun_ = now;
        lines_ = 0;
      }
      if (!aborts && ++lines_ > kLinesAMinute) return;
      logger = logger_;
    }
    if (logger != nullptr) logger->Log(aborts ? LogLevel::kError : LogLevel::kWarning, std::string("gRPC: ") + args.message);
  }

 private:
  static constexpr int kLinesAMinute = 10;
  Mutex mu_;
  std::shared_ptr<Logger> logger_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point begun_ ABSL_GUARDED_BY(mu_){};
  int lines_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace

void SendGrpcLogTo(std::shared_ptr<Logger> logger) {
  GrpcLog::Only().SendTo(std::move(logger));
  gpr_set_log_function([](gpr_log_func_args* args) { GrpcLog::Only().Log(*args); });
}

}  // namespace chronolith::server

// LogReopener: a store whose log failed is opened again without an operator, as soon as its disks take writes.
#ifndef CHRONOLITH_SERVER_LOG_REOPENER_H_
#define CHRONOLITH_SERVER_LOG_REOPENER_H_

#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "chronolith/options.h"
#include "chronolith/storage.h"

namespace chronolith::server {

struct LogReopenerOptions {
  // Of the store: each must take and sync a file first. Where they do not, the store stays as it is, so that it can be read.
  std::vector<std::string> directories;
  std::shared_ptr<Logger> logger;
  std::function<void()> on_reopened;               // from the thread, when the store has been; may be null
  std::chrono::milliseconds interval{1000};        // between two looks
  std::chrono::milliseconds interval_max{30'000};  // it doubles up to this until the store serves again
};

// Looks from a thread of its own. While the log is failed nothing is acknowledged, which is the store's doing. Thread safety: safe.
class LogReopener {
 public:
  // `storage` outlives this, and nobody else reopens it.
  LogReopener(Storage* storage, LogReopenerOptions options, prometheus::Registry* registry);
  ~LogReopener();  // waits for an opening that is under way
  LogReopener(const LogReopener&) = delete;
  LogReopener& operator=(const LogReopener&) = delete;

  void Start();

 private:
  void Run();
  void Look();
  void LookAtReplay();
  // kResourceExhausted: there is no room yet.
  Status Reopen();
  void Log(LogLevel level, const std::string& message) const;

  Storage* const storage_;
  const LogReopenerOptions options_;
  prometheus::Counter& reopened_;
  prometheus::Counter& failed_;
  // The thread's own.
  std::chrono::milliseconds pause_;
  bool was_failed_ = false;
  bool replaying_ = false;             // since it was opened again
  StatusCode told_ = StatusCode::kOk;  // why it is still failed, as the log has it
  std::chrono::steady_clock::time_point told_at_;

  Mutex mu_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_LOG_REOPENER_H_

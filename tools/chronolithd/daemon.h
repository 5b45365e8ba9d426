// Daemon: an open store with its handlers and listeners, from start to a graceful end.
#ifndef CHRONOLITH_TOOLS_CHRONOLITHD_DAEMON_H_
#define CHRONOLITH_TOOLS_CHRONOLITHD_DAEMON_H_

#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "server/http_metrics.h"
#include "server/http_server.h"
#include "server/live_cardinality.h"
#include "server/log_reopener.h"
#include "server/otlp_grpc.h"
#include "server/otlp_receiver.h"
#include "server/page/status_history.h"
#include "server/remote_write_handler.h"
#include "server/worker_pool.h"
#include "tools/chronolithd/flags.h"

namespace chronolith::daemon {

// Members stand in the order in which they need each other. Thread safety: one thread.
class Daemon {
 public:
  static Result<std::unique_ptr<Daemon>> Start(const Flags& flags);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  std::string address() const { return http_->address(); }
  std::string otlp_http_address() const { return otlp_http_ == nullptr ? "" : otlp_http_->address(); }
  std::string otlp_grpc_address() const;
  // Of what it speaks HTTP with: "https://".
  std::string scheme() const;
  // Loads the web configuration again where it has changed, or `always` (SIGHUP).
  void Reload(bool always);
  // In the log, when the last shard serves: how many series there are, and how long that took. To be called now and then.
  void LogOnceServing();
  // Finishes requests, stores all that was written, closes. The first error.
  Status Stop();

 private:
  explicit Daemon(const Flags& flags);
  // All routes. A new handler goes here.
  void LogStart() const;
  // In the log: that a port is open to others, and asks nobody who it is.
  void WarnOfOpenPorts() const;
  server::Router MakeRouter();
  std::vector<std::string> Directories() const;  // of the database
  Status OpenSecurity();
  Status StartOtlp(const server::HttpServerParts& parts);
  void StopListeners();

  const Flags flags_;
  std::unique_ptr<Storage> storage_;
  MemoryBudget in_flight_;
  MemoryBudget lookups_;  // beside it, so that they do not take what writes need
  server::HttpMetrics http_metrics_;
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  std::unique_ptr<server::WebSecuritySource> security_;  // null: plain HTTP for everybody
  std::unique_ptr<server::StatusHistory> history_;
  std::unique_ptr<server::LiveCardinality> cardinality_;
  std::unique_ptr<server::RemoteWriteHandler> remote_write_;
  std::unique_ptr<server::OtlpReceiver> otlp_;
  std::unique_ptr<server::LogReopener> reopener_;
  std::unique_ptr<server::WorkerPool> workers_;   // of what reads
  std::unique_ptr<server::WorkerPool> writers_;   // as many, of what writes
  std::unique_ptr<server::WorkerPool> reserved_;  // one thread: health and metrics
  std::unique_ptr<server::HttpServer> http_;
  std::unique_ptr<server::HttpServer> otlp_http_;
  std::unique_ptr<server::OtlpGrpcServer> otlp_grpc_;
  bool told_serving_ = false;
  bool grpc_refuses_ = false;  // the configuration has changed so that it does, and that is logged
};

}  // namespace chronolith::daemon

#endif  // CHRONOLITH_TOOLS_CHRONOLITHD_DAEMON_H_

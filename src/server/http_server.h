// HttpServer: a listener for HTTP/1.1, and the limits that keep it within its memory whoever connects.
//
// Connections are served by a few I/O threads (Boost.Asio), an idle one costs about 2 KiB. A request is read completely, within the
// limits of its route and of all requests together, then its handler runs on a worker, or, of a short write that comes alone, where
// it was read (inline_runner.h); a connection has one request at a time, later ones (pipelining) wait in the socket. What is
// refused before its body was read (no such route, too large, not allowed) is answered and the connection closed, so that the body
// need not be read.
//
// An answer that is streamed, and longer than 64 KiB, holds its worker until the client has taken it: half the workers at most do
// so, more of them are answered 503. Health and metrics need no worker.
#ifndef CHRONOLITH_SERVER_HTTP_SERVER_H_
#define CHRONOLITH_SERVER_HTTP_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "chronolith/env.h"
#include "chronolith/result.h"
#include "server/http_metrics.h"
#include "server/router.h"
#include "server/web_security.h"
#include "server/worker_pool.h"

namespace chronolith::server {

struct HttpServerOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free one
  int io_threads = 1;                 // one keeps up with 1 GiB/s of bodies
  std::size_t connections_max = 8192;
  std::uint32_t header_bytes_max = 16 << 10;         // beyond: 431
  std::chrono::milliseconds header_timeout{10'000};  // from its first byte to its last; beyond: 408
  std::chrono::milliseconds body_timeout{60'000};    // likewise
  std::chrono::milliseconds idle_timeout{300'000};   // between two requests
  std::chrono::milliseconds write_timeout{60'000};   // of an answer, or of one piece of a streamed one
  std::uint64_t body_bytes_max = 0;                  // of all routes, where not 0
  // A handler of RouteThread::kEither runs on the only I/O thread where the last one came so shortly before; 0: never.
  std::chrono::milliseconds inline_within{20};
};

// What listeners of a process share. All must outlive them.
struct HttpServerParts {
  WorkerPool* workers = nullptr;
  WorkerPool* writers = nullptr;      // of routes that write; null: their handlers run on workers
  WorkerPool* reserved = nullptr;     // of routes that ask for it; null: their handlers run on workers
  MemoryBudget* in_flight = nullptr;  // bodies of requests and responses; handlers count there what they decode
  HttpMetrics* metrics = nullptr;
  std::shared_ptr<Logger> logger;               // null: silent
  const WebSecuritySource* security = nullptr;  // TLS and users; null: neither
};

// Thread safety: Start and Stop on one thread, port from any.
class HttpServer {
 public:
  // Listens when it returns. kInvalidArgument: the address; kFailedPrecondition: it cannot be bound, the reason is named.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, Router router, const HttpServerParts& parts);
  // Stops at once.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  // "127.0.0.1:9201", "[::1]:9201"
  std::string address() const;

  // Accepts no more, closes idle connections, finishes requests whose header has begun, for `grace` at most, then closes what is
  // left. A quarter of it before, HttpRequest::cancelled is set. Waits for handlers that are running, however long they take.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_HTTP_SERVER_H_

// Router: which handler answers which method and path.
#ifndef CHRONOLITH_SERVER_ROUTER_H_
#define CHRONOLITH_SERVER_ROUTER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http_message.h"

namespace chronolith::server {

// Where a handler runs.
enum class RouteThread : unsigned char {
  kWorker,
  kReserved,    // a thread that is kept for such routes: for what must be answered also while clients hold all workers
  kConnection,  // that of the connection: it must neither wait nor stream
  kWriter,      // a thread of those that write: a store without room holds all of them, and readers still find a worker
  kEither,      // of a short body that of the connection, where it comes alone; else a writer's. It may wait, and must not stream
};

struct Route {
  std::string method;   // "GET" answers HEAD as well
  std::string pattern;  // "/api/v1/label/{name}/values": {name} stands for one segment that is not empty
  HttpHandler handler;
  // Longer bodies are refused with 413 before they are read.
  std::uint64_t body_bytes_max = 1 << 20;
  // Answered without a user name, also where the server knows users: for health checks. HttpRequest::anonymous tells the handler.
  bool open_to_all = false;
  RouteThread thread = RouteThread::kWorker;
};

// Thread safety: Add and ShapeRefusals before the server starts; then const access from several threads.
class Router {
 public:
  // Aborts where method and pattern are there already, or the pattern is malformed.
  void Add(Route route);

  // Gives what the server answers itself, before a handler is asked (404, 405, 413, 429, ...), the form that a protocol wants: of
  // requests whose path begins with `prefix`; the longest that does counts. Status and headers but for the Content-Type stay.
  using RefusalShape = std::function<void(const HttpRequest& request, HttpResponse* refusal)>;
  void ShapeRefusals(std::string prefix, RefusalShape shape);
  void Shape(const HttpRequest& request, HttpResponse* refusal) const;

  struct Match {
    const Route* route = nullptr;  // null: nobody answers
    Pairs segments;
    std::string allow;  // where the path exists and the method does not: "GET, HEAD"
  };
  // A path without {name} goes before one with it. `path` is decoded: a segment of an escaped slash is none.
  Match Find(std::string_view method, std::string_view path) const;

  const std::deque<Route>& routes() const { return routes_; }

 private:
  std::deque<Route> routes_;  // a Match points into it
  std::vector<std::pair<std::string, RefusalShape>> shapes_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_ROUTER_H_

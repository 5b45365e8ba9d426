// HttpSession: one connection of an HttpServer, from its first byte to its end.
//
//   wait (idle) -> header -> [100 Continue] -> body -> handler, on a worker -> answer or stream -> wait
//
// All but the handler runs on the strand of the connection. Part of http_server.cc.
#ifndef CHRONOLITH_SERVER_HTTP_SESSION_H_
#define CHRONOLITH_SERVER_HTTP_SESSION_H_

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/memory_share.h"
#include "base/mutex.h"
#include "server/http_server.h"
#include "server/inline_runner.h"

namespace chronolith::server {

class HttpSessionBase;

// What the sessions of one server share. Thread safety: safe; `options`, `router` and `parts` are constant.
struct HttpSessionHost {
  HttpServerOptions options;
  Router router;
  HttpServerParts parts;
  std::unordered_map<const Route*, HandlerMetrics*> metrics;
  HandlerMetrics* no_route = nullptr;
  std::unique_ptr<InlineRunner> inline_runner;  // null: handlers run on workers
  std::atomic<bool> stopping{false};
  std::atomic<bool> cancelled{false};  // the grace of Stop is over

  HandlerMetrics* MetricsOf(const Route* route) const { return route == nullptr ? no_route : metrics.at(route); }
  WorkerPool* ThreadsOf(const Route* route) const {
    const bool writes = route->thread == RouteThread::kWriter || route->thread == RouteThread::kEither;
    WorkerPool* const own = writes ? parts.writers : route->thread == RouteThread::kReserved ? parts.reserved : nullptr;
    return own != nullptr ? own : parts.workers;
  }
  void Log(LogLevel level, const std::string& message) const {
    if (parts.logger != nullptr) parts.logger->Log(level, message);
  }

  Mutex mu;
  CondVar ended;  // a session has
  std::unordered_set<HttpSessionBase*> sessions ABSL_GUARDED_BY(mu);
};

// Empties it and frees what it holds: assigning {} to a string keeps its capacity, which an idle connection must not.
template <typename T>
void Free(T* held) {
  T fresh{};
  std::swap(*held, fresh);
}

// The piece of a streamed answer that the connection is sending. Thread safety: safe.
class HandedOver {
 public:
  void Begin();
  void End(boost::system::error_code error);
  // Until it was sent; ends, since each write has a timeout. The first error of all pieces.
  Status Await();

 private:
  Mutex mu_;
  CondVar sent_;
  bool sending_ ABSL_GUARDED_BY(mu_) = false;
  Status status_ ABSL_GUARDED_BY(mu_);
};

class HttpSessionBase : public std::enable_shared_from_this<HttpSessionBase> {
 public:
  explicit HttpSessionBase(HttpSessionHost* host);
  virtual ~HttpSessionBase();
  HttpSessionBase(const HttpSessionBase&) = delete;
  HttpSessionBase& operator=(const HttpSessionBase&) = delete;

  virtual void Begin() = 0;
  // From any thread: closes it if it is idle (`now`: in any case), else lets it finish its request.
  virtual void Stop(bool now) = 0;

 protected:
  // At the begin of Begin: who stops the sessions asks each for a reference, which a constructor cannot give yet.
  void Enter();
  // The head of an answer. `length`: of the body; none: it is a stream.
  std::string HeadOf(const HttpResponse& response, std::optional<std::uint64_t> length, bool chunked) const;
  // Fills request_ from the header; a response where it cannot be served, which ends the connection but for what has no body.
  std::optional<HttpResponse> Admit(const boost::beast::http::request_parser<boost::beast::http::empty_body>& parser);
  // Of a body that never fits.
  std::string BodyTakesTooMuch() const;
  // The handler's answer; never throws.
  HttpResponse Handle() const;
  void Observe(std::uint64_t response_bytes);
  void Forget();  // request and answer
  // On the thread of the handler: writes response_.stream (http_session_stream.cc).
  void RunStream();

  // Runs it on the connection's strand, and keeps the session until then.
  void Post(std::function<void()> task);
  // Asks who it is, on a worker where a password must be checked; then BeginBody, or a refusal.
  void Authorize();
  void Overloaded(std::string_view why);

  // On the connection's strand.
  virtual void BeginBody() = 0;
  virtual void Refuse(HttpResponse response) = 0;
  virtual void Answer() = 0;  // response_
  // The whole of it was sent, or could not be.
  virtual void OnAnswered(boost::system::error_code error) = 0;
  virtual void Close() = 0;
  virtual void Unlimited() = 0;  // nothing is waited for that a client does
  // From any thread.
  virtual void SendPiece(std::string bytes, std::function<void(boost::system::error_code)> sent) = 0;

  HttpSessionHost* const host_;
  boost::asio::any_io_executor executor_;  // the strand
  std::optional<boost::beast::http::request_parser<boost::beast::http::empty_body>> header_;
  HttpRequest request_;
  HttpResponse response_;
  const Route* route_ = nullptr;
  bool http11_ = true;
  bool keep_alive_ = true;
  bool expects_continue_ = false;
  bool in_request_ = false;
  std::uint64_t started_nanos_ = 0;
  std::uint64_t request_bytes_ = 0;
  MemoryShare reserved_;  // of the bodies of request and response
  std::string out_;       // the piece of a stream that is being sent

 private:
  class StreamWriter;
  void OnAuthorized(Authenticator::Answer answer);
  void CloseUnlessBodyless();
  // The bytes that send one piece of a streamed answer, the head in front of the first. `piece` has room for its size in front, in
  // HTTP/1.1, or is empty.
  std::string FrameOf(std::string piece, bool first, bool last);

  HandedOver handed_over_;
};

std::shared_ptr<HttpSessionBase> NewPlainSession(HttpSessionHost* host, boost::asio::ip::tcp::socket socket);
std::shared_ptr<HttpSessionBase> NewTlsSession(HttpSessionHost* host, boost::asio::ip::tcp::socket socket,
                                               std::shared_ptr<boost::asio::ssl::context> context);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_HTTP_SESSION_H_

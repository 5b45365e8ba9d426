#include "server/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <exception>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/http_session.h"
#include "server/listen.h"

namespace chronolith::server {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Tcp = asio::ip::tcp;

class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, Router router, const HttpServerParts& parts)
      : acceptor_(io_), retry_(io_), work_(io_.get_executor()) {
    host_.options = std::move(options);
    host_.router = std::move(router);
    host_.parts = parts;
    host_.no_route = parts.metrics->Of("none");
    for (const Route& route : host_.router.routes()) host_.metrics[&route] = parts.metrics->Of(route.pattern);
  }

  Status Listen() {
    if (Status s = ListenOn(host_.options.address, host_.options.port, &acceptor_); !s.ok()) return s;
    endpoint_ = acceptor_.local_endpoint();
    Accept();
    const int threads = host_.options.io_threads < 1 ? 1 : host_.options.io_threads;
    if (threads == 1 && host_.options.inline_within.count() > 0) {
      host_.inline_runner = std::make_unique<InlineRunner>(
          InlineRunner::Loop{.post = [this](InlineRunner::Work work) { asio::post(io_, std::move(work)); },
                             .serve = [this](std::chrono::milliseconds time) { RunFor(time); }},
          host_.parts.writers != nullptr ? host_.parts.writers : host_.parts.workers, host_.options.inline_within);
    }
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
    return Status::Ok();
  }

  void Stop(std::chrono::milliseconds grace) {
    if (threads_.empty()) return;
    host_.stopping.store(true);
    asio::post(io_, [this] {
      ErrorCode ignored;
      acceptor_.close(ignored);
      retry_.cancel(ignored);
    });
    const Deadline end = std::chrono::steady_clock::now() + grace;
    StopSessions(false, end - grace / 4);
    host_.cancelled.store(true);  // what reads ends with an answer, for which there is time left
    StopSessions(false, end);
    StopSessions(true, kNoDeadline);
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    if (host_.inline_runner != nullptr) host_.inline_runner->Stop();
  }

  const Tcp::endpoint& endpoint() const { return endpoint_; }

 private:
  template <typename Serve>
  void Guarded(Serve serve) {
    while (true) {
      try {
        serve();
        return;
      } catch (const std::exception& e) {  // out of memory: its connection is gone, the others go on
        host_.Log(LogLevel::kError, std::string("a connection was dropped: ") + e.what());
      }
    }
  }
  void Run() {
    Guarded([this] { io_.run(); });
  }
  void RunFor(std::chrono::milliseconds time) {
    Guarded([this, time] { io_.run_one_for(time); });
  }

  void Accept() {
    acceptor_.async_accept(asio::make_strand(io_), [this](ErrorCode error, Tcp::socket socket) {
      if (error == asio::error::operation_aborted || host_.stopping.load()) return;
      if (error) {  // no file descriptors left, most likely: those that wait are taken when there are
        host_.Log(LogLevel::kWarning, "cannot accept a connection: " + error.message());
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([this](ErrorCode cancelled) {
          if (!cancelled) Accept();
        });
        return;
      }
      Take(std::move(socket));
      Accept();
    });
  }

  void Take(Tcp::socket socket) {
    HttpMetrics& metrics = *host_.parts.metrics;
    if (metrics.connections.Get() >= host_.options.connections_max) {
      metrics.connections_refused.Add();
      static constexpr std::string_view kFull =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n";
      ErrorCode ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(kFull.data(), kFull.size()), ignored);  // an empty send buffer takes it whole
      return;
    }
    metrics.connections_accepted.Add();
    const std::shared_ptr<const WebSecurity> security = host_.parts.security != nullptr ? host_.parts.security->Get() : nullptr;
    const bool tls = security != nullptr && security->tls != nullptr;
    (tls ? NewTlsSession(&host_, std::move(socket), security->tls) : NewPlainSession(&host_, std::move(socket)))->Begin();
  }

  // Asks all sessions to stop, and those that begin meanwhile; returns when there are none, or at the deadline.
  void StopSessions(bool now, Deadline deadline) {
    MutexLock lock(&host_.mu);
    std::size_t asked = 0;
    while (!host_.sessions.empty()) {
      if (asked != host_.sessions.size()) {
        asked = host_.sessions.size();
        for (HttpSessionBase* session : host_.sessions) {
          // One whose destructor waits for this lock has no references left.
          if (const auto held = session->weak_from_this().lock()) held_.push_back(held);
        }
        host_.mu.Unlock();
        for (const auto& session : held_) session->Stop(now);
        held_.clear();
        host_.mu.Lock();
        continue;
      }
      if (!host_.ended.WaitUntil(&host_.mu, deadline)) return;
    }
  }

  asio::io_context io_;
  Tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  HttpSessionHost host_;
  Tcp::endpoint endpoint_;
  std::vector<std::thread> threads_;
  std::vector<std::shared_ptr<HttpSessionBase>> held_;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, Router router,
                                                      const HttpServerParts& parts) {
  auto impl = std::make_unique<Impl>(options, std::move(router), parts);
  if (Status status = impl->Listen(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { impl_->Stop(std::chrono::milliseconds(0)); }
std::uint16_t HttpServer::port() const { return impl_->endpoint().port(); }
std::string HttpServer::address() const { return TextOf(impl_->endpoint()); }
void HttpServer::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace chronolith::server

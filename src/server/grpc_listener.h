// GrpcListener: takes gRPC's connections in its place, so that they have bounds that gRPC (1.51) lacks.
//
// gRPC holds a client to its number of calls only once that has acknowledged the number, and counts neither connections nor the
// calls of all of them: a call that stalls keeps 12 KiB, and opening one takes its client 15 bytes. So connections are accepted
// here, up to a limit, and handed to gRPC as file descriptors; and one that opens too many calls is shut down, at its socket, since
// gRPC has no function for that.
#ifndef CHRONOLITH_SERVER_GRPC_LISTENER_H_
#define CHRONOLITH_SERVER_GRPC_LISTENER_H_

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/mutex.h"
#include "chronolith/env.h"
#include "chronolith/result.h"
#include "server/grpc_metrics.h"

namespace chronolith::server {

struct GrpcListenerOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free one
  std::size_t connections_max = 8192;
  std::chrono::milliseconds send_timeout{20'000};  // for a client's system to acknowledge what was sent
  std::chrono::milliseconds tick{5'000};
};

// The socket of a connection that gRPC owns. Thread safety: safe.
class GrpcConnection {
 public:
  explicit GrpcConnection(int fd);
  // Whether the descriptor still is this connection's: gRPC closes it at any time, and then its number comes again.
  bool IsOpen() const { return IsOfThis(fd_); }
  // Ends it in both directions, and takes away what has come and gRPC has not read. False: it had ended.
  bool ShutDown() const;
  // That have come, and that gRPC has not read.
  std::size_t UnreadBytes() const;

  // Calls that are open, from their headers to their end.
  std::size_t calls() const { return calls_.load(std::memory_order_relaxed); }
  std::size_t Enter() { return calls_.fetch_add(1, std::memory_order_relaxed) + 1; }
  void Leave() { calls_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  friend class GrpcListener;
  bool IsOfThis(int fd) const;

  const int fd_;
  std::uint64_t cookie_ = 0;  // the system's name of the socket
  std::atomic<std::size_t> calls_{0};
  std::atomic<bool> given_away_{false};
};

// Thread safety: Listen, Serve, Stop and the destructor on one thread, the rest from any.
class GrpcListener {
 public:
  // `metrics`, `logger`: may be null. Errors: those of ListenOn.
  static Result<std::unique_ptr<GrpcListener>> Listen(const GrpcListenerOptions& options, GrpcMetrics* metrics,
                                                      std::shared_ptr<Logger> logger);
  ~GrpcListener() { Stop(); }
  GrpcListener(const GrpcListener&) = delete;
  GrpcListener& operator=(const GrpcListener&) = delete;

  std::uint16_t port() const { return endpoint_.port(); }
  std::string address() const;  // "127.0.0.1:4317", "[::1]:4317"

  // What is called on the listener's thread.
  struct Host {
    std::function<bool()> busy;     // connections wait while it is
    std::function<void(int)> take;  // a connection's descriptor, which it owns then
    std::function<void()> tick;     // now and then
  };
  // Accepts from now on.
  void Serve(Host host);
  // Takes no more, and calls nothing of the host any more.
  void Stop();

  // The connection from there, as grpc::ServerContext::peer names it; null where it has ended.
  std::shared_ptr<GrpcConnection> Find(const std::string& peer) const;
  void ShutDown(const GrpcConnection& connection);
  // Those with more calls than that, or with more bytes that have come and that gRPC has not read.
  void ShutDownLargest(std::size_t calls, std::size_t unread_bytes);

 private:
  GrpcListener(const GrpcListenerOptions& options, GrpcMetrics* metrics, std::shared_ptr<Logger> logger);
  void Accept();
  void Take(boost::asio::ip::tcp::socket socket);
  void GiveAway(boost::asio::ip::tcp::socket socket);
  void Tick();
  void TellOfShutDown();
  void ForgetEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const GrpcListenerOptions options_;
  GrpcMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer tick_timer_, retry_;
  boost::asio::ip::tcp::endpoint endpoint_;
  Host host_;
  std::thread thread_;
  bool accepts_ = true;  // it did at last
  std::chrono::steady_clock::time_point told_{};
  std::atomic<std::uint64_t> shut_down_{0};  // since it was told
  mutable Mutex mu_;
  std::unordered_map<std::string, std::shared_ptr<GrpcConnection>> connections_ ABSL_GUARDED_BY(mu_);  // by peer
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_GRPC_LISTENER_H_

// GrpcListener: takes gRPC's connections in its place, so that they have bounds that gRPC (1.51) lacks.
//
// gRPC holds a client to its number of calls only once that has acknowledged the number, and counts neither connections nor the
// calls of all of them: a call that stalls keeps 12 KiB, and opening one takes its client 15 bytes. So connections are accepted
// here, up to a limit, and handed to gRPC as file descriptors; and those that open too many calls, or send headers without an end,
// are shut down, at their sockets, since gRPC has no function for that.
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
#include <vector>

#include "base/mutex.h"
#include "chronolith/env.h"
#include "chronolith/result.h"
#include "server/grpc_connection.h"
#include "server/grpc_metrics.h"

namespace chronolith::server {

struct GrpcListenerOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6
  std::uint16_t port = 0;             // 0: any free one
  std::size_t connections_max = 8192;
  std::chrono::milliseconds send_timeout{20'000};  // for a client's system to acknowledge what was sent
  // Of what gRPC has read and what became neither a call nor a message yet, such as headers that do not end: of all connections,
  // and for how long of one.
  std::uint64_t unsettled_bytes_max = 256ULL << 20;
  std::chrono::milliseconds unsettled_timeout{60'000};
  std::chrono::milliseconds tick{50};  // between two looks at the connections, or longer where there are many
};

// What grpc::ServerContext::peer says of a connection from there: a URI, as gRPC writes it.
std::string GrpcPeerOf(const boost::asio::ip::tcp::endpoint& endpoint);

// Thread safety: Listen, Serve, StopAccepting, Stop and the destructor on one thread, the rest from any.
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

  // What is called on the listener's threads.
  struct Host {
    std::function<bool()> busy;  // connections wait while it is
    // A connection's descriptor, which it owns then. gRPC reads what has come right there, for as long as more comes: looking at
    // connections has a thread of its own.
    std::function<void(int)> take;
    std::function<void()> tick;  // now and then, where there are connections
  };
  // Accepts from now on.
  void Serve(Host host);
  // Takes no more. What is open after `grace` is shut down.
  void StopAccepting(std::chrono::milliseconds grace);
  // And calls nothing of the host any more.
  void Stop();

  // The connection from there, as grpc::ServerContext::peer names it; null where it has ended.
  std::shared_ptr<GrpcConnection> Find(const std::string& peer) const;
  void ShutDown(GrpcConnection* connection);
  // Of those that have calls, or bytes that gRPC has not read and that may become some, the ones with more than the mean; the first
  // time (`times` 0) of those only that have more than a well-behaved client; from the eighth on all.
  void ShutDownLargest(std::size_t times);

 private:
  using Connections = std::vector<std::shared_ptr<GrpcConnection>>;

  GrpcListener(const GrpcListenerOptions& options, GrpcMetrics* metrics, std::shared_ptr<Logger> logger);
  void Accept();
  void Take(boost::asio::ip::tcp::socket socket);
  void GiveAway(boost::asio::ip::tcp::socket socket);
  void Tick(std::chrono::nanoseconds after);
  void LookAtConnections();
  Connections All() const;
  void TellOfShutDown();
  void ForgetEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const GrpcListenerOptions options_;
  GrpcMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;  // on a strand, as retry_
  boost::asio::steady_timer retry_, tick_timer_, end_;
  boost::asio::ip::tcp::endpoint endpoint_;
  Host host_;
  std::vector<std::thread> threads_;
  bool accepts_ = true;  // it did at last; of the strand, as the next
  std::chrono::steady_clock::time_point forgot_{};
  std::chrono::steady_clock::time_point told_{};  // of the tick
  std::atomic<std::uint64_t> shut_down_{0};       // since it was told
  mutable Mutex mu_;
  bool ticks_ ABSL_GUARDED_BY(mu_) = false;
  std::unordered_map<std::string, std::shared_ptr<GrpcConnection>> connections_ ABSL_GUARDED_BY(mu_);  // by peer
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_GRPC_LISTENER_H_

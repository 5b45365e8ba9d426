// GrpcConnection: a connection of gRPC, seen from below.
#ifndef CHRONOLITH_SERVER_GRPC_CONNECTION_H_
#define CHRONOLITH_SERVER_GRPC_CONNECTION_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace chronolith::server {

// The socket of a connection that gRPC owns. Thread safety: safe.
class GrpcConnection {
 public:
  explicit GrpcConnection(int fd);
  // Whether the descriptor still is this connection's: gRPC closes it at any time, and then its number comes again.
  bool IsOpen() const { return IsOfThis(fd_); }
  // Ends it in both directions, and takes away what has come and gRPC has not read. False: that was done, or it had ended.
  bool ShutDown();
  // That have come, and that gRPC has not read.
  std::size_t UnreadBytes() const;
  // That have ever come.
  std::uint64_t ReceivedBytes() const;

  // Calls that are open, from their headers to their end; and those of them that were answered, which the client has not taken.
  std::size_t calls() const { return calls_.load(std::memory_order_relaxed); }
  std::size_t answered() const { return answered_.load(std::memory_order_relaxed); }
  // What was answered goes some time behind the answer, when others have begun that had waited for it.
  std::size_t unanswered() const { return calls() - std::min(calls(), answered()); }
  void Enter() {
    OnMessage();
    calls_.fetch_add(1, std::memory_order_relaxed);
  }
  void OnMessage() { events_.fetch_add(1, std::memory_order_relaxed); }
  void OnAnswer() { answered_.fetch_add(1, std::memory_order_relaxed); }
  void Leave() {  // answered
    answered_.fetch_sub(1, std::memory_order_relaxed);
    calls_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  friend class GrpcListener;
  // What that saw at its last look.
  struct Look {
    std::uint64_t events = 0;
    std::uint64_t settled_bytes = 0;  // had come by the last event
    std::chrono::steady_clock::time_point settled_at{};
    std::size_t answered = 0;
  };
  bool IsOfThis(int fd) const;

  const int fd_;
  std::uint64_t cookie_ = 0;  // the system's name of the socket
  std::atomic<std::size_t> calls_{0}, answered_{0};
  std::atomic<std::uint64_t> events_{0};  // calls and messages that have begun, ever
  std::atomic<bool> shut_down_{false};
  Look look_;  // of the listener's tick
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_GRPC_CONNECTION_H_

#include "server/grpc_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <utility>
#include <vector>

#include "base/posix_file.h"
#include "server/listen.h"

namespace chronolith::server {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Tcp = asio::ip::tcp;

// What the system calls the socket, of all since it was started; 0: it is none.
std::uint64_t CookieOf(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

// As gRPC writes it: a URI, "ipv4:127.0.0.1:80" or "ipv6:%5B::1%5D:80".
std::string PeerOf(const Tcp::endpoint& endpoint) {
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  const std::string port = ":" + std::to_string(endpoint.port());
  if (address.is_v4()) return "ipv4:" + address.to_string() + port;
  std::string host = address.to_string();
  if (const std::size_t zone = host.find('%'); zone != std::string::npos) host.insert(zone + 1, "25");
  return "ipv6:%5B" + host + "%5D" + port;
}

}  // namespace

// ---- GrpcConnection ----

GrpcConnection::GrpcConnection(int fd) : fd_(fd), cookie_(CookieOf(fd)) {}

bool GrpcConnection::IsOfThis(int fd) const { return cookie_ != 0 && CookieOf(fd) == cookie_; }

bool GrpcConnection::ShutDown() const {
  if (!IsOpen()) return false;
  // A descriptor of our own, whose socket stays what it is while gRPC may close its one. Not for longer than this: gRPC's poller
  // would go on to watch a socket that another descriptor keeps.
  const FileDescriptor own(fcntl(fd_, F_DUPFD_CLOEXEC, 0));
  if (!own.is_open()) {  // none is left
    return shutdown(fd_, SHUT_RDWR) == 0;
  }
  if (!IsOfThis(own.get()) || shutdown(own.get(), SHUT_RDWR) != 0) return false;
  constexpr std::size_t kAtOnce = 64 << 20;
  while (recv(own.get(), nullptr, kAtOnce, MSG_TRUNC | MSG_DONTWAIT) > 0) {
  }
  return true;
}

std::size_t GrpcConnection::UnreadBytes() const {
  int bytes = 0;
  return IsOpen() && ioctl(fd_, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

// ---- GrpcListener ----

GrpcListener::GrpcListener(const GrpcListenerOptions& options, GrpcMetrics* metrics, std::shared_ptr<Logger> logger)
    : options_(options), metrics_(metrics), logger_(std::move(logger)), acceptor_(io_), tick_timer_(io_), retry_(io_) {}

Result<std::unique_ptr<GrpcListener>> GrpcListener::Listen(const GrpcListenerOptions& options, GrpcMetrics* metrics,
                                                           std::shared_ptr<Logger> logger) {
  std::unique_ptr<GrpcListener> listener(new GrpcListener(options, metrics, std::move(logger)));
  if (Status s = ListenOn(options.address, options.port, &listener->acceptor_); !s.ok()) return s;
  listener->endpoint_ = listener->acceptor_.local_endpoint();
  // What gRPC sets of its own listeners; those that are accepted have it from here.
  const int no_delay = 1;
  const auto timeout = static_cast<unsigned int>(options.send_timeout.count());
  const int fd = listener->acceptor_.native_handle();
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
  return listener;
}

std::string GrpcListener::address() const { return TextOf(endpoint_); }

void GrpcListener::Serve(Host host) {
  host_ = std::move(host);
  Accept();
  Tick();
  thread_ = std::thread([this] { io_.run(); });
}

void GrpcListener::Stop() {
  if (!thread_.joinable()) return;
  io_.stop();
  thread_.join();
  ErrorCode ignored;
  acceptor_.close(ignored);
}

void GrpcListener::Tick() {
  tick_timer_.expires_after(options_.tick);
  tick_timer_.async_wait([this](ErrorCode cancelled) {
    if (cancelled) return;
    host_.tick();
    TellOfShutDown();
    {
      MutexLock lock(&mu_);
      ForgetEnded();
    }
    Tick();
  });
}

void GrpcListener::TellOfShutDown() {
  constexpr std::chrono::minutes kBetween{1};
  const auto now = std::chrono::steady_clock::now();
  if (logger_ == nullptr || shut_down_.load() == 0 || (told_.time_since_epoch().count() != 0 && now - told_ < kBetween)) return;
  told_ = now;
  logger_->Log(LogLevel::kWarning, std::to_string(shut_down_.exchange(0)) +
                                       " connections of gRPC were shut down: their clients had more calls open than may be");
}

void GrpcListener::Accept() {
  acceptor_.async_accept([this](ErrorCode error, Tcp::socket socket) {
    const bool accepted = std::exchange(accepts_, !error);
    if (!error) return Take(std::move(socket));
    // No file descriptors left, most likely: those that wait are taken when there are.
    if (logger_ != nullptr && accepted) logger_->Log(LogLevel::kWarning, "cannot accept a connection of gRPC: " + error.message());
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](ErrorCode cancelled) {
      if (!cancelled) Accept();
    });
  });
}

void GrpcListener::Take(Tcp::socket socket) {
  if (host_.busy()) {
    retry_.expires_after(std::chrono::milliseconds(10));
    retry_.async_wait([this, waiting = std::move(socket)](ErrorCode cancelled) mutable {
      if (!cancelled) Take(std::move(waiting));
    });
    return;
  }
  GiveAway(std::move(socket));
  Accept();
}

void GrpcListener::GiveAway(Tcp::socket socket) {
  ErrorCode error;
  const Tcp::endpoint peer = socket.remote_endpoint(error);
  if (!error) socket.native_non_blocking(true, error);
  if (error) return;  // it has ended
  {
    MutexLock lock(&mu_);
    if (connections_.size() >= options_.connections_max) ForgetEnded();
    if (connections_.size() >= options_.connections_max) {
      if (metrics_ != nullptr) metrics_->CountRefusedConnection();
      return;  // closes it
    }
  }
  const int fd = socket.release(error);
  if (error) return;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const auto connection = std::make_shared<GrpcConnection>(fd);
  {
    MutexLock lock(&mu_);
    connections_[PeerOf(peer)] = connection;
    if (metrics_ != nullptr) metrics_->SetConnections(connections_.size());
  }
  host_.take(fd);
  connection->given_away_.store(true);
}

void GrpcListener::ForgetEnded() {
  std::erase_if(connections_, [](const auto& entry) { return !entry.second->IsOpen(); });
  if (metrics_ != nullptr) metrics_->SetConnections(connections_.size());
}

std::shared_ptr<GrpcConnection> GrpcListener::Find(const std::string& peer) const {
  MutexLock lock(&mu_);
  const auto found = connections_.find(peer);
  return found == connections_.end() ? nullptr : found->second;
}

void GrpcListener::ShutDown(const GrpcConnection& connection) {
  if (!connection.ShutDown()) return;
  shut_down_.fetch_add(1);
  if (metrics_ != nullptr) metrics_->CountShutDown();
}

void GrpcListener::ShutDownLargest(std::size_t calls, std::size_t unread_bytes) {
  std::vector<std::shared_ptr<GrpcConnection>> all;
  {
    MutexLock lock(&mu_);
    for (const auto& [peer, connection] : connections_) {
      if (connection->given_away_.load()) all.push_back(connection);
    }
  }
  for (const auto& connection : all) {
    if (connection->calls() > calls || connection->UnreadBytes() > unread_bytes) ShutDown(*connection);
  }
}

}  // namespace chronolith::server

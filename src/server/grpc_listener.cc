#include "server/grpc_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <utility>

#include "server/listen.h"

namespace chronolith::server {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Tcp = asio::ip::tcp;

std::chrono::nanoseconds ThreadCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// What a call keeps, in bytes of the headers that open one.
constexpr std::size_t kHeaderBytes = 15;
constexpr std::size_t kCallsOfOne = 128;           // of a well-behaved client
constexpr std::size_t kAnsweredMax = 64;           // that a client has not taken, where there is room for no more calls
constexpr std::uint64_t kSettledBytes = 64 << 10;  // of one, for which nobody looks what of it was read

}  // namespace

std::string GrpcPeerOf(const Tcp::endpoint& endpoint) {
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  const std::string port = ":" + std::to_string(endpoint.port());
  if (address.is_v4()) return "ipv4:" + address.to_string() + port;
  asio::ip::address_v6 v6 = address.to_v6();
  const auto scope = v6.scope_id();
  v6.scope_id(0);  // Asio writes a name, gRPC the number
  return "ipv6:%5B" + v6.to_string() + (scope == 0 ? "" : "%25" + std::to_string(scope)) + "%5D" + port;
}

GrpcListener::GrpcListener(const GrpcListenerOptions& options, GrpcMetrics* metrics, std::shared_ptr<Logger> logger)
    : options_(options),
      metrics_(metrics),
      logger_(std::move(logger)),
      acceptor_(asio::make_strand(io_)),
      retry_(acceptor_.get_executor()),
      tick_timer_(io_),
      end_(io_) {}

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
  for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { io_.run(); });
}

void GrpcListener::StopAccepting(std::chrono::milliseconds grace) {
  end_.expires_after(grace);
  end_.async_wait([this](ErrorCode cancelled) {
    if (cancelled) return;
    for (const auto& connection : All()) connection->ShutDown();
  });
  asio::post(acceptor_.get_executor(), [this] {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel(ignored);
  });
}

void GrpcListener::Stop() {
  io_.stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  ErrorCode ignored;
  acceptor_.close(ignored);
}

void GrpcListener::Tick(std::chrono::nanoseconds after) {
  tick_timer_.expires_after(after);
  tick_timer_.async_wait([this](ErrorCode cancelled) {
    if (cancelled) return;
    const auto begin = ThreadCpuTime();
    LookAtConnections();
    host_.tick();
    TellOfShutDown();
    {
      MutexLock lock(&mu_);
      ForgetEnded();
      ticks_ = !connections_.empty();  // else the next one begins it anew
      if (!ticks_) return;
    }
    constexpr int kPart = 20;  // of a core, at most
    Tick(std::max<std::chrono::nanoseconds>(options_.tick, kPart * (ThreadCpuTime() - begin)));
  });
}

void GrpcListener::LookAtConnections() {
  const auto now = std::chrono::steady_clock::now();
  const bool busy = host_.busy();
  std::uint64_t all = 0;
  std::vector<std::pair<std::uint64_t, std::shared_ptr<GrpcConnection>>> unsettled;
  for (const auto& connection : All()) {
    GrpcConnection::Look& look = connection->look_;
    const std::uint64_t received = connection->ReceivedBytes();
    const std::uint64_t events = connection->events_.load(std::memory_order_relaxed);
    if (std::exchange(look.events, events) != events) look.settled_bytes = received;
    std::uint64_t bytes = received - std::min(received, look.settled_bytes);
    if (bytes > kSettledBytes) bytes -= std::min<std::uint64_t>(bytes, connection->UnreadBytes());
    if (bytes <= kSettledBytes) look.settled_at = now;
    const std::size_t answered = connection->answered();
    const bool takes_nothing = busy && std::min(std::exchange(look.answered, answered), answered) > kAnsweredMax;
    if (takes_nothing || now - look.settled_at > options_.unsettled_timeout) {
      ShutDown(connection.get());
    } else if (bytes > 0) {
      unsettled.emplace_back(bytes, connection);
      all += bytes;
    }
  }
  if (all <= options_.unsettled_bytes_max) return;
  std::sort(unsettled.begin(), unsettled.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto it = unsettled.begin(); all > options_.unsettled_bytes_max; ++it) {
    ShutDown(it->second.get());
    all -= it->first;
  }
}

void GrpcListener::TellOfShutDown() {
  constexpr std::chrono::minutes kBetween{1};
  const auto now = std::chrono::steady_clock::now();
  if (logger_ == nullptr || shut_down_.load() == 0 || (told_.time_since_epoch().count() != 0 && now - told_ < kBetween)) return;
  told_ = now;
  logger_->Log(LogLevel::kWarning,
               std::to_string(shut_down_.exchange(0)) +
                   " connections of gRPC were shut down: their clients opened more calls than they may, or did not take the "
                   "answers, or sent what becomes no call");
}

void GrpcListener::Accept() {
  acceptor_.async_accept([this](ErrorCode error, Tcp::socket socket) {
    const bool accepted = std::exchange(accepts_, !error);
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
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
  const std::string name = GrpcPeerOf(peer);
  {
    MutexLock lock(&mu_);
    constexpr std::chrono::milliseconds kBetween{100};
    const auto now = std::chrono::steady_clock::now();
    if (connections_.size() >= options_.connections_max && now - forgot_ > kBetween) {
      forgot_ = now;
      ForgetEnded();
    }
    // Of a client's two connections from one port, to two addresses, calls could not be told apart.
    const auto same = connections_.find(name);
    if (connections_.size() >= options_.connections_max || (same != connections_.end() && same->second->IsOpen())) {
      if (metrics_ != nullptr) metrics_->CountRefusedConnection();
      return;  // closes it
    }
  }
  const int fd = socket.release(error);
  if (error) return;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const auto connection = std::make_shared<GrpcConnection>(fd);
  connection->look_.settled_at = std::chrono::steady_clock::now();
  {
    MutexLock lock(&mu_);
    connections_[name] = connection;
    if (!std::exchange(ticks_, true)) asio::post(io_, [this] { Tick(options_.tick); });
    if (metrics_ != nullptr) metrics_->SetConnections(connections_.size());
  }
  host_.take(fd);
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

void GrpcListener::ShutDown(GrpcConnection* connection) {
  if (!connection->ShutDown()) return;
  shut_down_.fetch_add(1);
  if (metrics_ != nullptr) metrics_->CountShutDown();
}

GrpcListener::Connections GrpcListener::All() const {
  Connections found;
  MutexLock lock(&mu_);
  for (const auto& [peer, connection] : connections_) {
    if (!connection->shut_down_.load()) found.push_back(connection);
  }
  return found;
}

void GrpcListener::ShutDownLargest(std::size_t times) {
  constexpr std::size_t kAll = 8;
  std::vector<std::pair<std::size_t, std::shared_ptr<GrpcConnection>>> sized;
  std::size_t sum = 0;
  for (auto& connection : All()) {
    const std::size_t size = connection->calls() * kHeaderBytes + connection->UnreadBytes();
    if (size == 0) continue;
    sum += size;
    sized.emplace_back(size, std::move(connection));
  }
  const std::size_t mean = sized.empty() ? 0 : sum / sized.size();
  const std::size_t least = times == 0 ? std::max(mean, kCallsOfOne * kHeaderBytes + 1) : times < kAll ? mean : 0;
  for (const auto& [size, connection] : sized) {
    if (size >= least) ShutDown(connection.get());
  }
}

}  // namespace chronolith::server

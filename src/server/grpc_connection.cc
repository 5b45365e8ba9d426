#include "server/grpc_connection.h"

#include <fcntl.h>
#include <linux/tcp.h>  // netinet's tcp_info ends before the bytes
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/posix_file.h"

namespace chronolith::server {
namespace {

// What the system calls the socket, of all since it was started; 0: it is none.
std::uint64_t CookieOf(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

GrpcConnection::GrpcConnection(int fd) : fd_(fd), cookie_(CookieOf(fd)) {}

bool GrpcConnection::IsOfThis(int fd) const { return cookie_ != 0 && CookieOf(fd) == cookie_; }

bool GrpcConnection::ShutDown() {
  if (!IsOpen() || shut_down_.exchange(true)) return false;
  // A descriptor of our own, whose socket stays what it is while gRPC may close its one. Not for longer than this: gRPC's poller
  // would go on to watch a socket that another descriptor keeps.
  const FileDescriptor own(fcntl(fd_, F_DUPFD_CLOEXEC, 0));
  if (!own.is_open()) {  // none is left
    shutdown(fd_, SHUT_RDWR);
    return true;
  }
  if (!IsOfThis(own.get())) return false;
  shutdown(own.get(), SHUT_RDWR);  // fails where the client has reset it, and what came before is there all the same
  constexpr std::size_t kAtOnce = 64 << 20;
  while (recv(own.get(), nullptr, kAtOnce, MSG_TRUNC | MSG_DONTWAIT) > 0) {
  }
  return true;
}

std::size_t GrpcConnection::UnreadBytes() const {
  int bytes = 0;
  return IsOpen() && ioctl(fd_, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

std::uint64_t GrpcConnection::ReceivedBytes() const {
  tcp_info info{};
  socklen_t size = sizeof(info);
  return IsOpen() && getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

}  // namespace chronolith::server

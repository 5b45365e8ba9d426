#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace chronolith::testing {

namespace {

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

HttpRequest ParseHead(std::string_view head) {
  HttpRequest request;
  const std::size_t line_end = head.find("\r\n");
  const std::string_view line = head.substr(0, line_end);
  const std::size_t space = line.find(' ');
  const std::size_t second = line.rfind(' ');
  request.method = line.substr(0, space);
  request.target = line.substr(space + 1, second - space - 1);
  for (head.remove_prefix(line_end + 2); !head.empty();) {
    const std::size_t end = head.find("\r\n");
    const std::string_view header = head.substr(0, end);
    const std::size_t colon = header.find(':');
    std::string name(header.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::string_view value = header.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    request.headers[name] = value;
    if (end == std::string_view::npos) break;
    head.remove_prefix(end + 2);
  }
  return request;
}

}  // namespace

HttpServer::HttpServer(std::function<HttpReply(const HttpRequest&)> handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  Check(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener_, 16) == 0 &&
            getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0 && pipe2(stop_, O_CLOEXEC) == 0,
        "http_server");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

HttpServer::~HttpServer() {
  close(stop_[1]);
  thread_.join();
  close(stop_[0]);
  close(listener_);
}

void HttpServer::Run() {
  while (true) {
    pollfd fds[2] = {{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}};
    if (poll(fds, 2, -1) <= 0) continue;
    if (fds[1].revents != 0) break;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    connections_.emplace_back([this, fd] {
      Serve(fd);
      close(fd);
    });
  }
  for (std::thread& connection : connections_) connection.join();
}

bool HttpServer::ReadMore(int fd, std::string* to) {
  pollfd fds[2] = {{fd, POLLIN, 0}, {stop_[0], POLLIN, 0}};
  if (poll(fds, 2, -1) <= 0) return true;
  if (fds[1].revents != 0) return false;
  char buffer[65536];
  const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
  if (n > 0) to->append(buffer, static_cast<std::size_t>(n));
  return n > 0;
}

void HttpServer::Serve(int fd) {
  for (std::string got;;) {
    std::size_t end = 0;
    while ((end = got.find("\r\n\r\n")) == std::string::npos) {
      if (!ReadMore(fd, &got)) return;
    }
    HttpRequest request = ParseHead(std::string_view(got).substr(0, end));
    got.erase(0, end + 4);
    const std::size_t length = std::strtoul(request.headers["content-length"].c_str(), nullptr, 10);
    while (got.size() < length) {
      if (!ReadMore(fd, &got)) return;
    }
    request.body = got.substr(0, length);
    got.erase(0, length);

    const HttpReply reply = handler_(request);
    if (reply.kind == HttpReply::Kind::kSilence) {
      while (ReadMore(fd, &got)) {
      }
      return;
    }
    if (reply.kind == HttpReply::Kind::kReset) {
      const linger reset{.l_onoff = 1, .l_linger = 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
      return;
    }
    std::string answer = "HTTP/1.1 " + std::to_string(reply.status) + " Status\r\n";
    for (const std::string& header : reply.headers) answer += header + "\r\n";
    if (reply.status != 204) answer += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
    SendAll(fd, answer + "\r\n" + reply.body);
  }
}

}  // namespace chronolith::testing

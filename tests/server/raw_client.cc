#include "tests/server/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace chronolith::testing {

RawClient::RawClient(std::uint16_t port, int receive_buffer_bytes) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience{.tv_sec = 120, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (receive_buffer_bytes > 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    std::perror("connect");
    std::abort();
  }
}

RawClient::~RawClient() { close(fd_); }

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void RawClient::CloseSending() { shutdown(fd_, SHUT_WR); }

void RawClient::ResetAtEnd() {
  const linger none{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

bool RawClient::Readable(std::chrono::milliseconds patience) {
  pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
  return !got_.empty() || poll(&wait, 1, static_cast<int>(patience.count())) > 0;
}

bool RawClient::Fill() {
  char buffer[65536];
  const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
  if (n > 0) got_.append(buffer, static_cast<std::size_t>(n));
  return n > 0;
}

std::string RawClient::ReadToEnd() {
  while (Fill()) {
  }
  return std::exchange(got_, {});
}

std::string RawClient::ReadBehind(std::string_view mark, std::size_t bytes) {
  while (true) {
    const std::size_t at = got_.find(mark);
    if (at != std::string::npos && got_.size() >= at + mark.size() + bytes) break;
    if (!Fill()) break;
  }
  return std::exchange(got_, {});
}

RawAnswer RawClient::Read(bool head) {
  std::size_t end = 0;
  while ((end = got_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return {.error = "closed before the end of a header: '" + got_ + "'"};
  }
  RawAnswer answer;
  std::string_view lines = std::string_view(got_).substr(0, end + 2);
  if (!lines.starts_with("HTTP/1.") || lines.size() < 12) return {.error = "no status line"};
  const int status = std::atoi(std::string(lines.substr(9, 3)).c_str());
  for (lines.remove_prefix(lines.find("\r\n") + 2); !lines.empty(); lines.remove_prefix(lines.find("\r\n") + 2)) {
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    const std::size_t colon = line.find(": ");
    if (colon == std::string_view::npos) return {.error = "no header: " + std::string(line)};
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!answer.headers.emplace(name, line.substr(colon + 2)).second) return {.error = "twice: " + name};
  }
  got_.erase(0, end + 4);
  answer.status = status;
  if (head || status == 204 || status == 100) return answer;

  if (answer.headers["transfer-encoding"] == "chunked") {
    while (true) {
      std::size_t line_end = 0;
      while ((line_end = got_.find("\r\n")) == std::string::npos) {
        if (!Fill()) return {.error = "cut off within chunks"};
      }
      const std::size_t size = std::strtoul(got_.c_str(), nullptr, 16);
      while (got_.size() < line_end + 2 + size + 2) {
        if (!Fill()) return {.error = "cut off within a chunk"};
      }
      if (got_.compare(line_end + 2 + size, 2, "\r\n") != 0) return {.error = "a chunk does not end"};
      answer.body.append(got_, line_end + 2, size);
      got_.erase(0, line_end + 2 + size + 2);
      if (size == 0) return answer;
    }
  }
  const auto length = answer.headers.find("content-length");
  if (length == answer.headers.end()) {
    answer.body = ReadToEnd();
    return answer;
  }
  const std::size_t size = std::strtoul(length->second.c_str(), nullptr, 10);
  while (got_.size() < size) {
    if (!Fill()) return {.error = "cut off within the body"};
  }
  answer.body = got_.substr(0, size);
  got_.erase(0, size);
  return answer;
}

std::string Get(std::string_view target) { return "GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

std::string Post(std::string_view target, std::string_view body, std::string_view headers) {
  return "POST " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n" + std::string(headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

}  // namespace chronolith::testing

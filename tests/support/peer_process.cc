#include "tests/support/peer_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/posix_file.h"

namespace chronolith::testing {

namespace {

constexpr int kStarts = 5;
constexpr int kReadySecondsMax = 120;
constexpr int kAskAgainMs = 20;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

struct Socket {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ~Socket() { close(fd); }
};

// The child between fork and exec: nothing here allocates or locks.
[[noreturn]] void Become(char* const* argv, int log, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(argv[0], argv);
  _exit(127);
}

}  // namespace

int FreePort() {
  const Socket s;
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(s.fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(s.fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("peer_process: no free port");
    std::abort();
  }
  return ntohs(address.sin_port);
}

HttpAnswer HttpCall(int port, std::string_view method, std::string_view target, std::string_view body,
                    const std::vector<std::string>& headers) {
  std::string request = std::string(method) + " " + std::string(target) + " HTTP/1.0\r\nHost: 127.0.0.1\r\n";
  for (const std::string& header : headers) request += header + "\r\n";
  if (!body.empty()) request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  request += "\r\n" + std::string(body);

  const Socket s;
  const timeval silence{.tv_sec = 120};
  setsockopt(s.fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
  setsockopt(s.fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
  const sockaddr_in address = Loopback(port);
  if (connect(s.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return {};
  for (std::string_view left = request; !left.empty();) {
    const ssize_t n = send(s.fd, left.data(), left.size(), MSG_NOSIGNAL);
    if (n <= 0) return {};
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  std::string got;
  char buffer[65536];
  for (ssize_t n = 0; (n = recv(s.fd, buffer, sizeof(buffer), 0)) > 0;) got.append(buffer, static_cast<std::size_t>(n));
  const std::size_t end = got.find("\r\n\r\n");
  if (got.size() < 12 || got.compare(0, 5, "HTTP/") != 0 || end == std::string::npos) return {};
  return {.status = std::atoi(got.c_str() + 9), .body = got.substr(end + 4)};
}

std::string FindProgram(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string program = folder + "/" + std::string(name);
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

PeerProcess::PeerProcess(Setup setup) : setup_(std::move(setup)) {
  for (int i = 0; i < kStarts && !Start(); ++i) {
  }
}

PeerProcess::~PeerProcess() { Stop(SIGKILL); }

bool PeerProcess::Start() {
  port_ = FreePort();
  std::vector<std::string> args = setup_.args(port_);
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  const int log = open(setup_.log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) Become(argv.data(), log, parent);
  close(log);
  const FileDescriptor life(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kReadySecondsMax);
  while (std::chrono::steady_clock::now() < deadline) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return false;
    }
    if (HttpCall(port_, "GET", setup_.ready_path).status == setup_.ready_status) return true;
    // It may take as long as it likes to listen; should it end, this returns at once.
    pollfd ended = {.fd = life.get(), .events = POLLIN, .revents = 0};
    poll(&ended, 1, kAskAgainMs);
  }
  Stop(SIGKILL);
  return true;  // another start would take as long
}

std::string PeerProcess::Log() const {
  std::ifstream in(setup_.log_file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void PeerProcess::Stop(int signal) {
  if (pid_ <= 0) return;
  kill(pid_, signal);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace chronolith::testing

// Servers of others (Prometheus, VictoriaMetrics, a node exporter) that a test starts on loopback, and a few words of HTTP to talk
// to them. Nothing outlives the test program: a peer is killed by its pid, and by the kernel where the test program itself is
// killed.
#ifndef CHRONOLITH_TESTS_SUPPORT_PEER_PROCESS_H_
#define CHRONOLITH_TESTS_SUPPORT_PEER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chronolith::testing {

// A TCP port of 127.0.0.1 that nobody listens on; another program may take it any time, which PeerProcess provides for.
int FreePort();

struct HttpAnswer {
  int status = 0;  // 0: nobody answered
  std::string body;
};
// One HTTP/1.0 request to 127.0.0.1. `headers` are whole lines without CRLF. Gives up after two minutes of silence.
HttpAnswer HttpCall(int port, std::string_view method, std::string_view target, std::string_view body = {},
                    const std::vector<std::string>& headers = {});

// The program that `name` stands for in $PATH; "" where there is none. A missing peer is a failure, not a reason to skip.
std::string FindProgram(std::string_view name);

// A server from its start to the end of this object. Thread safety: one thread.
class PeerProcess {
 public:
  struct Setup {
    std::function<std::vector<std::string>(int port)> args;  // the command line; its first word is a path
    std::string ready_path = "/";                            // asked until it answers `ready_status`
    int ready_status = 200;
    std::string log_file;  // takes what it prints
  };

  // Starts it and waits until it is ready, for two minutes at most; takes another port where that one is lost to somebody else.
  explicit PeerProcess(Setup setup);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  bool ready() const { return pid_ > 0; }
  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // What it has printed so far: the reason, where it is not ready.
  std::string Log() const;
  // Ends it with `signal` and waits for its end.
  void Stop(int signal);

 private:
  // False where it ended before it was ready.
  bool Start();

  Setup setup_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_PEER_PROCESS_H_

// The built chronolithd as a process, for tests that talk to it.
#ifndef CHRONOLITH_TESTS_SERVER_SERVER_PROCESS_H_
#define CHRONOLITH_TESTS_SERVER_SERVER_PROCESS_H_

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/peer_process.h"
#include "tests/support/subprocess.h"

namespace chronolith::testing {

// chronolithd, running; started with a port of 127.0.0.1 to listen on. Thread safety: one thread.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> args) : process_(WithProgram(std::move(args))) {
    const std::string mark = "://127.0.0.1:";
    if (process_.WaitUntil([&](const std::string& out, const std::string&) { return out.find('\n') != std::string::npos; })) {
      port_ = std::atoi(process_.out().substr(process_.out().find(mark) + mark.size()).c_str());
    }
  }
  static std::vector<std::string> WithProgram(std::vector<std::string> args) {
    args.insert(args.begin(), CHRONOLITHD);
    return args;
  }
  int port() const { return port_; }
  pid_t pid() const { return process_.pid(); }
  // What stands behind `mark` on a line of stdout, which it waits for: "OTLP over gRPC on 127.0.0.1:". 0: it did not come.
  int PortBehind(const std::string& mark) {
    const auto whole = [&](const std::string& out, const std::string&) {
      const std::size_t at = out.find(mark);
      return at != std::string::npos && out.find('\n', at) != std::string::npos;
    };
    return process_.WaitUntil(whole) ? std::atoi(process_.out().c_str() + process_.out().find(mark) + mark.size()) : 0;
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // It listens before its shards serve, and a write that comes too early is told to come again. Without TLS.
  bool WaitUntilReady() {
    int status = 503;
    while (status == 503) status = HttpCall(port_, "GET", "/-/ready").status;
    return status == 200;
  }
  ProcessResult Stop(int signal) {
    process_.Kill(signal);
    return Wait();
  }
  ProcessResult Wait() { return process_.Wait(); }
  const std::string& err() const { return process_.err(); }
  void Signal(int signal) { process_.Kill(signal); }
  bool WaitForLog(const std::string& text) {
    return process_.WaitUntil([&](const std::string&, const std::string& err) { return err.find(text) != std::string::npos; });
  }

 private:
  Subprocess process_;
  int port_ = 0;
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SERVER_SERVER_PROCESS_H_

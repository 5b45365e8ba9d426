// An HTTP/1.1 server within the test, on loopback: answers what a function says, and misbehaves when told to.
#ifndef CHRONOLITH_TESTS_SUPPORT_HTTP_SERVER_H_
#define CHRONOLITH_TESTS_SUPPORT_HTTP_SERVER_H_

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace chronolith::testing {

struct HttpRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
};

struct HttpReply {
  enum class Kind { kAnswer, kReset, kSilence };  // kReset: the connection breaks; kSilence: nothing comes until the client goes
  Kind kind = Kind::kAnswer;
  int status = 204;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
};

// Each connection, kept alive, is served by a thread of its own, which calls `handler`. Ends with this object.
class HttpServer {
 public:
  explicit HttpServer(std::function<HttpReply(const HttpRequest&)> handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void Run();
  void Serve(int fd);
  // False where the server ends or the connection does.
  bool ReadMore(int fd, std::string* to);

  std::function<HttpReply(const HttpRequest&)> handler_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};  // a pipe: closed at one end, readable at the other
  int port_ = 0;
  std::thread thread_;
  std::vector<std::thread> connections_;  // of thread_
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_HTTP_SERVER_H_

// A client that sends any bytes it is told, and reads answers strictly.
#ifndef CHRONOLITH_TESTS_SERVER_RAW_CLIENT_H_
#define CHRONOLITH_TESTS_SERVER_RAW_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace chronolith::testing {

struct RawAnswer {
  int status = 0;                              // 0: the connection ended, or the answer is malformed: see `error`
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
  std::string error;
};

// One connection to 127.0.0.1. Waits at most two minutes to send, or to read. Thread safety: one thread.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_buffer_bytes = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False where the server has closed.
  bool Send(std::string_view bytes);
  // The next answer; `head`: to a HEAD request, without a body.
  RawAnswer Read(bool head = false);
  // Where not all of the request could be sent, the server may have answered before its end.
  RawAnswer Ask(std::string_view request) {
    const bool sent = Send(request);
    RawAnswer answer = Read();
    if (!sent && !answer.error.empty()) answer.error = "cannot send, and " + answer.error;
    return answer;
  }
  // Waits until the server closes the connection; what came before that.
  std::string ReadToEnd();
  // What comes until `bytes` more have come behind `mark`, or until the end.
  std::string ReadBehind(std::string_view mark, std::size_t bytes);
  void CloseSending();
  // Destroyed, it resets the connection instead of ending it.
  void ResetAtEnd();
  // Whether there is something to read, or the end, within `patience`.
  bool Readable(std::chrono::milliseconds patience);

 private:
  bool Fill();

  int fd_ = -1;
  std::string got_;
};

std::string Get(std::string_view target);
std::string Post(std::string_view target, std::string_view body, std::string_view headers = {});

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SERVER_RAW_CLIENT_H_

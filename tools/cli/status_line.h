// One line on stderr that says how far something is: redrawn where that is a terminal, else a line each 10 s.
#ifndef CHRONOLITH_TOOLS_CLI_STATUS_LINE_H_
#define CHRONOLITH_TOOLS_CLI_STATUS_LINE_H_

#include <functional>
#include <semaphore>
#include <string>
#include <thread>

namespace chronolith::cli {

// Shows from a thread of its own until it is destroyed, which wipes the line. Thread safety: one thread.
class StatusLine {
 public:
  // `line` is called from that thread; "": there is nothing to show yet.
  explicit StatusLine(std::function<std::string(bool terminal)> line);
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

 private:
  void Show();

  const bool terminal_;
  const std::function<std::string(bool terminal)> line_;
  bool shown_ = false;
  std::binary_semaphore stop_{0};
  std::thread thread_;
};

// "12 s", "3 min 20 s", "1 h 12 min".
std::string HumanDuration(double seconds);

// "[######..................] "; more than 1 is 1.
std::string Bar(double part);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_STATUS_LINE_H_

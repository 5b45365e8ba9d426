// Runs programs as a user would: arguments, standard streams, exit code, signals.
#ifndef CHRONOLITH_TESTS_SUPPORT_SUBPROCESS_H_
#define CHRONOLITH_TESTS_SUPPORT_SUBPROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace chronolith::testing {

struct ProcessResult {
  int exit_code = -1;  // -1 where a signal ended it
  int signal = 0;
  std::string out;
  std::string err;
};

// A program that is running. Its output is collected while this object waits for something. Killed with SIGKILL when destroyed
// before Wait. Thread safety: one thread.
class Subprocess {
 public:
  // args[0] is the path of the program. Aborts the test program where it cannot be started.
  explicit Subprocess(const std::vector<std::string>& args);
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  // Writes all of `text` to its stdin, collecting output meanwhile. False where it has closed its stdin.
  bool Write(std::string_view text);
  void CloseInput();
  // Waits until `done(out, err)`. False where the program ended, said nothing for two minutes, or eight passed.
  bool WaitUntil(const std::function<bool(const std::string& out, const std::string& err)>& done);
  void Kill(int signal);
  // Closes its stdin and waits for its end.
  ProcessResult Wait();

  pid_t pid() const { return pid_; }
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  // One round of poll; false where both outputs are closed, or nothing happened for `timeout_ms`.
  bool Pump(std::string_view* input, int timeout_ms);

  pid_t pid_ = -1;
  int stdin_ = -1;
  int stdout_ = -1;
  int stderr_ = -1;
  std::string out_;
  std::string err_;
};

// From start to end, with `input` on stdin.
ProcessResult RunProcess(const std::vector<std::string>& args, std::string_view input = {});

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_SUBPROCESS_H_

// Progress of commands that write, and of replay, on stderr. That of other work: work_progress.h.
#ifndef CHRONOLITH_TOOLS_CLI_PROGRESS_H_
#define CHRONOLITH_TOOLS_CLI_PROGRESS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "chronolith/options.h"
#include "tools/cli/status_line.h"

namespace chronolith::cli {

enum class ProgressMode : std::uint8_t {
  kAuto,   // one line that is redrawn, only where stderr is a terminal
  kPlain,  // "logged N" a line: N samples so far are acknowledged at the level asked for; for scripts
  kNone,
};

void AddProgress(CLI::App* command, ProgressMode* mode);

// Shows `acknowledged()` a few times a second, from a thread of its own, until it is destroyed (then once more).
class WriteProgress {
 public:
  WriteProgress(ProgressMode mode, std::string what, std::function<std::uint64_t()> acknowledged);
  ~WriteProgress();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// How replay goes, while a store is opened: a bar that is redrawn where stderr is a terminal, else a line each 10 s.
class ReplayBar {
 public:
  ReplayBar();
  ~ReplayBar();
  // For Options::on_replay; may be called after the bar is gone.
  std::function<void(const ReplayProgress&)> Callback();

 private:
  struct State;
  const std::shared_ptr<State> state_;
  StatusLine line_;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_PROGRESS_H_

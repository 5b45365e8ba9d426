// How far an operation is, on stderr: a bar with rate and time left where that is a terminal, else a line each 10 s.
#ifndef CHRONOLITH_TOOLS_CLI_WORK_PROGRESS_H_
#define CHRONOLITH_TOOLS_CLI_WORK_PROGRESS_H_

#include <memory>
#include <string_view>

#include "ops/context.h"

namespace chronolith::cli {

// Shows from a thread of its own until it is destroyed. Thread safety: safe.
class WorkProgress : public ops::ProgressSink {
 public:
  explicit WorkProgress(bool quiet = false);
  ~WorkProgress() override;
  void Begin(std::string_view phase, std::uint64_t total, std::string_view unit) override;
  void Add(std::uint64_t units) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_WORK_PROGRESS_H_

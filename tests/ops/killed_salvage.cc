// killed_salvage SOURCE TARGET N: a salvage that kills itself with SIGKILL at the Nth place: a phase begins, a last step is done,
// or another hundred rows are read. Exits with 0 where it comes to its end before, with 1 after an error.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "ops/salvage.h"

using namespace chronolith;

namespace {

class Countdown : public ops::ProgressSink {
 public:
  explicit Countdown(long left) : left_(left) {}
  void Begin(std::string_view phase, std::uint64_t, std::string_view) override {
    finishing_ = phase == "finishing";
    Place(std::string(phase));
  }
  void Add(std::uint64_t) override {
    if (finishing_) Place("step " + std::to_string(++steps_));
    if (!finishing_ && ++rows_ % 100 == 0) Place("rows");
  }

 private:
  void Place(const std::string& name) {
    std::fprintf(stderr, "%s\n", name.c_str());
    if (--left_ == 0) raise(SIGKILL);
  }

  long left_;
  bool finishing_ = false;
  long steps_ = 0;
  long rows_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  Countdown countdown(std::strtol(argv[3], nullptr, 10));
  ops::OpsContext context;
  context.progress = &countdown;
  const Result<ops::SalvageReport> done = ops::Salvage(argv[1], argv[2], {}, context);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.status().message().c_str());
  return done.ok() ? 0 : 1;
}

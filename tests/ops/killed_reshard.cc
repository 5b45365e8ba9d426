// killed_reshard SOURCE TARGET SHARDS N [PHASE [MEMORY]]: a reshard that kills itself with SIGKILL the Nth time, from that phase
// on, that it says how far it is: a phase begins, a series is done, what is copied is synced. Exits with 0 where it comes to its
// end before, with 1 after an error.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "ops/reshard.h"

using namespace chronolith;

namespace {

class Countdown : public ops::ProgressSink {
 public:
  Countdown(long left, std::string_view from) : left_(left), from_(from), counts_(from.empty()) {}
  void Begin(std::string_view phase, std::uint64_t, std::string_view) override {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(phase.size()), phase.data());
    counts_ = counts_ || phase == from_;
    Count();
  }
  void Add(std::uint64_t) override { Count(); }
  void Count() {
    if (counts_ && --left_ == 0) raise(SIGKILL);
  }

 private:
  long left_;
  const std::string_view from_;
  bool counts_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 7) return 2;
  Countdown countdown(std::strtol(argv[4], nullptr, 10), argc > 5 ? argv[5] : "");
  ops::OpsContext context;
  context.progress = &countdown;
  if (argc > 6) context.memory_limit_bytes = std::strtoull(argv[6], nullptr, 10);
  ops::ReshardOptions options;
  options.shards = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  options.batch_items = 500;
  options.sync_items = 1000;
  options.on_synced = [&](std::uint64_t) { countdown.Count(); };
  const Result<ops::ReshardReport> done = ops::Reshard(argv[1], argv[2], options, context);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.status().message().c_str());
  return done.ok() ? 0 : 1;
}

#include "ops/work_share.h"

#include <map>
#include <memory>
#include <utility>

#include "base/mutex.h"

namespace chronolith::ops {
namespace {

class ReplayTeller {
 public:
  ReplayTeller(const OpsContext& context, std::string phase) : context_(context), phase_(std::move(phase)) {
    context_.Begin(phase_, 0, "records");
  }

  void Tell(const ReplayProgress& progress) {
    const MutexLock lock(&mu_);
    const auto [at, fresh] = shards_.try_emplace(progress.shard);
    auto& [expected, told] = at->second;
    const std::uint64_t more = progress.records - std::exchange(told, progress.records);
    done_ += more;
    const bool known_better = expected != progress.records_expected;
    total_ += progress.records_expected - std::exchange(expected, progress.records_expected);
    if (known_better) context_.Begin(phase_, total_, "records");
    if (const std::uint64_t n = known_better ? done_ : more; n > 0) context_.Add(n);
  }

 private:
  const OpsContext& context_;
  const std::string phase_;
  Mutex mu_;
  std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>> shards_ ABSL_GUARDED_BY(mu_);  // records expected, and told
  std::uint64_t total_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t done_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace

std::function<void(const ReplayProgress&)> TellReplay(const OpsContext& context, std::string phase) {
  auto teller = std::make_shared<ReplayTeller>(context, std::move(phase));
  return [teller = std::move(teller)](const ReplayProgress& progress) { teller->Tell(progress); };
}

}  // namespace chronolith::ops

#include "plugins/memory/adversary.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace chronolith {

void Adversary::FailCall(EngineMethod method, std::uint64_t nth, Status status) {
  MutexLock lock(&mu_);
  faults_.push_back({method, nth, {std::move(status), false, CrashKind::kKill}});
}

void Adversary::CrashDuringCall(EngineMethod method, std::uint64_t nth, CrashKind kind) {
  MutexLock lock(&mu_);
  faults_.push_back({method, nth, {IoError("the engine crashed during the call"), true, kind}});
}

void Adversary::ForgetFaults() {
  MutexLock lock(&mu_);
  faults_.clear();
}

Adversary::Verdict Adversary::BeforeCall(EngineMethod method, const std::string& path) {
  if (!hostile_) return {};
  if (options_.on_call) {
    if (Status s = options_.on_call(method, path); !s.ok()) return {std::move(s)};
  }
  MutexLock lock(&mu_);
  Verdict verdict;
  for (auto it = faults_.begin(); it != faults_.end();) {
    if (it->method == method && --it->calls_left == 0) {
      if (verdict.status.ok()) verdict = std::move(it->verdict);
      it = faults_.erase(it);
    } else {
      ++it;
    }
  }
  return verdict;
}

bool Adversary::Chance(double probability) {
  if (!hostile_ || probability <= 0) return false;
  MutexLock lock(&mu_);
  return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
}

std::uint64_t Adversary::Below(std::uint64_t bound) {
  if (bound == 0) return 0;
  MutexLock lock(&mu_);
  return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random_);
}

std::vector<std::size_t> Adversary::Order(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!hostile_) return order;
  MutexLock lock(&mu_);
  std::shuffle(order.begin(), order.end(), random_);
  return order;
}

}  // namespace chronolith

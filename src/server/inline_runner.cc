#include "server/inline_runner.h"

#include <utility>

#include "base/counters.h"
#include "base/futex.h"

namespace chronolith::server {
namespace {

constexpr std::chrono::milliseconds kLook{2};
constexpr int kLooksInVain = 20;  // before the standby sleeps
constexpr std::size_t kFew =
    2;  // requests at hand that are not worth another thread: one waits for the other for less than for a wake-up

}  // namespace

InlineRunner::InlineRunner(Loop loop, WorkerPool* workers, std::chrono::milliseconds seldom)
    : loop_(std::move(loop)),
      workers_(workers),
      seldom_ns_(static_cast<std::uint64_t>(std::chrono::nanoseconds(seldom).count())),
      standby_([this] { Watch(); }) {}

bool InlineRunner::Run(Work&& work) {
  bool first = false;
  {
    MutexLock lock(&mu_);
    const std::uint64_t now = NowNanos();
    const std::uint64_t last = std::exchange(last_ns_, now);
    const bool often = last != 0 && now - last < seldom_ns_;
    // A handler that runs here while another thread is asked: that one is the standby.
    if (often && (turn_.load(std::memory_order_relaxed) & 1) == 0 && on_workers_.load(std::memory_order_relaxed) < kFew) {
      first = waiting_.empty();
      waiting_.push_back(std::move(work));
    }
  }
  if (work != nullptr) return ToWorker(work);
  if (first) loop_.post([this] { RunWaiting(); });
  return true;
}

bool InlineRunner::ToWorker(const Work& work) {
  on_workers_.fetch_add(1, std::memory_order_relaxed);
  auto counted = [this, work] {
    work();
    on_workers_.fetch_sub(1, std::memory_order_relaxed);
  };
  if (workers_->TrySubmit(std::move(counted))) return true;
  on_workers_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void InlineRunner::RunWaiting() {
  std::vector<Work> taken;
  {
    MutexLock lock(&mu_);
    taken.swap(waiting_);
  }
  // The standby, where a handler ended while it served, is not watched itself.
  const bool watched = std::this_thread::get_id() != standby_.get_id();
  const bool few = taken.size() + on_workers_.load(std::memory_order_relaxed) <= kFew;
  for (const Work& work : taken) {
    if ((!watched || !few) && ToWorker(work)) continue;
    watched ? RunHere(work) : work();
  }
}

void InlineRunner::RunHere(const Work& work) {
  turn_.fetch_add(1, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) != 0) {
    asleep_.store(0);
    FutexWakeAll(&asleep_);
  }
  work();
  turn_.fetch_add(1, std::memory_order_seq_cst);
}

void InlineRunner::Watch() {
  int in_vain = kLooksInVain + 1;  // nothing runs yet
  while (stop_.load() == 0) {
    const std::uint32_t seen = turn_.load();
    if (in_vain > kLooksInVain && (seen & 1) == 0) {
      asleep_.store(1, std::memory_order_seq_cst);
      if (turn_.load(std::memory_order_seq_cst) == seen && stop_.load() == 0) FutexWait(&asleep_, 1);
      asleep_.store(0);
      in_vain = 0;
      continue;
    }
    FutexWait(&stop_, 0, std::chrono::steady_clock::now() + kLook);
    const bool same = turn_.load() == seen;
    const bool runs = (seen & 1) != 0;
    in_vain = same && !runs ? in_vain + 1 : 0;
    while (runs && turn_.load() == seen && stop_.load() == 0) loop_.serve(kLook);
  }
}

void InlineRunner::Stop() {
  if (!standby_.joinable()) return;
  stop_.store(1);
  FutexWakeAll(&stop_);
  asleep_.store(0);
  FutexWakeAll(&asleep_);
  standby_.join();
}

}  // namespace chronolith::server

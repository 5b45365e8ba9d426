#include "server/inline_runner.h"

#include <utility>

#include "base/counters.h"
#include "base/futex.h"

namespace chronolith::server {
namespace {

constexpr int kLooksInVain = 10;  // before the standby sleeps
constexpr std::size_t kFew = 2;   // at hand, and not worth another thread: one waits for the other for less than for a wake-up

}  // namespace

InlineRunner::InlineRunner(Loop loop, WorkerPool* workers, std::chrono::milliseconds seldom, std::chrono::milliseconds look)
    : loop_(std::move(loop)),
      workers_(workers),
      seldom_ns_(static_cast<std::uint64_t>(std::chrono::nanoseconds(seldom).count())),
      look_(look),
      standby_([this] { Watch(); }) {}

bool InlineRunner::Run(Work&& work) {
  bool here = false, first = false;
  {
    MutexLock lock(&mu_);
    const std::uint64_t now = NowNanos();
    const std::uint64_t last = std::exchange(last_ns_, now);
    const bool often = last != 0 && now - last < seldom_ns_;
    // A handler that runs here while another thread is asked: that one is the standby.
    here = often && (turn_.load(std::memory_order_relaxed) & 1) == 0 && on_workers_.load(std::memory_order_relaxed) < kFew;
    if (here) {
      first = waiting_.empty();
      waiting_.push_back(std::move(work));
    }
  }
  if (!here) return ToWorker(work);
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

// Of the loop's thread; and of the standby, which nobody watches and which therefore only hands over.
void InlineRunner::RunWaiting() {
  const bool standby = std::this_thread::get_id() == standby_.get_id();
  while (true) {
    Work work;
    bool few = false;
    {
      MutexLock lock(&mu_);
      if (waiting_.empty()) return;
      few = waiting_.size() + on_workers_.load(std::memory_order_relaxed) <= kFew;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if ((standby || !few) && ToWorker(work)) continue;
    if (standby) {
      MutexLock lock(&mu_);
      waiting_.push_front(std::move(work));
      return;
    }
    RunHere(work);
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
    FutexWait(&stop_, 0, std::chrono::steady_clock::now() + look_);
    const bool same = turn_.load() == seen;
    const bool runs = (seen & 1) != 0;
    in_vain = same && !runs ? in_vain + 1 : 0;
    if (!same || !runs) continue;
    while (turn_.load() == seen && stop_.load() == 0) {
      RunWaiting();  // what was to run behind it
      loop_.serve(look_);
    }
    loop_.post([this] { RunWaiting(); });
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

#include "server/worker_pool.h"

#include <utility>

namespace chronolith::server {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_max) : queue_max_(queue_max) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool WorkerPool::TrySubmit(std::function<void()>&& work) {
  MutexLock lock(&mu_);
  // An idle thread takes one out of the queue at once: only what waits behind those counts.
  if (stopping_ || queue_.size() >= queue_max_ + idle_) return false;
  queue_.push_back(std::move(work));
  if (!asleep_.empty()) {
    Sleeper* const last = asleep_.back();
    asleep_.pop_back();
    last->called = true;
    last->wake.Signal();
  }
  return true;
}

WorkerPool::Loan WorkerPool::TryLend() {
  if (lent_.fetch_add(1) < lent_max()) return Loan(&lent_);
  lent_.fetch_sub(1);
  return {};
}

void WorkerPool::Run() {
  Sleeper self;
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(&mu_);
      ++idle_;
      while (queue_.empty() && !stopping_) {
        self.called = false;
        asleep_.push_back(&self);
        while (!self.called) self.wake.Wait(&mu_);
      }
      --idle_;
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

void WorkerPool::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    for (Sleeper* sleeper : std::exchange(asleep_, {})) {
      sleeper->called = true;
      sleeper->wake.Signal();
    }
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace chronolith::server

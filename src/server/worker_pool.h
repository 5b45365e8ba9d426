// WorkerPool: the threads on which handlers run, with a bounded queue in front of them.
#ifndef CHRONOLITH_SERVER_WORKER_POOL_H_
#define CHRONOLITH_SERVER_WORKER_POOL_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace chronolith::server {

// Handlers wait for the store's group commit, and a group gathers what many of them wrote: so there are more threads than cores.
// Thread safety: safe, but for Stop and the destructor.
class WorkerPool {
 public:
  WorkerPool(std::size_t threads, std::size_t queue_max);
  ~WorkerPool() { Stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False, and `work` untouched, where all threads are busy and the queue is full, or after Stop. `work` must not throw.
  bool TrySubmit(std::function<void()>&& work);
  // Runs what was submitted and joins the threads.
  void Stop();

  std::size_t threads() const { return threads_.size(); }

  // A thread that a client may hold for as long as it likes, by reading its answer slowly. At most half of the threads are lent so,
  // but one at least: the others stay for everybody. Empty where no more may be.
  class Loan {
   public:
    Loan() = default;
    explicit Loan(std::atomic<std::size_t>* lent) : lent_(lent) {}
    Loan(Loan&& from) noexcept : lent_(std::exchange(from.lent_, nullptr)) {}
    Loan& operator=(Loan&& from) noexcept {
      if (this != &from) {
        Return();
        lent_ = std::exchange(from.lent_, nullptr);
      }
      return *this;
    }
    ~Loan() { Return(); }
    void Return() {
      if (std::atomic<std::size_t>* const lent = std::exchange(lent_, nullptr); lent != nullptr) lent->fetch_sub(1);
    }
    explicit operator bool() const { return lent_ != nullptr; }

   private:
    std::atomic<std::size_t>* lent_ = nullptr;
  };
  Loan TryLend();
  std::size_t lent_max() const { return std::max<std::size_t>(threads_.size() / 2, 1); }

 private:
  // A thread without work, on its own stack. Called is who fell asleep last: its stack and what it has freed are in the cache.
  struct Sleeper {
    CondVar wake;
    bool called = false;
  };

  void Run();

  const std::size_t queue_max_;
  Mutex mu_;
  std::vector<Sleeper*> asleep_ ABSL_GUARDED_BY(mu_);
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  std::size_t idle_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<std::size_t> lent_{0};
  std::vector<std::thread> threads_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_WORKER_POOL_H_

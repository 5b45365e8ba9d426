// WorkerPool: the threads on which handlers run, with a bounded queue in front of them.
#ifndef CHRONOLITH_SERVER_WORKER_POOL_H_
#define CHRONOLITH_SERVER_WORKER_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
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
  std::vector<std::thread> threads_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_WORKER_POOL_H_

// InlineRunner: runs short handlers on the thread that serves the connections, where few come at a time.
//
// A worker for each request costs two changes of threads and the caches of another core: 35 us of a remote write of 500 samples
// whose own work takes 180, and more where a core has to be woken up (bench/README.md). So one or two requests that are at hand are
// served where they were read, one after the other. Of three and more, those on workers counted, all go to workers: then the
// connections' thread reads, and the cores share the work.
//
//   Run -> waiting_ -> RunWaiting, behind what was ready with it -> here, or a worker (of those that write)
//
// A handler may wait all the same: for the group commit, for memory, for a disk that stands still. Somebody has to serve the other
// connections then. The standby thread looks each 5 ms, while handlers run here; where it sees the same one twice it serves them
// until that one has ended, and gives to workers what was to run behind it. It sleeps where nothing has come for a while; and what
// comes seldom goes to a worker, so that an idle server is not woken for it.
//
// Thread safety: Run from all threads that serve connections; Stop and the destructor from one that does not.
#ifndef CHRONOLITH_SERVER_INLINE_RUNNER_H_
#define CHRONOLITH_SERVER_INLINE_RUNNER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>

#include "base/mutex.h"
#include "server/worker_pool.h"

namespace chronolith::server {

class InlineRunner {
 public:
  using Work = std::function<void()>;
  // The event loop of the connections, which one thread runs.
  struct Loop {
    std::function<void(Work)> post;                        // onto its thread, behind what is there already
    std::function<void(std::chrono::milliseconds)> serve;  // on the calling thread as well, for about so long
  };
  // `seldom`: what comes so long after the last is not run here. `look`: how often the standby looks whether a handler waits.
  InlineRunner(Loop loop, WorkerPool* workers, std::chrono::milliseconds seldom,
               std::chrono::milliseconds look = std::chrono::milliseconds(5));
  ~InlineRunner() { Stop(); }
  InlineRunner(const InlineRunner&) = delete;
  InlineRunner& operator=(const InlineRunner&) = delete;

  // False where a worker should run it and none takes it. `work` must not throw.
  bool Run(Work&& work);
  // When the loop has ended.
  void Stop();

 private:
  void RunWaiting();
  bool ToWorker(const Work& work);
  void RunHere(const Work& work);
  void Watch();

  const Loop loop_;
  WorkerPool* const workers_;
  const std::uint64_t seldom_ns_;
  const std::chrono::milliseconds look_;
  Mutex mu_;
  std::deque<Work> waiting_ ABSL_GUARDED_BY(mu_);
  std::uint64_t last_ns_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<std::uint32_t> on_workers_{0};
  // Odd while a handler runs on the loop's thread. Against asleep_: each side announces its own and then looks at the other's, both
  // sequentially consistent, so that a handler is never run unwatched.
  std::atomic<std::uint32_t> turn_{0};
  std::atomic<std::uint32_t> asleep_{0};  // 1: the standby sleeps on it until a handler runs
  std::atomic<std::uint32_t> stop_{0};
  std::thread standby_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_INLINE_RUNNER_H_

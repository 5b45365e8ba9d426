// Two threads for the shards that one of them checks: the reader compares files with their checksums, the worker behind it the
// rows. So the disk is busy while chunks are decoded, and rows come from the page cache, where their files were just read to.
// Internal to verify.
#ifndef CHRONOLITH_OPS_VERIFY_AHEAD_H_
#define CHRONOLITH_OPS_VERIFY_AHEAD_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "chronolith/status.h"

namespace chronolith::ops {

// What the two know of each other. `Found`: what the reader finds in the files of a shard. The reader begins shards in some order,
// and is no more than `ahead_max` bytes before the worker, which gets them in the same order. Thread safety: one thread on each
// side.
template <typename Found>
class FilesAhead {
 public:
  explicit FilesAhead(std::uint64_t ahead_max) : ahead_max_(static_cast<std::int64_t>(ahead_max)) {}

  // ---- The reader's ----
  void Begin(std::size_t shard) {
    MutexLock lock(&mu_);
    shards_.push_back({.shard = shard});
  }
  // So many bytes of files were read. Waits where the worker is too far behind.
  void Read(std::uint64_t bytes) {
    MutexLock lock(&mu_);
    shards_.back().files += bytes;
    ahead_ += static_cast<std::int64_t>(bytes);
    while (ahead_ > ahead_max_ && !WorkerWaitsForThis() && !worker_left_) {
      reader_waits_ = true;
      moved_.SignalAll();
      moved_.Wait(&mu_);
    }
    reader_waits_ = false;
  }
  void Finish(Found found) {
    MutexLock lock(&mu_);
    shards_.back().found = std::move(found);
    moved_.SignalAll();
  }
  // There is no shard more.
  void End() {
    MutexLock lock(&mu_);
    ended_ = true;
    moved_.SignalAll();
  }

  // ---- The worker's ----
  // The next shard, as soon as its files were read, or so much that the reader waits. None: there is none more.
  std::optional<std::size_t> Next() {
    MutexLock lock(&mu_);
    while (!ended_ && (shards_.empty() || (!shards_.front().found && !reader_waits_))) moved_.Wait(&mu_);
    return shards_.empty() ? std::nullopt : std::optional(shards_.front().shard);
  }
  // Rows of so many bytes of files were looked at.
  void Follow(std::uint64_t bytes) {
    MutexLock lock(&mu_);
    shards_.front().rows += bytes;
    Lower(bytes);
  }
  // All rows of that shard were looked at: waits for the rest of its files, and is done with it.
  Found Take() {
    MutexLock lock(&mu_);
    worker_waits_ = true;
    moved_.SignalAll();
    while (!shards_.front().found) moved_.Wait(&mu_);
    worker_waits_ = false;
    Shard done = std::move(shards_.front());
    shards_.pop_front();
    Lower(done.files - done.rows);
    return *std::move(done.found);
  }
  // The reader waits no more.
  void Leave() {
    MutexLock lock(&mu_);
    worker_left_ = true;
    moved_.SignalAll();
  }

 private:
  struct Shard {
    std::size_t shard = 0;
    std::uint64_t files = 0;
    std::uint64_t rows = 0;
    std::optional<Found> found;  // none: files are still being read
  };
  // Having heard of it or not, a worker that waited for an earlier shard does not wait any more.
  bool WorkerWaitsForThis() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return worker_waits_ && shards_.size() == 1; }
  // The difference may be below zero, as it is where rows of compressed files take more than these.
  void Lower(std::uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    ahead_ -= static_cast<std::int64_t>(bytes);
    if (ahead_ <= ahead_max_) moved_.SignalAll();
  }

  const std::int64_t ahead_max_;
  Mutex mu_;
  CondVar moved_;
  std::deque<Shard> shards_ ABSL_GUARDED_BY(mu_);  // the first is the worker's, the last the reader's
  std::int64_t ahead_ ABSL_GUARDED_BY(mu_) = 0;
  bool reader_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool worker_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool worker_left_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_VERIFY_AHEAD_H_

// StatusHistory: what a store did during the last hour, in small, for the status page of a server that nobody scrapes.
#ifndef CHRONOLITH_SERVER_PAGE_STATUS_HISTORY_H_
#define CHRONOLITH_SERVER_PAGE_STATUS_HISTORY_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "chronolith/env.h"
#include "chronolith/storage.h"

namespace chronolith::server {

// Rates and latencies are of the time since the point before; quantiles are empty where nothing happened in it.
struct StatusPoint {
  struct Shard {
    float samples_per_second = 0;
    float lock_wait = 0;  // seconds waited in a second, by all threads together
    float ring_bytes = 0;
    float log_bytes = 0;
  };
  std::int64_t time_ms = 0;  // wall clock
  double samples_per_second = 0;
  double refused_per_second = 0;
  std::optional<double> write_p50, write_p99;  // until logged, seconds
  std::optional<double> select_p99;
  double memory_bytes = 0;
  std::vector<Shard> shards;  // as in StorageStats
};

struct StatusHistoryOptions {
  std::chrono::milliseconds interval{5000};
  std::size_t points_max = 720;
  std::shared_ptr<Clock> clock = Clock::System();
  // How many items were refused so far, where others than the store refuse some too; null: what the store has refused.
  std::function<std::uint64_t()> refused;
};

// Holds points_max points of 16 bytes a shard and 100 more each: 430 KB at 31 shards. Thread safety: safe, but for the destructor.
class StatusHistory {
 public:
  // The store must outlive it. Nothing happens before Start.
  StatusHistory(const Storage* storage, const StatusHistoryOptions& options);
  ~StatusHistory();
  StatusHistory(const StatusHistory&) = delete;
  StatusHistory& operator=(const StatusHistory&) = delete;

  // Takes a point every interval, on a thread of its own, until this object ends.
  void Start();
  // Takes one now. The first has no rates: it is what the second compares with, and not kept.
  void Take();

  // The points later than `after_ms`, oldest first.
  std::vector<StatusPoint> Since(std::int64_t after_ms) const;
  std::optional<StatusPoint> Last() const;
  std::uint64_t Refused(const StorageStats& stats) const;
  std::chrono::milliseconds interval() const { return options_.interval; }
  std::int64_t started_ms() const { return started_ms_; }
  std::int64_t NowMs() const { return options_.clock->NowMs(); }

 private:
  void Run();

  const Storage* const storage_;
  const StatusHistoryOptions options_;
  const std::int64_t started_ms_;

  mutable Mutex mu_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<StatusPoint> points_ ABSL_GUARDED_BY(mu_);
  StorageStats before_ ABSL_GUARDED_BY(mu_);
  std::uint64_t refused_before_ ABSL_GUARDED_BY(mu_) = 0;
  std::int64_t before_ms_ ABSL_GUARDED_BY(mu_) = 0;  // 0: there is none
  std::thread thread_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_STATUS_HISTORY_H_

#include "server/page/status_history.h"

#include <algorithm>
#include <utility>

namespace chronolith::server {
namespace {

// A counter that fell was begun anew (Storage::Reopen).
std::uint64_t Increase(std::uint64_t before, std::uint64_t now) { return now >= before ? now - before : now; }

DurationHistogram Increase(const DurationHistogram& before, const DurationHistogram& now) {
  DurationHistogram h;
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    h.counts[i] = Increase(before.counts[i], now.counts[i]);
    h.count += h.counts[i];
  }
  return h;
}

std::optional<double> Quantile(const DurationHistogram& h, double q) {
  return h.count == 0 ? std::nullopt : std::optional(h.Quantile(q));
}

double LockWait(const ShardStats& shard) {
  double seconds = 0;
  for (const LockStats& lock : shard.locks) seconds += lock.wait.sum_seconds;
  return seconds;
}

StatusPoint Between(const StorageStats& before, const StorageStats& now, double seconds) {
  StatusPoint point;
  DurationHistogram writes;
  const ShardStats none;
  std::uint64_t samples = 0;
  constexpr auto kLogged = static_cast<std::size_t>(AckLevel::kLogged);
  for (std::size_t i = 0; i < now.shards.size(); ++i) {
    const ShardStats& a = i < before.shards.size() ? before.shards[i] : none;
    const ShardStats& b = now.shards[i];
    const std::uint64_t appended = Increase(a.samples_appended, b.samples_appended);
    samples += appended;
    writes.Add(Increase(a.write_latency[kLogged], b.write_latency[kLogged]));
    const double waited = LockWait(b) - LockWait(a);
    point.shards.push_back({.samples_per_second = static_cast<float>(static_cast<double>(appended) / seconds),
                            .lock_wait = static_cast<float>(std::max(0.0, waited) / seconds),
                            .ring_bytes = static_cast<float>(b.ring_bytes_queued),
                            .log_bytes = static_cast<float>(b.wal_bytes_pinned)});
  }
  point.samples_per_second = static_cast<double>(samples) / seconds;
  point.write_p50 = Quantile(writes, 0.5);
  point.write_p99 = Quantile(writes, 0.99);
  point.select_p99 = Quantile(Increase(before.select_latency, now.select_latency), 0.99);
  point.memory_bytes = static_cast<double>(now.memory_used_bytes);
  return point;
}

}  // namespace

StatusHistory::StatusHistory(const Storage* storage, const StatusHistoryOptions& options)
    : storage_(storage), options_(options), started_ms_(options.clock->NowMs()) {}

StatusHistory::~StatusHistory() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void StatusHistory::Start() {
  Take();
  thread_ = std::thread([this] { Run(); });
}

void StatusHistory::Run() {
  auto next = std::chrono::steady_clock::now();
  for (;;) {
    next += options_.interval;
    {
      MutexLock lock(&mu_);
      while (!stopping_ && std::chrono::steady_clock::now() < next) wake_.WaitUntil(&mu_, next);
      if (stopping_) return;
    }
    Take();
  }
}

std::uint64_t StatusHistory::Refused(const StorageStats& stats) const {
  if (options_.refused) return options_.refused();
  std::uint64_t refused = 0;
  for (const ShardStats& shard : stats.shards) refused += shard.samples_refused;
  return refused;
}

void StatusHistory::Take() {
  StorageStats stats = storage_->Stats();
  const std::uint64_t refused = Refused(stats);
  const std::int64_t now_ms = options_.clock->NowMs();
  MutexLock lock(&mu_);
  if (now_ms == before_ms_) return;
  if (now_ms < before_ms_) {  // the clock was set back: times would no longer ascend
    points_.clear();
  } else if (before_ms_ != 0) {
    const double seconds = static_cast<double>(now_ms - before_ms_) / 1000;
    StatusPoint point = Between(before_, stats, seconds);
    point.refused_per_second = static_cast<double>(Increase(refused_before_, refused)) / seconds;
    point.time_ms = now_ms;
    points_.push_back(std::move(point));
    if (points_.size() > options_.points_max) points_.pop_front();
  }
  before_ = std::move(stats);
  refused_before_ = refused;
  before_ms_ = now_ms;
}

std::vector<StatusPoint> StatusHistory::Since(std::int64_t after_ms) const {
  MutexLock lock(&mu_);
  const auto first = std::upper_bound(points_.begin(), points_.end(), after_ms,
                                      [](std::int64_t ms, const StatusPoint& point) { return ms < point.time_ms; });
  return {first, points_.end()};
}

std::optional<StatusPoint> StatusHistory::Last() const {
  MutexLock lock(&mu_);
  if (points_.empty()) return std::nullopt;
  return points_.back();
}

}  // namespace chronolith::server

#include "ops/chunk_churn.h"

#include <algorithm>
#include <limits>

namespace chronolith::ops {
namespace {

std::int32_t Hour32(Timestamp t) {
  using Limits = std::numeric_limits<std::int32_t>;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(HourOf(t), Limits::min(), Limits::max()));
}

}  // namespace

void ChunkChurn::Add(const ChunkMeta& chunk) {
  if (chunk.ordinal >= series_.size()) return;  // of a checkpoint that was cut short: the log has its series
  if (seen_.empty() || chunk.window != window_) {
    window_ = chunk.window;
    seen_.push_back(&(*windows_)[window_]);
  }
  Life& life = series_[chunk.ordinal];
  const std::int32_t first = Hour32(chunk.min_time);
  const std::int32_t last = Hour32(chunk.max_time);
  if (life.last_window == 0) {
    ++seen_.back()->first;
    life.first_hour = first;
    life.last_hour = last;
  }
  life.first_hour = std::min(life.first_hour, first);
  life.last_hour = std::max(life.last_hour, last);
  if (life.last_window == seen_.size()) return;
  ++seen_.back()->active;
  life.last_window = static_cast<std::uint32_t>(seen_.size());
}

void ChunkChurn::End(bool complete) {
  for (const Life& life : series_) {
    if (life.last_window == 0) continue;
    ++(*hours_)[life.first_hour * kHourMs].first;
    if (!complete) continue;
    ++seen_[life.last_window - 1]->last;
    ++(*hours_)[life.last_hour * kHourMs].last;
  }
}

}  // namespace chronolith::ops

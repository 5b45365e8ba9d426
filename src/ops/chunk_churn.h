// When the series of a shard come and go, by the times that their stored chunks begin and end with: no sample is decoded.
#ifndef CHRONOLITH_OPS_CHUNK_CHURN_H_
#define CHRONOLITH_OPS_CHUNK_CHURN_H_

#include <cstdint>
#include <map>
#include <vector>

#include "chronolith/types.h"
#include "format/chunk_row.h"

namespace chronolith::ops {

// Series by the time window of their stored chunks.
struct WindowChurn {
  std::uint64_t active = 0;  // with chunks in it
  std::uint64_t first = 0;   // that have none before it
  std::uint64_t last = 0;    // that have none after it
};
// Series by the hour of their first and of their last stored sample.
struct HourChurn {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

inline constexpr std::int64_t kHourMs = 3'600'000;
// Whole hours since 1970, rounded down.
constexpr std::int64_t HourOf(std::int64_t ms) { return ms / kHourMs - (ms % kHourMs < 0 ? 1 : 0); }

// Takes the chunks of one shard in the order of their keys, which is window by window. Memory: kBytesPerSeries for each ordinal
// that was ever given out. Hours beyond 32 bits (the year 246,000) are told as the last that fits. Thread safety: one thread.
class ChunkChurn {
 public:
  static constexpr std::uint64_t kBytesPerSeries = 12;

  ChunkChurn(std::uint64_t ordinals, std::map<Timestamp, WindowChurn>* windows, std::map<std::int64_t, HourChurn>* hours)
      : series_(ordinals), windows_(windows), hours_(hours) {}

  void Add(const ChunkMeta& chunk);
  // After the last chunk. Not `complete`: chunks behind it could not be read, so nobody knows which of a series was its last.
  void End(bool complete);

 private:
  struct Life {
    std::uint32_t last_window = 0;  // 1 + its index in seen_; 0: no chunk yet
    std::int32_t first_hour = 0;
    std::int32_t last_hour = 0;
  };
  static_assert(sizeof(Life) == kBytesPerSeries);

  std::vector<Life> series_;
  std::map<Timestamp, WindowChurn>* const windows_;
  std::map<std::int64_t, HourChurn>* const hours_;  // by the hour's first millisecond
  std::vector<WindowChurn*> seen_;                  // of this shard
  Timestamp window_ = 0;                            // of seen_.back()
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_CHUNK_CHURN_H_

// What the threads of the crash test's writer do: a function of seed, thread and number. The writer does it and says only how far
// it has come; the checker knows the rest from here.
#ifndef CHRONOLITH_TESTS_CRASH_PLAN_H_
#define CHRONOLITH_TESTS_CRASH_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::crash {

inline constexpr std::uint32_t kWriters = 3;
inline constexpr std::uint32_t kUpkeep = kWriters;  // the thread that flushes, checkpoints and compacts
inline constexpr std::uint32_t kThreads = kWriters + 1;
inline constexpr Timestamp kT = 1'700'000'000'000;
inline constexpr Timestamp kStep = 1000;  // ms between two operations of a thread
inline constexpr const char* kOwner = "owner";
inline constexpr const char* kChecker = "checker";
inline constexpr const char* kShared = "shared";  // the owner of series that all threads write to

// The store of both processes. Tiny, so that checkpoints, trims, flushes and compactions follow each other closely.
inline Options StoreOptions() {
  Options options;
  options.shards = 2;
  options.window_ms = 20 * kStep;
  options.max_samples_per_chunk = 16;
  options.ring_bytes = 64 << 10;
  options.checkpoint_bytes = 64 << 10;
  options.checkpoint_interval_ms = 20;
  options.backpressure_wait_ms = 240'000;  // nobody is refused because the machine is slow
  options.sync_interval_ms = 3;
  options.memory_limit_bytes = 64 << 20;
  options.block_cache_bytes = 1 << 20;
  options.postings_cache_bytes = 1 << 20;
  options.background_threads = 2;
  return options;
}

// Every fourth series is one of native histograms: each is made of the value that a sample has in the plan and in the model, and
// comes with an exemplar of that time and value.
bool IsHistogram(const Labels& series);
Histogram HistogramOf(double value);
// What is written for samples of the plan: of a histogram series also its metadata, which tells the last value, all in one record.
TimeSeries AsWritten(const TimeSeries& planned);

// Of a value in the plan: whose it is, and the number of the operation.
std::uint32_t ThreadOf(double value);
std::uint64_t NumberOf(double value);

struct Op {
  enum class Kind { kWrite, kDelete, kFlush, kCheckpoint, kCompact };
  Kind kind = Kind::kWrite;
  AckLevel level = AckLevel::kSynced;
  // kWrite
  bool appender = false;           // through an Appender, not Storage::Write
  std::vector<TimeSeries> series;  // samples only: see AsWritten
  // kDelete
  std::vector<Matcher> matchers;
  TimeRange range;

  std::string ToString() const;
};

// Samples of a thread's own series may be overwritten and deleted, by that thread only; a timestamp of a shared series is written
// once. So what a series may hold is known from the order of one thread's operations.
Op PlanOp(std::uint64_t seed, std::uint32_t thread, std::uint64_t number);

// From the writer, over its standard output, one write(2) each: those of one thread arrive in order.
struct Message {
  enum class Kind : std::uint32_t {
    kOpened,     // the store is open
    kSend,       // the operation is about to be called
    kDone,       // it has succeeded, at its level
    kFailpoint,  // the armed failpoint is reached
    kFinished,   // all operations are done
    kClosed,     // and the store is closed
  };
  Kind kind = Kind::kOpened;
  std::uint32_t thread = 0;
  std::uint64_t number = 0;
};

}  // namespace chronolith::crash

#endif  // CHRONOLITH_TESTS_CRASH_PLAN_H_

// Adversary: the hostile half of the memory engine. It behaves as badly as the engine contract allows, repeatably from a seed, so
// that tests of the layers above meet every outcome that a real engine or a distributed store may produce.
#ifndef CHRONOLITH_PLUGINS_MEMORY_ADVERSARY_H_
#define CHRONOLITH_PLUGINS_MEMORY_ADVERSARY_H_

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "chronolith/status.h"

namespace chronolith {

enum class EngineMethod : std::uint8_t { kOpen, kWrite, kRead, kAcquireEpoch, kFlush, kSyncLog, kExpire, kCompact, kCopy };

enum class CrashKind : std::uint8_t {
  kKill,       // the process dies: logged rows survive, buffered ones do not
  kPowerLoss,  // the machine dies: synced rows survive, and an unpredictable prefix of the log behind them
};

struct AdversarialOptions {
  std::uint64_t seed = 1;
  // A batch that would succeed is kUnknown with this probability. A coin decides whether it was applied; if not, with
  // `late_writes` it may still be applied by a later write of the family, until the family's epoch is raised or power is lost.
  double unknown_write_probability = 0;
  bool late_writes = false;
  // A batch of a write with no_stall is refused (kResourceExhausted) with this probability, each for itself.
  double stall_probability = 0;
  // With this probability a family persists its buffered rows after a write by itself, as an engine with a full buffer does.
  double spontaneous_flush_probability = 0;
  // A crash keeps a random prefix of each family's buffered rows, of each family another: they had been persisted early.
  bool persist_random_prefix = true;
  // WriteAsync only queues; MemoryEngineFactory::CompleteAsync, a Write or Close applies.
  bool defer_async = false;
  // A second Open of the same path succeeds, as in a distributed store: only epochs keep the writers apart.
  bool allow_several_writers = false;
  // Runs before each call of an engine, without any lock: may wait (latency) or crash the engine; an error is the call's result
  // and nothing is applied, except that after kUnknown a coin decides.
  std::function<Status(EngineMethod method, const std::string& path)> on_call;
};

// Thread safety: all methods may be called concurrently.
class Adversary {
 public:
  // What is to happen to a call.
  struct Verdict {
    Status status;       // of the call
    bool crash = false;  // half-way through it
    CrashKind kind = CrashKind::kKill;
  };

  Adversary(bool hostile, AdversarialOptions options) : hostile_(hostile), options_(std::move(options)), random_(options_.seed) {}

  bool hostile() const { return hostile_; }
  const AdversarialOptions& options() const { return options_; }

  // The `nth` call (1: the next one) of `method` from now on fails with `status`.
  void FailCall(EngineMethod method, std::uint64_t nth, Status status);
  // The `nth` call of `method` from now on is cut off by a crash of that instance: a write has applied any subset of its batches,
  // a flush has persisted any subset of its families.
  void CrashDuringCall(EngineMethod method, std::uint64_t nth, CrashKind kind);
  // Of both, those that no call has met yet.
  void ForgetFaults();

  Verdict BeforeCall(EngineMethod method, const std::string& path);
  bool Chance(double probability);
  std::uint64_t Below(std::uint64_t bound);  // uniform in [0, bound); 0 for bound 0
  // 0..n-1 in random order; in order where the engine is not hostile.
  std::vector<std::size_t> Order(std::size_t n);

 private:
  struct Fault {
    EngineMethod method;
    std::uint64_t calls_left;
    Verdict verdict;
  };

  const bool hostile_;
  const AdversarialOptions options_;
  Mutex mu_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mu_);
  std::vector<Fault> faults_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_MEMORY_ADVERSARY_H_

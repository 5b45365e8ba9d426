// Scrubber: the scrubs of an open store, in the background and as the host asks for them, one pass at a time.
//
// The background has a thread of its own. The upkeep thread would be late for a checkpoint by as long as a read takes on a disk
// that fails, and where checkpoints follow each other closely it would never come to it. The thread waits most of the time: it
// takes a place in the host's ThreadBudget only while it reads.
//
// A pass in the background goes on where it was stopped, also by a restart: its position is stored when it stops and once a minute,
// beside what the last complete pass found (format/scrub_state.h). So a store that never stays open for long is scrubbed all the
// same. Where the host asks for a pass, the one in the background waits, and is dropped where that one was complete.
//
// Thread safety: all methods may be called concurrently.
#ifndef CHRONOLITH_STORAGE_SCRUB_H_
#define CHRONOLITH_STORAGE_SCRUB_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "chronolith/options.h"
#include "chronolith/storage.h"
#include "format/scrub_state.h"
#include "storage/scrub_pass.h"

namespace chronolith {

class Scrubber {
 public:
  // The options, with their defaults filled in, outlive it.
  Scrubber(ScrubSubject subject, const Options& options);
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // Begins the passes in the background, if the options want any.
  void Start();
  // Storage::Scrub.
  Result<ScrubReport> Run(const ScrubOptions& options);
  // From here on passes end within what it takes to read a piece, and none begins.
  void End();
  // And waits for the thread.
  void Stop();

  void FillStats(StorageStats* stats) const;

  // The row of a new store: its creation counts as a pass.
  static std::string InitialState(std::int64_t now_ms);

 private:
  class Watcher;

  void Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Loop();
  std::int64_t WaitMs(std::int64_t now_ms) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);  // until the next pass in the background; 0: now
  void RunInBackground();
  bool MustStop(bool background) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ended_ || (background && wanted_); }
  void Finish(ScrubPass pass);
  void Save();
  void Note(const ScrubProblem& problem);
  void Log(LogLevel level, const std::string& message) const;

  const ScrubSubject subject_;
  const Options& options_;
  const std::uint64_t steps_;

  mutable Mutex mu_;
  CondVar cv_;  // wakes whoever waits below, for time to pass as well
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;    // a pass goes on
  bool wanted_ ABSL_GUARDED_BY(mu_) = false;  // the host wants one, or has one
  std::atomic<bool> stop_{false};             // as MustStop says of the pass that goes on
  // When the one in the background ended early though nobody wanted it to.
  std::optional<std::int64_t> cut_short_ms_ ABSL_GUARDED_BY(mu_);
  ScrubState state_ ABSL_GUARDED_BY(mu_);
  double progress_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // since open
  std::uint64_t rows_ ABSL_GUARDED_BY(mu_) = 0;
  // What was found since open, each once.
  std::set<std::string> told_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> problems_ ABSL_GUARDED_BY(mu_);
  std::uint64_t shared_errors_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::uint64_t> shard_errors_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> shard_damage_ ABSL_GUARDED_BY(mu_);  // the first of each

  std::thread thread_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_SCRUB_H_

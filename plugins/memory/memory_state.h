// What a path holds in the memory engine, and what of it a crash leaves. This is where durability is modelled:
//
//   durable            the flushed image: survives everything
//   pending            the batches since, oldest first, each logged (with its place in the instance's log) or only buffered
//   live               durable with all of pending applied: what readers see
//
// Flush makes durable = live and empties pending. A kill drops the pending batches that were not logged; a power loss also those
// behind an unpredictable place at or after the last sync.
#ifndef CHRONOLITH_PLUGINS_MEMORY_MEMORY_STATE_H_
#define CHRONOLITH_PLUGINS_MEMORY_MEMORY_STATE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "chronolith/kv_engine.h"
#include "plugins/memory/adversary.h"
#include "plugins/memory/persistent_map.h"

namespace chronolith {

// A batch that owns its bytes.
struct OwnedBatch {
  struct Operation {
    Op::Type type;
    std::string key;
    std::string end;    // of a range
    MapValuePtr value;  // of a put or merge
  };
  std::vector<Operation> ops;
  std::uint64_t bytes = 0;
  std::uint64_t log_number = 0;  // place in the log; 0: not logged
};
OwnedBatch CopyBatch(const Batch& batch);

// Thread safety: guarded by the mutex of its instance.
class MemoryFamily {
 public:
  explicit MemoryFamily(std::string family_name) : name(std::move(family_name)) {}

  void Apply(OwnedBatch batch);  // to live; pending until a flush
  void Flush();
  // Rows that survive power loss now, given how far the log is synced.
  PersistentMap Durable(std::uint64_t synced_log_number) const;
  // Persists the first `persisted` pending batches, keeps those logged up to `log_number`, forgets the rest.
  void Crash(std::uint64_t persisted, std::uint64_t log_number);
  // Applies, or forgets, the late batches; see AdversarialOptions::late_writes.
  void ApplyLate(Adversary* adversary, bool forget_rest);

  std::string name;
  Epoch epoch = 0;
  std::shared_ptr<const MergeFunction> merge;
  PersistentMap live;
  PersistentMap durable;
  std::deque<OwnedBatch> pending;
  std::uint64_t pending_bytes = 0;
  std::vector<OwnedBatch> late;

 private:
  void ApplyTo(PersistentMap* map, const OwnedBatch& batch) const;
};

// All families of one path. Outlives the engines that are opened on it. Thread safety: as the annotations say.
struct MemoryInstance {
  Mutex mu;
  std::map<std::string, std::unique_ptr<MemoryFamily>> families ABSL_GUARDED_BY(mu);
  std::uint64_t log_number ABSL_GUARDED_BY(mu) = 0;         // of the last logged batch
  std::uint64_t synced_log_number ABSL_GUARDED_BY(mu) = 0;  // log up to here survives power loss
  std::uint64_t incarnation ABSL_GUARDED_BY(mu) = 0;        // raised by a crash: engines of an earlier one are dead
  int writers ABSL_GUARDED_BY(mu) = 0;

  // `keep_prefix`: see AdversarialOptions::persist_random_prefix.
  void Crash(CrashKind kind, bool keep_prefix, Adversary* adversary) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // A new instance with what is here now (`survivors_only`: what a kill would leave), all of it durable.
  std::shared_ptr<MemoryInstance> Copy(bool survivors_only) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_MEMORY_MEMORY_STATE_H_

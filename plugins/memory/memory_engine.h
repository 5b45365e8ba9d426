// The memory engine: ordered maps behind the engine contract. It is the reference model that the other engines are compared with,
// and the test double of the layers above: what a path holds lives in the factory, so that a test can close or crash an engine and
// open the path again.
//
// Durability is real: kBuffered rows are lost by Close and by a crash unless they were flushed, kLogged rows survive a kill but not
// a power loss, kSynced rows survive both. All capabilities are there. WriteAsync runs inline, unless the adversary defers it.
#ifndef CHRONOLITH_PLUGINS_MEMORY_MEMORY_ENGINE_H_
#define CHRONOLITH_PLUGINS_MEMORY_MEMORY_ENGINE_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "chronolith/kv_engine.h"
#include "plugins/memory/adversary.h"
#include "plugins/memory/memory_state.h"

namespace chronolith {

class MemoryEngine;

// Holds all instances and family exports that engines opened by it have made. Make it with one of the functions below: engines
// share its ownership.
// Thread safety: all methods may be called concurrently.
class MemoryEngineFactory : public EngineFactory, public std::enable_shared_from_this<MemoryEngineFactory> {
 public:
  MemoryEngineFactory() : adversary_(false, {}) {}
  explicit MemoryEngineFactory(AdversarialOptions options) : adversary_(true, std::move(options)) {}

  std::string_view Name() const override { return "memory"; }
  // options.extra has no settings here.
  Result<std::unique_ptr<KvEngine>> Open(const std::string& path, const EngineOptions& options) override;

  // For tests. A crash kills the engines that have the path open: their calls return kIoError from then on, and the path can be
  // opened again. CrashAll crashes every path at once, as the death of a process or a machine does.
  Status Crash(const std::string& path, CrashKind kind);
  void CrashAll(CrashKind kind);
  void FailCall(EngineMethod method, std::uint64_t nth, Status status) { adversary_.FailCall(method, nth, std::move(status)); }
  void CrashDuringCall(EngineMethod method, std::uint64_t nth, CrashKind kind) { adversary_.CrashDuringCall(method, nth, kind); }
  void ForgetFaults() { adversary_.ForgetFaults(); }
  // Applies at most `limit` of the asynchronous writes that AdversarialOptions::defer_async holds back, of all engines, in order;
  // returns how many.
  std::size_t CompleteAsync(std::size_t limit = SIZE_MAX);
  // Damages a stored value on the quiet, as a bad disk does: flips bit `bit` (modulo its length).
  Status FlipBit(const std::string& path, const std::string& family, std::string_view key, std::size_t bit);

 private:
  friend class MemoryEngine;
  std::shared_ptr<MemoryInstance> FindInstance(const std::string& path);
  Status AddInstance(const std::string& path, std::shared_ptr<MemoryInstance> instance);

  Adversary adversary_;
  Mutex mu_;
  std::map<std::string, std::shared_ptr<MemoryInstance>> instances_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, PersistentMap> exports_ ABSL_GUARDED_BY(mu_);
  Mutex engines_mu_;  // apart, because callbacks run under it
  std::vector<MemoryEngine*> engines_ ABSL_GUARDED_BY(engines_mu_);
};

std::shared_ptr<EngineFactory> MakeMemoryEngineFactory();
std::shared_ptr<MemoryEngineFactory> MakeAdversarialMemoryEngineFactory(AdversarialOptions options);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_MEMORY_MEMORY_ENGINE_H_

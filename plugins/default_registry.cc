// The engines that this build contains.
#include "chronolith/engine_registry.h"
#include "plugins/memory/memory_engine.h"
#ifdef CHRONOLITH_HAS_ROCKSDB
#include "plugins/rocksdb/rocksdb_engine.h"
#endif

namespace chronolith {

std::shared_ptr<EngineRegistry> EngineRegistry::Default() {
  auto registry = std::make_shared<EngineRegistry>();
  // The names differ, so registering cannot fail.
  (void)registry->Register(MakeMemoryEngineFactory());
#ifdef CHRONOLITH_HAS_ROCKSDB
  (void)registry->Register(MakeRocksDbEngineFactory());
#endif
  return registry;
}

}  // namespace chronolith

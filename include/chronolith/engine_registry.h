// EngineRegistry: name -> storage engine. There is no global registry: Options carry one, and the default holds "rocksdb" and
// "memory".
#ifndef CHRONOLITH_ENGINE_REGISTRY_H_
#define CHRONOLITH_ENGINE_REGISTRY_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/export.h"
#include "chronolith/kv_engine.h"

namespace chronolith {

// Thread safety: const methods may be called concurrently; Register must not race with them.
class CHRONOLITH_EXPORT EngineRegistry {
 public:
  // kAlreadyExists where the factory's name is taken.
  Status Register(std::shared_ptr<EngineFactory> factory);
  // kNotFound, listing the names there are.
  Result<std::shared_ptr<EngineFactory>> Find(std::string_view name) const;
  std::vector<std::string> Names() const;

  // A registry with the engines that this build contains.
  static std::shared_ptr<EngineRegistry> Default();

 private:
  std::map<std::string, std::shared_ptr<EngineFactory>, std::less<>> factories_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_ENGINE_REGISTRY_H_

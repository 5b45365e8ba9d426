// The engines of this build, as parameters of tests; a build without RocksDB has only the memory engine.
#ifndef CHRONOLITH_TESTS_SUPPORT_ENGINES_H_
#define CHRONOLITH_TESTS_SUPPORT_ENGINES_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "chronolith/engine_registry.h"

namespace chronolith {

inline auto AllEngines() { return testing::ValuesIn(EngineRegistry::Default()->Names()); }

// Those whose instances are directories, which any process can look into. There may be none: a suite over them is allowed to have
// no instance (GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST).
inline auto EnginesWithDirectories() {
  std::vector<std::string> names = EngineRegistry::Default()->Names();
  std::erase(names, "memory");
  return testing::ValuesIn(names);
}

inline std::string EngineName(const testing::TestParamInfo<std::string>& info) { return info.param; }

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_ENGINES_H_

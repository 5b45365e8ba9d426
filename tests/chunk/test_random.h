// The seed of random tests: printed, and taken from CHRONOLITH_TEST_SEED where that is set, so that a failure can be run again.
#ifndef CHRONOLITH_TESTS_CHUNK_TEST_RANDOM_H_
#define CHRONOLITH_TESTS_CHUNK_TEST_RANDOM_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace chronolith {

inline std::uint64_t TestSeed() {
  const char* given = std::getenv("CHRONOLITH_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("CHRONOLITH_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CHUNK_TEST_RANDOM_H_

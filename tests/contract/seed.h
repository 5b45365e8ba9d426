// The seed of a random test: CHRONOLITH_TEST_SEED, or a new one, printed so that a failure can be repeated.
#ifndef CHRONOLITH_TESTS_CONTRACT_SEED_H_
#define CHRONOLITH_TESTS_CONTRACT_SEED_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace chronolith {

inline std::uint64_t TestSeed() {
  const char* from_environment = std::getenv("CHRONOLITH_TEST_SEED");
  const std::uint64_t seed = from_environment != nullptr ? std::strtoull(from_environment, nullptr, 10) : std::random_device{}();
  std::printf("CHRONOLITH_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CONTRACT_SEED_H_

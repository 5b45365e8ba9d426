// Ranges of seeds or trials, so that a long run can be cut into pieces and taken up again: `--seeds 501-20000`.
#ifndef CHRONOLITH_TESTS_SUPPORT_NUMBER_RANGE_H_
#define CHRONOLITH_TESTS_SUPPORT_NUMBER_RANGE_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace chronolith {

struct NumberRange {
  std::uint64_t first = 1;
  std::uint64_t last = 1;
};

// What `flag` says ("A-B", or "N" for 1-N); else the one seed in CHRONOLITH_TEST_SEED; else `full` where CHRONOLITH_TEST_FULL is
// set; else `usual`. Exits where the flag is malformed.
inline NumberRange RangeOf(int argc, char** argv, std::string_view flag, NumberRange usual, NumberRange full) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (argv[i] != flag) continue;
    char* end = nullptr;
    NumberRange range{1, std::strtoull(argv[i + 1], &end, 10)};
    if (*end == '-') range = {range.last, std::strtoull(end + 1, &end, 10)};
    if (*end == '\0' && range.first <= range.last) return range;
    std::fprintf(stderr, "%s takes A-B or N, not '%s'\n", argv[i], argv[i + 1]);
    std::exit(2);
  }
  if (const char* seed = std::getenv("CHRONOLITH_TEST_SEED")) {
    const std::uint64_t one = std::strtoull(seed, nullptr, 10);
    return {one, one};
  }
  return std::getenv("CHRONOLITH_TEST_FULL") != nullptr ? full : usual;
}

// One number: what `flag` says, else `full` where CHRONOLITH_TEST_FULL is set, else `usual`.
inline std::uint64_t NumberOf(int argc, char** argv, std::string_view flag, std::uint64_t usual, std::uint64_t full) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (argv[i] == flag) return std::strtoull(argv[i + 1], nullptr, 10);
  }
  return std::getenv("CHRONOLITH_TEST_FULL") != nullptr ? full : usual;
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_NUMBER_RANGE_H_

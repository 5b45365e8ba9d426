// FUZZ_CHECK(condition): aborts, in every kind of build, where a promise of the code under test does not hold.
#ifndef CHRONOLITH_TESTS_FUZZ_FUZZ_CHECK_H_
#define CHRONOLITH_TESTS_FUZZ_FUZZ_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#define FUZZ_CHECK(condition)                                                             \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace chronolith {

inline std::string_view FuzzBytes(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_FUZZ_FUZZ_CHECK_H_

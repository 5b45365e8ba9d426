// CHILD_CHECK: an assertion of a child process, whose GoogleTest nobody hears: prints and makes the function return 1.
#ifndef CHRONOLITH_TESTS_SUPPORT_CHILD_CHECK_H_
#define CHRONOLITH_TESTS_SUPPORT_CHILD_CHECK_H_

#include <cstdio>
#include <string>

#define CHILD_CHECK(condition, text)                                                                      \
  do {                                                                                                    \
    if (!(condition)) {                                                                                   \
      std::fprintf(stderr, "%s:%d: " #condition ": %s\n", __FILE__, __LINE__, std::string(text).c_str()); \
      return 1;                                                                                           \
    }                                                                                                     \
  } while (false)

#endif  // CHRONOLITH_TESTS_SUPPORT_CHILD_CHECK_H_

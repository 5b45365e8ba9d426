// For a test that this machine cannot run: it lacks a right or a facility, which in CI it must not.
#ifndef CHRONOLITH_TESTS_SUPPORT_SKIP_H_
#define CHRONOLITH_TESTS_SUPPORT_SKIP_H_

#include <gtest/gtest.h>

#include <cstdlib>

// Ends the test: skipped, or failed where the environment variable CI is set. Not for what an engine does not have: that is
// GTEST_SKIP everywhere.
#define CHRONOLITH_SKIP_HERE(why)                                                                   \
  do {                                                                                              \
    if (std::getenv("CI") != nullptr) FAIL() << (why) << ": CI is set, so nothing may be left out"; \
    GTEST_SKIP() << (why);                                                                          \
  } while (false)

#endif  // CHRONOLITH_TESTS_SUPPORT_SKIP_H_

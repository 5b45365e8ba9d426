// Whether a thread of this process has come to wait: for tests of waiters, which must not begin before there is one.
#ifndef CHRONOLITH_TESTS_SUPPORT_SLEEPS_H_
#define CHRONOLITH_TESTS_SUPPORT_SLEEPS_H_

#include <sys/types.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

namespace chronolith::testing_support {

inline bool Sleeps(pid_t thread) {
  std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(in, stat);
  const std::size_t name_end = stat.rfind(')');  // "id (name) state ..."
  return name_end != std::string::npos && stat.substr(name_end + 2, 1) == "S";
}

// Returns when the thread, which stores its gettid() last thing before it may have to wait, sleeps.
inline void AwaitSleep(const std::atomic<pid_t>& thread) {
  while (thread == 0 || !Sleeps(thread)) std::this_thread::yield();
}

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_SLEEPS_H_

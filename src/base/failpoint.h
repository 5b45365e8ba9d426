// CHRONOLITH_FAILPOINT("layer.step"): a place with a name, where tests/crash stops the process. It stands before or after a step
// that a crash may cut off from its neighbours.
//
// Nothing is left of it in the library: only the writer of tests/crash compiles the sources with failpoints once more, with
// CHRONOLITH_FAILPOINTS, and defines ReachedFailpoint. The names of all places of that program lie in a section of their own, so
// none can be forgotten by the test. For functions that are neither inline nor templates.
#ifndef CHRONOLITH_BASE_FAILPOINT_H_
#define CHRONOLITH_BASE_FAILPOINT_H_

#ifdef CHRONOLITH_FAILPOINTS

namespace chronolith {
void ReachedFailpoint(const char* name);  // any thread, with whatever locks the place is under
}  // namespace chronolith

#define CHRONOLITH_FAILPOINT(name)                                                                     \
  do {                                                                                                 \
    static const char* const failpoint __attribute__((used, section("chronolith_failpoints"))) = name; \
    ::chronolith::ReachedFailpoint(failpoint);                                                         \
  } while (false)

#else
#define CHRONOLITH_FAILPOINT(name) static_cast<void>(0)
#endif

#endif  // CHRONOLITH_BASE_FAILPOINT_H_

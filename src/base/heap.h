// What the C library's allocator keeps of what was freed.
#ifndef CHRONOLITH_BASE_HEAP_H_
#define CHRONOLITH_BASE_HEAP_H_

#include <cstdint>

namespace chronolith {

// Gives freed memory back to the system where the process's resident memory (without mapped files) lies above `limit` bytes and what
// the allocator has not given out of it has grown by a sixteenth of the limit since that was last done. True where it tried. glibc
// keeps what is freed in an arena for each few threads, up to the peak of each, for ever: the arenas of those who write are freed into
// by a checkpoint. To return it takes time, and page faults later, so it is not done below the limit, nor again for what
// cannot be returned: fragments, and memory of the host's that is not the allocator's. Nothing is done with another C library.
// Thread safety: safe; allocations of an arena wait while it is gone through.
bool ReturnFreedMemory(std::uint64_t limit);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_HEAP_H_

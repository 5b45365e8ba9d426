// gzip and zlib bodies, decoded within bounds.
#ifndef CHRONOLITH_SERVER_INFLATE_H_
#define CHRONOLITH_SERVER_INFLATE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/memory_share.h"
#include "chronolith/status.h"

namespace chronolith::server {

// Both formats, told apart by their first bytes; *out is replaced. `share` grows before *out does, twice as much each time, so that
// what the lengths inside say does not matter. kInvalidArgument: not whole, or more than one stream; kFailedPrecondition: more than
// `bytes_max` when decoded, or than all the memory there is; kResourceExhausted: others have it.
Status Inflate(std::string_view compressed, std::uint64_t bytes_max, MemoryShare* share, std::string* out);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_INFLATE_H_

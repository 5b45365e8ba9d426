// The compression of remote write and remote read: snappy's block format, which has the decoded length in front.
#ifndef CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_
#define CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith::interop {

// The length that `block` claims to decode to, to be looked at before there is memory for it. kInvalidArgument: it claims none;
// kResourceExhausted: more than `bytes_max`.
Result<std::uint64_t> DecodedLength(std::string_view block, std::uint64_t bytes_max);
// `out` has room for just that length. kInvalidArgument: malformed.
Status UncompressTo(std::string_view block, char* out);

// What CompressBlock takes at most while it is at work.
std::uint64_t CompressedBytesMax(std::uint64_t bytes);
std::string CompressBlock(std::string_view bytes);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_

// The compression of remote write and remote read: snappy's block format, which has the decoded length in front.
#ifndef CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_
#define CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith::interop {

// *out is replaced. Looks at the length that `block` claims before it takes memory for it: kResourceExhausted where that is beyond
// `bytes_max`. kInvalidArgument: malformed.
Status UncompressBlock(std::string_view block, std::uint64_t bytes_max, std::string* out);

std::string CompressBlock(std::string_view bytes);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_COMPRESSION_H_

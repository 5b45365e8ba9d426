#include "interop/remote_compression.h"

#include <snappy.h>

namespace chronolith::interop {

Result<std::uint64_t> DecodedLength(std::string_view block, std::uint64_t bytes_max) {
  std::size_t length = 0;
  if (!snappy::GetUncompressedLength(block.data(), block.size(), &length)) return InvalidArgument("the body is no snappy block");
  if (length > bytes_max) {
    return ResourceExhausted("the body decodes to " + std::to_string(length) + " bytes, the limit is " + std::to_string(bytes_max));
  }
  return std::uint64_t{length};
}

Status UncompressTo(std::string_view block, char* out) {
  if (!snappy::RawUncompress(block.data(), block.size(), out)) return InvalidArgument("the body is a malformed snappy block");
  return Status::Ok();
}

std::uint64_t CompressedBytesMax(std::uint64_t bytes) { return snappy::MaxCompressedLength(bytes); }

std::string CompressBlock(std::string_view bytes) {
  std::string out;
  snappy::Compress(bytes.data(), bytes.size(), &out);
  return out;
}

}  // namespace chronolith::interop

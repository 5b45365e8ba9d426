#include "server/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace chronolith::server {
namespace {

constexpr std::uint64_t kFirstBytes = 64 << 10;

// Thread safety: one thread.
class Stream {
 public:
  Stream() { ready_ = inflateInit2(&z_, 15 + 32) == Z_OK; }  // 32: either format
  ~Stream() {
    if (ready_) inflateEnd(&z_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  bool ready() const { return ready_; }
  z_stream& z() { return z_; }

 private:
  z_stream z_{};
  bool ready_ = false;
};

}  // namespace

Status Inflate(std::string_view compressed, std::uint64_t bytes_max, MemoryShare* share, std::string* out) {
  Stream stream;
  if (!stream.ready()) return ResourceExhausted("no memory to decompress the body");
  if (compressed.size() > std::numeric_limits<uInt>::max()) return InvalidArgument("the body is too long");
  z_stream& z = stream.z();
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  z.avail_in = static_cast<uInt>(compressed.size());
  out->clear();
  std::uint64_t used = 0;
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    if (used == out->size()) {
      // One byte more than is allowed, to see whether there is one.
      const std::uint64_t size = std::min(std::max(kFirstBytes, used * 2), bytes_max + 1);
      if (used == size)
        return FailedPrecondition("the body decodes to more than " + std::to_string(bytes_max) +
                                  " bytes; raise --max-decoded-bytes");
      // Both are there while one is copied to the other.
      if (!share->Grow(size)) return share->refusal();
      out->resize(size);
      share->ShrinkTo(share->bytes() - used);
    }
    z.next_out = reinterpret_cast<Bytef*>(out->data() + used);
    z.avail_out = static_cast<uInt>(out->size() - used);
    const uInt before = z.avail_out;
    result = inflate(&z, Z_NO_FLUSH);
    used += before - z.avail_out;
    if (result != Z_OK && result != Z_STREAM_END) return InvalidArgument("the compressed body is malformed or cut off");
  }
  if (z.avail_in != 0) return InvalidArgument("there are bytes behind the compressed body");
  if (used > bytes_max)
    return FailedPrecondition("the body decodes to more than " + std::to_string(bytes_max) + " bytes; raise --max-decoded-bytes");
  out->resize(used);
  return Status::Ok();
}

}  // namespace chronolith::server

// gzip and zlib bodies: any bytes decode within their bound and their memory to what zlib makes of them at once, or are refused;
// and any bytes come back from both formats.
#include <zlib.h>

#include <string>

#include "server/inflate.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;
using namespace chronolith::server;

namespace {

constexpr std::uint64_t kBytesMax = 200'000, kMemory = 150'000;

std::string AtOnce(std::string_view bytes) {
  z_stream z{};
  FUZZ_CHECK(inflateInit2(&z, 15 + 32) == Z_OK);
  std::string out(kBytesMax, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  FUZZ_CHECK(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0);
  out.resize(z.total_out);
  inflateEnd(&z);
  return out;
}

std::string Deflated(std::string_view bytes, int window_bits) {
  z_stream z{};
  FUZZ_CHECK(deflateInit2(&z, 1, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  MemoryBudget budget(kMemory);
  {
    MemoryShare share(&budget);
    std::string out;
    const Status status = Inflate(bytes, kBytesMax, &share, &out);
    FUZZ_CHECK(budget.used_bytes() <= kMemory);
    if (status.ok()) {
      FUZZ_CHECK(out.size() <= share.bytes() && out == AtOnce(bytes));
    } else {
      FUZZ_CHECK(status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kFailedPrecondition);
    }
  }
  for (const int window_bits : {15, 31}) {
    MemoryShare share(&budget), other(&budget);
    std::string out;
    const Status status = Inflate(Deflated(bytes, window_bits), size, &share, &out);
    FUZZ_CHECK(size + 1 > kMemory || (status.ok() && out == bytes));
    share.ShrinkTo(0);
    if (size == 0) continue;
    FUZZ_CHECK(!Inflate(Deflated(bytes, window_bits), size - 1, &other, &out).ok());
  }
  FUZZ_CHECK(budget.used_bytes() == 0);
  return 0;
}

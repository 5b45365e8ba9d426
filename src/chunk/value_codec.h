// Pieces that the histogram and exemplar chunks share: their header, and doubles XORed with the one before, in whole bytes.
#ifndef CHRONOLITH_CHUNK_VALUE_CODEC_H_
#define CHRONOLITH_CHUNK_VALUE_CODEC_H_

#include <bit>
#include <cstdint>
#include <string>

#include "base/coding.h"
#include "chronolith/status.h"

namespace chronolith {

// Header of both: version byte | fixed32 number of entries, raised in place by each append, so that the bytes are a whole chunk at
// any moment.
inline constexpr std::size_t kCountedHeaderBytes = 5;

inline void StoreCountedHeader(std::uint8_t version, std::uint32_t count, std::string* chunk) {
  if (chunk->size() < kCountedHeaderBytes) chunk->resize(kCountedHeaderBytes);
  (*chunk)[0] = static_cast<char>(version);
  StoreFixed(chunk->data() + 1, count);
}

// kDataLoss where there is no whole header, kFailedPrecondition for a version that is not `version`. `what` names the format.
inline Status ReadCountedHeader(const char* what, std::uint8_t version, ByteReader* in, std::uint32_t* count) {
  const auto found = in->Fixed<std::uint8_t>();
  if (!in->ok()) return DataLoss(std::string(what) + " is empty");
  if (found == 0) return DataLoss(std::string(what) + " has version 0");
  if (found != version) {
    return FailedPrecondition(std::string(what) + " has version " + std::to_string(found) + "; this build reads up to version " +
                              std::to_string(version));
  }
  *count = in->Fixed<std::uint32_t>();
  return in->ok() ? Status::Ok() : DataLoss(std::string(what) + " is shorter than its header");
}

inline constexpr std::size_t kMaxXorBytes = 9;

// 0 as the byte 0, else: zero bytes behind (0..7) << 4 | number of bytes (1..8), and those bytes, least significant first. Counts
// that are held in doubles change in their upper bytes only.
inline void PutXorBytes(std::string* to, std::uint64_t x) {
  if (x == 0) {
    to->push_back('\0');
    return;
  }
  const int behind = std::countr_zero(x) / 8;
  const int bytes = 8 - behind - std::countl_zero(x) / 8;
  char out[kMaxXorBytes];
  out[0] = static_cast<char>(behind << 4 | bytes);
  StoreFixed(out + 1, x >> (8 * behind));
  to->append(out, 1 + static_cast<std::size_t>(bytes));
}

inline std::uint64_t ReadXorBytes(ByteReader* in) {
  const auto control = in->Fixed<std::uint8_t>();
  if (control == 0) return 0;
  const unsigned behind = control >> 4, bytes = control & 15;
  if (bytes == 0 || behind + bytes > 8) {
    in->Fail();
    return 0;
  }
  const std::string_view given = in->Bytes(bytes);
  std::uint64_t x = 0;
  for (std::size_t i = given.size(); i-- > 0;) x = x << 8 | static_cast<unsigned char>(given[i]);
  return x << (8 * behind);
}

// Wraps around, so any order and any distance comes back.
class TimeCodec {
 public:
  // The first timestamp as it is, the second as a delta, the later ones as deltas of deltas; zigzag varints.
  void Put(std::int64_t t, std::string* to) {
    const std::uint64_t delta = static_cast<std::uint64_t>(t) - t_;
    PutZigZag(to, static_cast<std::int64_t>(delta - delta_));
    Advance(static_cast<std::uint64_t>(t), delta);
  }
  std::int64_t Read(ByteReader* in) {
    const std::uint64_t delta = delta_ + static_cast<std::uint64_t>(in->SignedVarint());
    Advance(t_ + delta, delta);
    return static_cast<std::int64_t>(t_);
  }

 private:
  void Advance(std::uint64_t t, std::uint64_t delta) {
    t_ = t;
    delta_ = first_ ? 0 : delta;
    first_ = false;
  }
  std::uint64_t t_ = 0;
  std::uint64_t delta_ = 0;
  bool first_ = true;
};

}  // namespace chronolith

#endif  // CHRONOLITH_CHUNK_VALUE_CODEC_H_

// Integers as bytes: little-endian fixed, LEB128 varints (as in Protocol Buffers), zigzag, and big-endian forms whose byte order is
// the numeric order (for keys). Readers never read past `limit` and report malformed input as false / nullptr.
#ifndef CHRONOLITH_BASE_CODING_H_
#define CHRONOLITH_BASE_CODING_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace chronolith {

static_assert(std::endian::native == std::endian::little, "x86-64 and arm64 are supported");

inline constexpr int kMaxVarint64Bytes = 10;

template <typename T>
inline void StoreFixed(char* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}
template <typename T>
inline T LoadFixed(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
inline void PutFixed32(std::string* to, std::uint32_t v) { to->append(reinterpret_cast<const char*>(&v), sizeof(v)); }
inline void PutFixed64(std::string* to, std::uint64_t v) { to->append(reinterpret_cast<const char*>(&v), sizeof(v)); }

// Writes at most kMaxVarint64Bytes; returns the first byte behind.
inline char* EncodeVarint(char* to, std::uint64_t v) {
  while (v >= 0x80) {
    *to++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *to++ = static_cast<char>(v);
  return to;
}
inline void PutVarint(std::string* to, std::uint64_t v) {
  char buffer[kMaxVarint64Bytes];
  to->append(buffer, static_cast<std::size_t>(EncodeVarint(buffer, v) - buffer));
}
inline constexpr std::uint64_t ZigZag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
inline constexpr std::int64_t UnZigZag(std::uint64_t v) {
  return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1);
}
inline void PutZigZag(std::string* to, std::int64_t v) { PutVarint(to, ZigZag(v)); }
inline void PutBytes(std::string* to, std::string_view bytes) {
  PutVarint(to, bytes.size());
  to->append(bytes);
}

// Returns the byte behind the varint, or nullptr where it is cut off or longer than 64 bits.
inline const char* DecodeVarint(const char* from, const char* limit, std::uint64_t* v) {
  if (from < limit && static_cast<unsigned char>(*from) < 0x80) {
    *v = static_cast<unsigned char>(*from);
    return from + 1;
  }
  std::uint64_t result = 0;
  for (int shift = 0; shift <= 63 && from < limit; shift += 7) {
    const auto byte = static_cast<unsigned char>(*from++);
    if (shift == 63 && byte > 1) return nullptr;
    result |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *v = result;
      return from;
    }
  }
  return nullptr;
}

// Big-endian: bytewise order of the encoding is numeric order.
template <typename T>
inline void StoreBigEndian(char* to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<char>(value >> (8 * (sizeof(T) - 1 - i)));
}
template <typename T>
inline T LoadBigEndian(const char* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((value << 8) | static_cast<unsigned char>(from[i]));
  return value;
}
inline void PutBigEndian32(std::string* to, std::uint32_t v) {
  char b[4];
  StoreBigEndian(b, v);
  to->append(b, 4);
}
inline void PutBigEndian64(std::string* to, std::uint64_t v) {
  char b[8];
  StoreBigEndian(b, v);
  to->append(b, 8);
}
// Signed order: the sign bit is flipped.
inline constexpr std::uint64_t OrderedInt64(std::int64_t v) { return static_cast<std::uint64_t>(v) ^ (1ULL << 63); }
inline constexpr std::int64_t FromOrderedInt64(std::uint64_t v) { return static_cast<std::int64_t>(v ^ (1ULL << 63)); }

// Reads a sequence of fields; after the first malformed one all reads fail, so that one check at the end is enough.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : at_(bytes.data()), limit_(bytes.data() + bytes.size()) {}

  std::uint64_t Varint() {
    std::uint64_t v = 0;
    const char* next = ok_ ? DecodeVarint(at_, limit_, &v) : nullptr;
    if (next == nullptr) {
      ok_ = false;
      return 0;
    }
    at_ = next;
    return v;
  }
  std::int64_t SignedVarint() { return UnZigZag(Varint()); }
  template <typename T>
  T Fixed() {
    const std::string_view b = Bytes(sizeof(T));
    return ok_ ? LoadFixed<T>(b.data()) : T{};
  }
  double Double() { return std::bit_cast<double>(Fixed<std::uint64_t>()); }
  std::string_view Bytes(std::uint64_t n) {
    if (!ok_ || n > static_cast<std::uint64_t>(limit_ - at_)) {
      ok_ = false;
      return {};
    }
    std::string_view b(at_, n);
    at_ += n;
    return b;
  }
  std::string_view LengthPrefixed() { return Bytes(Varint()); }

  bool ok() const { return ok_; }
  std::size_t remaining() const { return static_cast<std::size_t>(limit_ - at_); }
  const char* position() const { return at_; }
  bool AtEnd() const { return ok_ && at_ == limit_; }
  void Fail() { ok_ = false; }

 private:
  const char* at_;
  const char* limit_;
  bool ok_ = true;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_CODING_H_

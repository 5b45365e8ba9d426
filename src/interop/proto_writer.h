// Writes Protocol Buffers messages field by field, without a schema: the few that leave this library are small and fixed.
#ifndef CHRONOLITH_INTEROP_PROTO_WRITER_H_
#define CHRONOLITH_INTEROP_PROTO_WRITER_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/coding.h"

namespace chronolith::interop {

// Appends to a string. As the protobuf library does, plain fields leave out what is zero (all bits: -0.0 is kept); those named
// Always do not, for members of a oneof. Thread safety: one thread.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string* out) : out_(out) {}

  void UintAlways(int field, std::uint64_t value) {
    Tag(field, kVarint);
    PutVarint(out_, value);
  }
  void Uint(int field, std::uint64_t value) {
    if (value != 0) UintAlways(field, value);
  }
  void Int(int field, std::int64_t value) { Uint(field, static_cast<std::uint64_t>(value)); }
  void Sint(int field, std::int64_t value) { Uint(field, ZigZag(value)); }
  void DoubleAlways(int field, double value) {
    Tag(field, kFixed64);
    PutFixed64(out_, std::bit_cast<std::uint64_t>(value));
  }
  void Double(int field, double value) {
    if (std::bit_cast<std::uint64_t>(value) != 0) DoubleAlways(field, value);
  }
  // Elements of a repeated field are written also where they are empty.
  void BytesAlways(int field, std::string_view bytes) {
    Tag(field, kLength);
    PutBytes(out_, bytes);
  }
  void Bytes(int field, std::string_view bytes) {
    if (!bytes.empty()) BytesAlways(field, bytes);
  }

  // A nested message of two fields of bytes: labels are most of a message, and their lengths are known. The string grows once.
  void NestedPair(int field, int first_field, std::string_view first, int second_field, std::string_view second) {
    const std::size_t begin = out_->size();
    const std::size_t bytes = FieldBytes(first_field, first) + FieldBytes(second_field, second);
    out_->resize(begin + 2 * kMaxVarint64Bytes + bytes);
    char* to = EncodeVarint(out_->data() + begin, TagOf(field, kLength));
    to = EncodeVarint(to, bytes);
    to = EncodeBytes(to, first_field, first);
    to = EncodeBytes(to, second_field, second);
    out_->resize(static_cast<std::size_t>(to - out_->data()));
  }

  // A nested message, or a packed field: what `write` appends. Its length stands in front and is not known before: one byte is kept
  // for it, and what is longer moves.
  template <typename Write>
  void Nested(int field, Write write) {
    const std::size_t at = Begin(field);
    write();
    End(at);
  }
  // The front of one whose length is known: so many bytes follow. The others tell what a field takes, its tag included.
  void NestedOf(int field, std::size_t bytes) {
    Tag(field, kLength);
    PutVarint(out_, bytes);
  }
  static std::size_t NestedBytes(int field, std::size_t bytes) {
    return VarintBytes(TagOf(field, kLength)) + VarintBytes(bytes) + bytes;
  }
  static std::size_t FieldBytes(int field, std::string_view bytes) { return bytes.empty() ? 0 : NestedBytes(field, bytes.size()); }
  static std::size_t FieldBytes(int field, std::uint64_t value) {
    return value == 0 ? 0 : VarintBytes(TagOf(field, kVarint)) + VarintBytes(value);
  }
  // The same in two steps; parts may lie in each other. End adds at most kMaxVarint64Bytes.
  std::size_t Begin(int field) {
    Tag(field, kLength);
    out_->push_back('\0');
    return out_->size() - 1;
  }
  void End(std::size_t at) {
    const std::size_t length = out_->size() - at - 1;
    char bytes[kMaxVarint64Bytes];
    const auto n = static_cast<std::size_t>(EncodeVarint(bytes, length) - bytes);
    if (n > 1) out_->insert(at, n - 1, '\0');
    out_->replace(at, n, bytes, n);
  }
  void PackedSint(int field, std::span<const std::int64_t> values) {
    if (values.empty()) return;
    Nested(field, [&] {
      for (const std::int64_t value : values) PutZigZag(out_, value);
    });
  }
  void PackedDouble(int field, std::span<const double> values) {
    if (values.empty()) return;
    Tag(field, kLength);
    PutVarint(out_, values.size() * sizeof(double));
    for (const double value : values) PutFixed64(out_, std::bit_cast<std::uint64_t>(value));
  }
  void PackedUint(int field, std::span<const std::uint32_t> values) {
    if (values.empty()) return;
    Nested(field, [&] {
      for (const std::uint32_t value : values) PutVarint(out_, value);
    });
  }

 private:
  static std::size_t VarintBytes(std::uint64_t value) {
    std::size_t n = 1;
    for (; value >= 0x80; value >>= 7) ++n;
    return n;
  }
  static char* EncodeBytes(char* to, int field, std::string_view bytes) {
    if (bytes.empty()) return to;
    to = EncodeVarint(EncodeVarint(to, TagOf(field, kLength)), bytes.size());
    std::memcpy(to, bytes.data(), bytes.size());
    return to + bytes.size();
  }

  static constexpr int kVarint = 0, kFixed64 = 1, kLength = 2;
  static constexpr std::uint64_t TagOf(int field, int type) {
    return static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(type);
  }
  void Tag(int field, int type) { PutVarint(out_, TagOf(field, type)); }

  std::string* out_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_PROTO_WRITER_H_

// Reads Protocol Buffers messages field by field, without a schema.
#ifndef CHRONOLITH_INTEROP_PROTO_READER_H_
#define CHRONOLITH_INTEROP_PROTO_READER_H_

#include <bit>
#include <cstdint>
#include <string_view>

#include "base/coding.h"

namespace chronolith::interop {

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

struct ProtoField {
  std::uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::uint64_t value = 0;  // of kVarint, kFixed64, kFixed32
  std::string_view bytes;   // of kLength

  double AsDouble() const { return std::bit_cast<double>(value); }
  bool Is(std::uint32_t n, WireType t) const { return number == n && type == t; }
};

// Thread safety: one thread.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : at_(message.data()), end_(message.data() + message.size()) {}

  // False at the end, and where the message is malformed: ok() tells. Groups are malformed: no message here has them.
  bool Next(ProtoField* field) {
    if (at_ == end_ || !ok_) return false;
    std::uint64_t tag = 0;
    const char* next = DecodeVarint(at_, end_, &tag);
    if (next == nullptr || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return Fail();
    field->number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        next = DecodeVarint(next, end_, &field->value);
        if (next == nullptr) return Fail();
        break;
      case 1:
        if (end_ - next < 8) return Fail();
        field->value = LoadFixed<std::uint64_t>(next);
        next += 8;
        break;
      case 2: {
        std::uint64_t n = 0;
        next = DecodeVarint(next, end_, &n);
        if (next == nullptr || n > static_cast<std::uint64_t>(end_ - next)) return Fail();
        field->bytes = {next, static_cast<std::size_t>(n)};
        next += n;
        break;
      }
      case 5:
        if (end_ - next < 4) return Fail();
        field->value = LoadFixed<std::uint32_t>(next);
        next += 4;
        break;
      default:
        return Fail();
    }
    field->type = static_cast<WireType>(tag & 7);
    at_ = next;
    return true;
  }
  bool ok() const { return ok_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_PROTO_READER_H_

#include "interop/otlp/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/wire_format_lite.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "base/coding.h"
#include "interop/json_read.h"
#include "interop/label_json.h"
#include "interop/utf8.h"

namespace chronolith::interop::otlp {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

constexpr int kDepthMax = 64;
constexpr std::size_t kLengthBytes = 5;  // room for any length of a message, which is known behind it only

std::optional<std::string> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]), low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Either alphabet, with or without the padding.
std::optional<std::string> FromBase64(std::string_view text) {
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = Base64Digit(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<char>(bits >> (count -= 8)));
  }
  return bytes;
}

std::optional<double> ToDouble(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Also 1.0 and 1e3, where T holds the number.
template <typename T>
std::optional<T> ToInteger(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  const std::optional<double> number = ToDouble(text);
  constexpr double kBeyond = std::numeric_limits<T>::max() / 2 + 1;  // a power of two, halved so that it is exact
  if (!number || std::trunc(*number) != *number || *number / 2 >= kBeyond) return std::nullopt;
  if (*number < static_cast<double>(std::numeric_limits<T>::min())) return std::nullopt;
  return static_cast<T>(*number);
}

class Transcoder {
 public:
  explicit Transcoder(std::string_view json) : text_(json) {}

  Status Read(const Descriptor& type) {
    return text_.ReadAll([&](std::string_view name, ondemand::value value) { return Member(type, name, value, 0); });
  }
  std::string TakeWire() { return std::move(wire_); }

 private:
  Status Member(const Descriptor& type, std::string_view name, ondemand::value value, int depth) {
    const std::string key(name);
    const FieldDescriptor* field = type.FindFieldByCamelcaseName(key);
    if (field == nullptr) field = type.FindFieldByName(key);
    ondemand::json_type json_type{};
    if (const auto error = value.type().get(json_type); error) return text_.Error(error);
    if (json_type == ondemand::json_type::null) {
      bool null = false;
      if (const auto error = value.is_null().get(null); error) return text_.Error(error);
      return null ? Status::Ok() : text_.Error("expected null");
    }
    if (field == nullptr) return Status::Ok();
    if (!field->is_repeated()) return Value(*field, value, depth);
    return text_.ReadArray(value, [&](ondemand::value item) { return Value(*field, item, depth); });
  }

  Status Value(const FieldDescriptor& field, ondemand::value value, int depth) {
    if (field.type() == FieldDescriptor::TYPE_MESSAGE) return Message(field, value, depth + 1);
    if (field.type() == FieldDescriptor::TYPE_STRING || field.type() == FieldDescriptor::TYPE_BYTES) return Text(field, value);
    std::string text;
    if (Status s = text_.Scalar(value, field.json_name().c_str(), &text); !s.ok()) return s;
    return Scalar(field, text) ? Status::Ok() : text_.Error(field.json_name() + " cannot be \"" + text.substr(0, 100) + "\"");
  }

  Status Message(const FieldDescriptor& field, ondemand::value value, int depth) {
    if (depth > kDepthMax) return text_.Error("nested more than " + std::to_string(kDepthMax) + " deep");
    Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
    const std::size_t length_at = wire_.size();
    wire_.append(kLengthBytes, '\0');
    const Status status = text_.ReadObject(
        value, [&](std::string_view name, ondemand::value member) { return Member(*field.message_type(), name, member, depth); });
    std::uint64_t length = wire_.size() - length_at - kLengthBytes;
    for (std::size_t i = 0; i < kLengthBytes; ++i, length >>= 7) {
      wire_[length_at + i] = static_cast<char>((length & 0x7f) | (i + 1 < kLengthBytes ? 0x80 : 0));
    }
    return status;
  }

  Status Text(const FieldDescriptor& field, ondemand::value value) {
    std::string text;
    if (Status s = text_.String(value, field.json_name().c_str(), &text); !s.ok()) return s;
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
      const bool id = field.name() == "trace_id" || field.name() == "span_id";
      std::optional<std::string> bytes = id ? FromHex(text) : FromBase64(text);
      if (!bytes) return text_.Error(field.json_name() + (id ? " is not hexadecimal" : " is not base64"));
      text = std::move(*bytes);
    }
    Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
    PutBytes(&wire_, text);
    return Status::Ok();
  }

  bool Scalar(const FieldDescriptor& field, const std::string& text) {
    switch (field.type()) {
      case FieldDescriptor::TYPE_DOUBLE: {
        const auto number = ToDouble(text);
        return number && Fixed(field, std::bit_cast<std::uint64_t>(*number));
      }
      case FieldDescriptor::TYPE_FIXED64: {
        const auto number = ToInteger<std::uint64_t>(text);
        return number && Fixed(field, *number);
      }
      case FieldDescriptor::TYPE_SFIXED64: {
        const auto number = ToInteger<std::int64_t>(text);
        return number && Fixed(field, static_cast<std::uint64_t>(*number));
      }
      case FieldDescriptor::TYPE_INT64: {
        const auto number = ToInteger<std::int64_t>(text);
        return number && Varint(field, static_cast<std::uint64_t>(*number));
      }
      case FieldDescriptor::TYPE_UINT64: {
        const auto number = ToInteger<std::uint64_t>(text);
        return number && Varint(field, *number);
      }
      case FieldDescriptor::TYPE_UINT32: {
        const auto number = ToInteger<std::uint32_t>(text);
        return number && Varint(field, *number);
      }
      case FieldDescriptor::TYPE_INT32: {
        const auto number = ToInteger<std::int32_t>(text);
        return number && Varint(field, static_cast<std::uint64_t>(static_cast<std::int64_t>(*number)));
      }
      case FieldDescriptor::TYPE_SINT32: {
        const auto number = ToInteger<std::int32_t>(text);
        return number && Varint(field, WireFormatLite::ZigZagEncode32(*number));
      }
      case FieldDescriptor::TYPE_BOOL:
        return (text == "true" || text == "false") && Varint(field, text == "true" ? 1 : 0);
      case FieldDescriptor::TYPE_ENUM: {
        if (const auto* named = field.enum_type()->FindValueByName(text); named != nullptr) {
          return Varint(field, static_cast<std::uint64_t>(named->number()));
        }
        const auto number = ToInteger<std::int32_t>(text);
        return number && Varint(field, static_cast<std::uint64_t>(static_cast<std::int64_t>(*number)));
      }
      default:
        return false;
    }
  }

  void Tag(const FieldDescriptor& field, WireFormatLite::WireType type) {
    PutVarint(&wire_, WireFormatLite::MakeTag(field.number(), type));
  }
  bool Fixed(const FieldDescriptor& field, std::uint64_t bits) {
    Tag(field, WireFormatLite::WIRETYPE_FIXED64);
    PutFixed64(&wire_, bits);
    return true;
  }
  bool Varint(const FieldDescriptor& field, std::uint64_t value) {
    Tag(field, WireFormatLite::WIRETYPE_VARINT);
    PutVarint(&wire_, value);
    return true;
  }

  JsonText text_;
  std::string wire_;
};

}  // namespace

Result<std::string> JsonToWire(std::string_view json, const Descriptor& type) {
  Transcoder transcoder(json);
  if (Status s = transcoder.Read(type); !s.ok()) return s;
  return transcoder.TakeWire();
}

std::string ResponseJson(std::uint64_t rejected, std::string_view message) {
  if (rejected == 0 && message.empty()) return "{}";
  std::string json = R"({"partialSuccess":{"rejectedDataPoints":")" + std::to_string(rejected) + R"(","errorMessage":)";
  AppendJsonString(message, &json);
  return json + "}}";
}

std::string StatusJson(int code, std::string_view message) {
  std::string json = R"({"code":)" + std::to_string(code) + R"(,"message":)";
  AppendJsonString(message, &json);
  return json + "}";
}

}  // namespace chronolith::interop::otlp

#include "interop/otlp/attributes.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "interop/label_json.h"
#include "interop/otlp/names.h"

namespace chronolith::interop::otlp {
namespace {

// 6 bits a character, padded with '='.
std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    const std::size_t given = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 4; ++k) text.push_back(k <= given ? kDigits[group >> (18 - 6 * k) & 63] : '=');
  }
  return text;
}

// As ECMAScript (and so OpenTelemetry's other implementations) writes numbers: an exponent only for very small and very large ones.
std::string DoubleText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  const double size = std::fabs(value);
  const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof(text), value, exponent ? std::chars_format::scientific : std::chars_format::fixed);
  return {text, end.ptr};
}

// The parser has bounded the depth (100, protobuf's limit).
void AppendJson(const pb::AnyValue& value, std::string* json) {
  switch (value.value_case()) {
    case pb::AnyValue::kArrayValue: {
      json->push_back('[');
      for (const pb::AnyValue& item : value.array_value().values()) {
        if (json->back() != '[') json->push_back(',');
        AppendJson(item, json);
      }
      json->push_back(']');
      return;
    }
    case pb::AnyValue::kKvlistValue: {
      json->push_back('{');
      for (const pb::KeyValue& item : value.kvlist_value().values()) {
        if (json->back() != '{') json->push_back(',');
        AppendJsonString(item.key(), json);
        json->push_back(':');
        AppendJson(item.value(), json);
      }
      json->push_back('}');
      return;
    }
    case pb::AnyValue::kBoolValue:
    case pb::AnyValue::kIntValue:
      json->append(AnyValueText(value));
      return;
    case pb::AnyValue::kDoubleValue:
      if (!std::isfinite(value.double_value())) break;  // JSON has no such numbers
      json->append(AnyValueText(value));
      return;
    case pb::AnyValue::VALUE_NOT_SET:
      json->append("null");
      return;
    case pb::AnyValue::kStringValue:
    case pb::AnyValue::kBytesValue:
      break;
  }
  AppendJsonString(AnyValueText(value), json);
}

}  // namespace

std::string AnyValueText(const pb::AnyValue& value) {
  switch (value.value_case()) {
    case pb::AnyValue::kStringValue:
      return value.string_value();
    case pb::AnyValue::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case pb::AnyValue::kIntValue:
      return std::to_string(value.int_value());
    case pb::AnyValue::kDoubleValue:
      return DoubleText(value.double_value());
    case pb::AnyValue::kBytesValue:
      return Base64(value.bytes_value());
    case pb::AnyValue::kArrayValue:
    case pb::AnyValue::kKvlistValue: {
      std::string json;
      AppendJson(value, &json);
      return json;
    }
    case pb::AnyValue::VALUE_NOT_SET:
      break;
  }
  return {};
}

Status AppendLabels(const Attributes& attributes, Pairs* labels) {
  std::vector<const pb::KeyValue*> sorted;
  for (const pb::KeyValue& attribute : attributes) {
    if (attribute.key().empty()) return InvalidArgument("an attribute has an empty key");
    sorted.push_back(&attribute);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
  Pairs named;
  for (const pb::KeyValue* attribute : sorted) {
    std::string value = AnyValueText(attribute->value());
    if (!value.empty()) named.emplace_back(PrometheusLabelName(attribute->key()), std::move(value));
  }
  std::stable_sort(named.begin(), named.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::size_t before = labels->size();
  for (auto& [name, value] : named) {
    if (labels->size() > before && labels->back().first == name) {
      labels->back().second.append(";").append(value);
    } else {
      labels->emplace_back(std::move(name), std::move(value));
    }
  }
  return Status::Ok();
}

Labels Merge(const Pairs& labels, const Pairs& over) {
  Pairs all = over;
  for (const auto& pair : labels) {
    const bool known = std::any_of(over.begin(), over.end(), [&](const auto& o) { return o.first == pair.first; });
    if (!known) all.push_back(pair);
  }
  return Labels(std::move(all));
}

std::string HexText(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    text.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return text;
}

}  // namespace chronolith::interop::otlp

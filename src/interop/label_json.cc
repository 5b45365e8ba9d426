#include "interop/label_json.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "interop/text_scan.h"

namespace chronolith::interop {

namespace {

Result<Labels> Build(std::vector<std::pair<std::string, std::string>> pairs) {
  std::sort(pairs.begin(), pairs.end());
  std::string encoded;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [name, value] = pairs[i];
    if (name.empty()) return InvalidArgument("a label name is empty");
    if (i > 0 && pairs[i - 1].first == name) return InvalidArgument("label " + Quoted(name) + " is there twice");
    if (!value.empty()) Labels::AppendEncoded(name, value, &encoded);
  }
  if (encoded.empty()) return InvalidArgument("there is no label");
  return Labels::FromEncoded(std::move(encoded));
}

}  // namespace

Result<Labels> ReadLabelJson(JsonScanner* json) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!json->Take('{')) return json->Error("expected '{'");
  if (!json->Take('}')) {
    do {
      auto& [name, value] = pairs.emplace_back();
      if (Status s = json->String("a label name", &name); !s.ok()) return s;
      if (!json->Take(':')) return json->Error("expected ':'");
      if (Status s = json->String("a string", &value); !s.ok()) return s;
    } while (json->Take(','));
    if (!json->Take('}')) return json->Error("expected ',' or '}'");
  }
  return Build(std::move(pairs));
}

Result<Labels> ParseLabelJson(std::string_view line) {
  JsonScanner json(line);
  auto labels = ReadLabelJson(&json);
  if (labels.ok() && !json.AtEnd()) return json.Error("expected the end");
  return labels;
}

void AppendJsonString(std::string_view text, std::string* json) {
  static constexpr char kHex[] = "0123456789abcdef";
  const bool valid = IsValidUtf8(text);
  json->push_back('"');
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json->push_back('\\');
      json->push_back(c);
    } else if (c == '\n') {
      json->append("\\n");
    } else if (byte < 0x20 || byte == 0x7f) {
      json->append("\\u00").append({kHex[byte >> 4], kHex[byte & 15]});
    } else if (byte >= 0x80 && !valid) {
      json->append("\xef\xbf\xbd");
    } else {
      json->push_back(c);
    }
  }
  json->push_back('"');
}

}  // namespace chronolith::interop

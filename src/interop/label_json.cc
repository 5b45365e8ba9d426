#include "interop/label_json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "interop/label_json_builder.h"
#include "interop/text_scan.h"
#include "interop/utf8.h"

namespace chronolith::interop {

Status LabelJsonBuilder::Add(JsonText* json, std::string_view name, ondemand::value value) {
  auto& pair = pairs_.emplace_back(name, "");
  if (name.empty() || name.find('\0') != std::string_view::npos)
    return json->Error("a label name is empty or has a zero character");
  return json->String(value, "a string", &pair.second);
}

Status LabelJsonBuilder::Finish(Labels* labels) {
  std::sort(pairs_.begin(), pairs_.end());
  std::string encoded;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const auto& [name, value] = pairs_[i];
    if (i > 0 && pairs_[i - 1].first == name) return InvalidArgument("label " + Quoted(name) + " is there twice");
    if (!value.empty()) Labels::AppendEncoded(name, value, &encoded);
  }
  if (encoded.empty()) return InvalidArgument("there is no label");
  *labels = Labels::FromEncoded(std::move(encoded));
  return Status::Ok();
}

Result<Labels> ParseLabelJson(std::string_view line) {
  JsonText json(line);
  LabelJsonBuilder builder;
  Status status = json.ReadAll([&](std::string_view name, ondemand::value value) { return builder.Add(&json, name, value); });
  Labels labels;
  if (status.ok()) status = builder.Finish(&labels);
  if (!status.ok()) return status;
  return labels;
}

void AppendJsonString(std::string_view text, std::string* json) {
  // Nearly every label is plain ASCII, and an answer has hundreds of thousands of them.
  bool plain = true;
  for (const char c : text) plain &= (c >= 0x20) & (c < 0x7f) & (c != '"') & (c != '\\');
  json->push_back('"');
  if (plain) {
    json->append(text).push_back('"');
    return;
  }
  static constexpr char kHex[] = "0123456789abcdef";
  const bool valid = IsValidUtf8(text);
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

void AppendJsonLabels(const Labels& labels, std::string* json) {
  const char* before = "{";
  for (const Label& label : labels) {
    json->append(std::exchange(before, ","));
    AppendJsonString(label.name, json);
    json->push_back(':');
    AppendJsonString(label.value, json);
  }
  json->append(labels.empty() ? "{}" : "}");
}

}  // namespace chronolith::interop

#include "interop/label_json.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "interop/text_scan.h"
#include "interop/utf8.h"

namespace chronolith::interop {

namespace {

class LabelJsonParser {
 public:
  explicit LabelJsonParser(std::string_view text) : text_(text) {}

  Result<Labels> Parse() {
    if (!Take('{')) return Error("expected '{'");
    if (!Take('}')) {
      do {
        std::string name;
        std::string value;
        if (Status s = String("a label name", &name); !s.ok()) return s;
        if (!Take(':')) return Error("expected ':'");
        if (Status s = String("a string", &value); !s.ok()) return s;
        pairs_.emplace_back(std::move(name), std::move(value));
      } while (Take(','));
      if (!Take('}')) return Error("expected ',' or '}'");
    }
    SkipSpace();
    if (at_ < text_.size()) return Error("expected the end");
    return Build();
  }

 private:
  Result<Labels> Build() {
    std::sort(pairs_.begin(), pairs_.end());
    std::string encoded;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto& [name, value] = pairs_[i];
      if (name.empty()) return InvalidArgument("a label name is empty");
      if (i > 0 && pairs_[i - 1].first == name) return InvalidArgument("label " + Quoted(name) + " is there twice");
      if (!value.empty()) Labels::AppendEncoded(name, value, &encoded);
    }
    if (encoded.empty()) return InvalidArgument("there is no label");
    return Labels::FromEncoded(std::move(encoded));
  }

  Status Error(const std::string& what) const { return InvalidArgument("byte " + std::to_string(at_ + 1) + ": " + what); }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) ++at_;
  }
  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Status String(const char* what, std::string* value) {
    if (!Take('"')) return Error(std::string("expected ") + what + " in double quotes");
    while (true) {
      const std::size_t run = text_.find_first_of("\"\\", at_);
      if (run == std::string_view::npos) return Error("the string is never closed");
      value->append(text_.substr(at_, run - at_));
      at_ = run + 1;
      if (text_[run] == '"') break;
      if (Status s = Escape(value); !s.ok()) return s;
    }
    const bool control = std::any_of(value->begin(), value->end(), [](char c) { return c == '\0'; });
    if (control || !IsValidUtf8(*value)) return Error("the string is not valid UTF-8 text");
    return Status::Ok();
  }

  Status Escape(std::string* value) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt";
    static constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    if (const std::size_t i = kLetters.find(c); i != std::string_view::npos) {
      value->push_back(kMeaning[i]);
      return Status::Ok();
    }
    std::uint32_t rune = 0;
    if (c != 'u' || !Hex4(&rune)) return Error("unknown escape");
    if (rune >= 0xd800 && rune < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
      std::uint32_t low = 0;
      at_ += 2;
      if (!Hex4(&low) || low < 0xdc00 || low > 0xdfff) return Error("half of a surrogate pair");
      rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
    }
    if (rune >= 0xd800 && rune < 0xe000) return Error("half of a surrogate pair");
    AppendUtf8(rune, value);
    return Status::Ok();
  }

  bool Hex4(std::uint32_t* rune) {
    for (int i = 0; i < 4; ++i, ++at_) {
      const int digit = at_ < text_.size() ? HexDigit(text_[at_]) : -1;
      if (digit < 0) return false;
      *rune = *rune * 16 + static_cast<std::uint32_t>(digit);
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace

Result<Labels> ParseLabelJson(std::string_view line) { return LabelJsonParser(line).Parse(); }

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

#include "interop/json_scan.h"

#include <algorithm>

#include "interop/text_scan.h"
#include "interop/utf8.h"

namespace chronolith::interop {

namespace {
constexpr int kLevelsMax = 64;
}

Status JsonScanner::Error(const std::string& what) const {
  return InvalidArgument("byte " + std::to_string(at_ + 1) + ": " + what);
}

void JsonScanner::SkipSpace() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) ++at_;
}

bool JsonScanner::At(char c) {
  SkipSpace();
  return at_ < text_.size() && text_[at_] == c;
}

bool JsonScanner::Take(char c) {
  if (!At(c)) return false;
  ++at_;
  return true;
}

bool JsonScanner::AtEnd() {
  SkipSpace();
  return at_ >= text_.size();
}

Status JsonScanner::String(const char* what, std::string* value) {
  value->clear();
  if (!Take('"')) return Error(std::string("expected ") + what + " in double quotes");
  while (true) {
    const std::size_t run = text_.find_first_of("\"\\", at_);
    if (run == std::string_view::npos) return Error("the string is never closed");
    value->append(text_.substr(at_, run - at_));
    at_ = run + 1;
    if (text_[run] == '"') break;
    if (Status s = Escape(value); !s.ok()) return s;
  }
  if (value->find('\0') != std::string::npos || !IsValidUtf8(*value)) return Error("the string is not valid UTF-8 text");
  return Status::Ok();
}

Status JsonScanner::Escape(std::string* value) {
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

bool JsonScanner::Hex4(std::uint32_t* rune) {
  for (int i = 0; i < 4; ++i, ++at_) {
    const int digit = at_ < text_.size() ? HexDigit(text_[at_]) : -1;
    if (digit < 0) return false;
    *rune = *rune * 16 + static_cast<std::uint32_t>(digit);
  }
  return true;
}

Status JsonScanner::Scalar(const char* what, std::string* text) {
  if (At('"')) return String(what, text);
  const std::size_t end = std::min(text_.find_first_of(",]}[{: \t\r\n\"", at_), text_.size());
  if (end == at_) return Error(std::string("expected ") + what);
  text->assign(text_.substr(at_, end - at_));
  at_ = end;
  return Status::Ok();
}

Status JsonScanner::Skip() { return SkipNested(kLevelsMax); }

Status JsonScanner::SkipNested(int levels) {
  std::string ignored;
  const bool object = At('{');
  if (!object && !At('[')) return Scalar("a value", &ignored);
  if (levels == 0) return Error("values are nested too deep");
  const char end = object ? '}' : ']';
  Take(object ? '{' : '[');
  if (Take(end)) return Status::Ok();
  do {
    if (object) {
      if (Status s = String("a name", &ignored); !s.ok()) return s;
      if (!Take(':')) return Error("expected ':'");
    }
    if (Status s = SkipNested(levels - 1); !s.ok()) return s;
  } while (Take(','));
  if (!Take(end)) return Error(std::string("expected ',' or '") + end + "'");
  return Status::Ok();
}

}  // namespace chronolith::interop

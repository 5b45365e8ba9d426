#include "interop/selector.h"

#include <cstdint>
#include <string>
#include <utility>

#include "interop/text_scan.h"
#include "interop/utf8.h"

namespace chronolith::interop {

namespace {

// Recursive descent over one selector; `at_` is the next byte.
class SelectorParser {
 public:
  explicit SelectorParser(std::string_view text) : text_(text) {}

  Result<std::vector<Matcher>> Parse() {
    SkipSpace();
    const std::size_t name = MetricNamePrefix(Rest());
    if (name > 0) matchers_.push_back(Matcher::Equal(std::string(kMetricName), std::string(Rest().substr(0, name))));
    at_ += name;
    SkipSpace();
    if (Rest().empty() && name > 0) return std::move(matchers_);
    if (Rest().empty() || Rest()[0] != '{') return Expected(name > 0 ? "'{' or the end" : "a metric name or '{'");
    ++at_;
    if (Status s = Matchers(); !s.ok()) return s;
    SkipSpace();
    if (!Rest().empty()) return Expected("the end");
    if (name > 0) {
      for (std::size_t i = 1; i < matchers_.size(); ++i) {
        if (matchers_[i].name == kMetricName) {
          return InvalidArgument("the metric name is given twice: before the brace and as " + matchers_[i].ToString());
        }
      }
    }
    return std::move(matchers_);
  }

 private:
  std::string_view Rest() const { return text_.substr(at_); }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  Status Error(std::size_t at, const std::string& what) const {
    return InvalidArgument("position " + std::to_string(at + 1) + ": " + what);
  }
  Status Expected(const std::string& what) const {
    return Error(at_, "expected " + what + ", got " + (Rest().empty() ? "the end" : Quoted(Rest().substr(0, 16))));
  }

  Status Matchers() {
    while (true) {
      SkipSpace();
      if (!Rest().empty() && Rest()[0] == '}') break;
      Matcher matcher;
      const std::size_t name = LabelNamePrefix(Rest());
      if (name == 0) return Expected("a label name");
      matcher.name = Rest().substr(0, name);
      at_ += name;
      if (Status s = Operator(&matcher.type); !s.ok()) return s;
      if (Status s = String(&matcher.value); !s.ok()) return s;
      matchers_.push_back(std::move(matcher));
      SkipSpace();
      if (!Rest().empty() && Rest()[0] == ',') {
        ++at_;
      } else if (Rest().empty() || Rest()[0] != '}') {
        return Expected("',' or '}'");
      }
    }
    ++at_;
    return Status::Ok();
  }

  Status Operator(Matcher::Type* type) {
    static constexpr std::pair<std::string_view, Matcher::Type> kOperators[] = {
        {"=~", Matcher::Type::kRegex},
        {"!~", Matcher::Type::kNotRegex},
        {"!=", Matcher::Type::kNotEqual},
        {"=", Matcher::Type::kEqual},
    };
    SkipSpace();
    for (const auto& [text, value] : kOperators) {
      if (Rest().starts_with(text)) {
        at_ += text.size();
        *type = value;
        return Status::Ok();
      }
    }
    return Expected("=, !=, =~ or !~");
  }

  Status String(std::string* value) {
    SkipSpace();
    const char quote = Rest().empty() ? '\0' : Rest()[0];
    if (quote != '"' && quote != '\'' && quote != '`') return Expected("a value in quotes");
    const std::size_t start = at_++;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\' && quote != '`') {
        if (Status s = Escape(quote, value); !s.ok()) return s;
      } else {
        value->push_back(text_[at_++]);
      }
    }
    if (at_ >= text_.size()) return Error(start, "the quote is never closed");
    ++at_;
    if (!IsValidUtf8(*value)) return Error(start, "the value is not valid UTF-8");
    return Status::Ok();
  }

  // One escape sequence of Go, as PromQL has them.
  Status Escape(char quote, std::string* value) {
    static constexpr std::string_view kLetters = "abfnrtv\\";
    static constexpr std::string_view kMeaning = "\a\b\f\n\r\t\v\\";
    const std::size_t start = at_++;
    if (at_ == text_.size()) return Error(start, "the escape is cut off");
    const char c = text_[at_++];
    if (const std::size_t i = kLetters.find(c); i != std::string_view::npos) {
      value->push_back(kMeaning[i]);
      return Status::Ok();
    }
    if (c == quote) {
      value->push_back(c);
      return Status::Ok();
    }
    const bool octal = c >= '0' && c <= '7';
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : octal ? 3 : 0;
    if (digits == 0) return Error(start, "unknown escape " + Quoted(text_.substr(start, 2)));
    if (octal) --at_;
    std::uint32_t rune = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = at_ < text_.size() ? HexDigit(text_[at_]) : -1;
      if (digit < 0 || (octal && digit > 7))
        return Error(start, "escape " + Quoted(text_.substr(start, 2)) + " needs " + std::to_string(digits) + " digits");
      rune = rune * (octal ? 8 : 16) + static_cast<std::uint32_t>(digit);
    }
    if (c == 'x' || octal) {
      if (rune > 0xff) return Error(start, "the escape is beyond a byte");
      value->push_back(static_cast<char>(rune));
    } else {
      if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) return Error(start, "the escape is no Unicode character");
      AppendUtf8(rune, value);
    }
    return Status::Ok();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Matcher> matchers_;
};

}  // namespace

Result<std::vector<Matcher>> ParseSelector(std::string_view text) { return SelectorParser(text).Parse(); }

}  // namespace chronolith::interop

#include "index/compiled_matcher.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstring>

#include "index/utf8.h"

namespace chronolith {
namespace {

constexpr std::int64_t kRegexBytesMax = 8 << 20;  // of the expressions of a query

bool IsMeta(char c) { return std::strchr("\\.+*?()|[]{}^$", c) != nullptr && c != '\0'; }

// Nothing to match stands here, flags or an empty quotation: a repetition behind it repeats what stands in front of it.
bool EmptyAt(std::string_view rest) {
  if (rest.starts_with("\\Q")) return true;
  if (!rest.starts_with("(?")) return false;
  const std::size_t end = rest.find_first_not_of("imsU-", 2);
  return end != std::string_view::npos && rest[end] == ')';
}

// Reads literal characters from the front of `pattern`: what stands there for itself, or escaped punctuation. A character that a
// repetition follows, or may follow, belongs to the repetition. Returns how many bytes of the pattern were read.
std::size_t ReadLiteral(std::string_view pattern, std::string* literal) {
  std::size_t at = 0;
  while (at < pattern.size()) {
    std::size_t next = at + 1;
    char c = pattern[at];
    if (c == '\\') {
      // Escaped letters and digits are classes, anchors or codes.
      if (next >= pattern.size() || !IsMeta(pattern[next])) break;
      c = pattern[next++];
    } else if (IsMeta(c)) {
      break;
    } else {
      while (next < pattern.size() && (static_cast<unsigned char>(pattern[next]) & 0xc0) == 0x80) ++next;  // rest of the character
    }
    if (next < pattern.size() && std::strchr("*+?{", pattern[next]) != nullptr && pattern[next] != '\0') break;
    if (EmptyAt(pattern.substr(next))) break;
    if (pattern[at] == '\\') {
      literal->push_back(c);
    } else {
      literal->append(pattern.substr(at, next - at));
    }
    at = next;
  }
  return at;
}

// (a|b|c) and (?:a|b|c) say what a|b|c says, where the parentheses belong together.
std::string_view StripGroup(std::string_view pattern) {
  if (pattern.size() < 2 || pattern.front() != '(' || pattern.back() != ')') return pattern;
  std::string_view inner = pattern.substr(1, pattern.size() - 2);
  if (inner.starts_with("?:")) {
    inner.remove_prefix(2);
  } else if (inner.starts_with("?")) {
    return pattern;
  }
  // Literals only: any further parenthesis, class or escape at the end is left to the expression.
  return inner.find_first_of("()[]") == std::string_view::npos && !inner.ends_with('\\') ? inner : pattern;
}

// a|b|c with literal alternatives.
bool ParseLiterals(std::string_view pattern, std::vector<std::string>* literals) {
  pattern = StripGroup(pattern);
  while (true) {
    std::string literal;
    pattern.remove_prefix(ReadLiteral(pattern, &literal));
    literals->push_back(std::move(literal));
    if (pattern.empty()) return true;
    if (pattern.front() != '|') return false;
    pattern.remove_prefix(1);
  }
}

// An alternation at top level makes what stands in front of it no prefix of the whole. Anything that hides a bar from the top level
// (a group, a class, an escape) may be taken for one: the prefix is then not used, which costs speed only.
bool HasAlternation(std::string_view pattern) { return pattern.find('|') != std::string_view::npos; }

}  // namespace

Result<CompiledMatcher> CompiledMatcher::Compile(const Matcher& matcher) { return Compile(matcher, kRegexBytesMax); }

Result<CompiledMatcher> CompiledMatcher::Compile(const Matcher& matcher, std::int64_t regex_bytes_max) {
  if (matcher.name.empty()) return InvalidArgument("matcher " + matcher.ToString() + " has an empty label name");
  CompiledMatcher compiled;
  compiled.matcher_ = matcher;
  compiled.negated_ = matcher.type == Matcher::Type::kNotEqual || matcher.type == Matcher::Type::kNotRegex;
  if (matcher.type == Matcher::Type::kEqual || matcher.type == Matcher::Type::kNotEqual) {
    compiled.shape_ = Shape::kLiterals;
    compiled.literals_.push_back(matcher.value);
  } else if (Status s = compiled.CompileRegex(regex_bytes_max); !s.ok()) {
    return s;
  }
  compiled.matches_empty_ = compiled.Matches("");
  return compiled;
}

Status CompiledMatcher::CompileAll(std::span<const Matcher> matchers, std::vector<CompiledMatcher>* compiled) {
  compiled->clear();
  compiled->reserve(matchers.size());
  const auto expressions = std::count_if(matchers.begin(), matchers.end(), [](const Matcher& m) {
    return m.type == Matcher::Type::kRegex || m.type == Matcher::Type::kNotRegex;
  });
  for (const Matcher& matcher : matchers) {
    Result<CompiledMatcher> one = Compile(matcher, kRegexBytesMax / std::max<std::int64_t>(expressions, 1));
    if (!one.ok()) return one.status();
    compiled->push_back(std::move(one).value());
  }
  return Status::Ok();
}

Status CompiledMatcher::CompileRegex(std::int64_t bytes_max) {
  const std::string& pattern = matcher_.value;
  if (!IsValidUtf8(pattern)) return InvalidArgument("matcher " + matcher_.ToString() + ": the expression is not valid UTF-8");
  if (pattern == ".*" || pattern == ".+") {
    shape_ = pattern == ".*" ? Shape::kAny : Shape::kNonEmpty;
    return Status::Ok();
  }
  if (ParseLiterals(pattern, &literals_)) {
    shape_ = Shape::kLiterals;
    std::sort(literals_.begin(), literals_.end());
    literals_.erase(std::unique(literals_.begin(), literals_.end()), literals_.end());
    return Status::Ok();
  }
  literals_.clear();
  if (!HasAlternation(pattern)) {
    const std::size_t read = ReadLiteral(pattern, &prefix_);
    if (std::string_view(pattern).substr(read) == ".*") {
      shape_ = Shape::kPrefix;
      return Status::Ok();
    }
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  options.set_max_mem(bytes_max);
  options.set_never_capture(true);
  auto regex = std::make_shared<RE2>(pattern, options);
  if (!regex->ok()) {
    return InvalidArgument("matcher " + matcher_.ToString() + ": " + regex->error());
  }
  shape_ = Shape::kGeneral;
  regex_ = std::move(regex);
  return Status::Ok();
}

bool CompiledMatcher::Accepts(std::string_view value) const {
  switch (shape_) {
    case Shape::kLiterals:
      return literals_.size() == 1 ? literals_[0] == value
                                   : std::binary_search(literals_.begin(), literals_.end(), value, std::less<>());
    case Shape::kAny:
      return true;
    case Shape::kNonEmpty:
      return !value.empty();
    case Shape::kPrefix:
      return value.starts_with(prefix_);
    case Shape::kGeneral:
      return RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *regex_);
  }
  return false;
}

}  // namespace chronolith

// CompiledMatcher: a Matcher ready to be asked, with what the index needs to find its values without looking at all of them.
#ifndef CHRONOLITH_INDEX_COMPILED_MATCHER_H_
#define CHRONOLITH_INDEX_COMPILED_MATCHER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace chronolith {

// Prometheus semantics: a missing label equals ""; a regular expression is RE2, matches the whole value, and its dot matches
// newlines. Thread safety: as a value type; const access from several threads is safe. Copies share the compiled expression.
class CompiledMatcher {
 public:
  // What the matcher accepts, before negation.
  enum class Shape : std::uint8_t {
    kLiterals,  // exactly `literals()`: from =, or an expression like a|b|c
    kAny,       // .*
    kNonEmpty,  // .+
    kPrefix,    // prefix() and anything behind it: abc.*
    kGeneral,   // only the expression knows; its values begin with prefix()
  };

  // kInvalidArgument names the matcher: an empty label name, an expression that RE2 refuses (with its reason) or that would take
  // more than 8 MiB.
  static Result<CompiledMatcher> Compile(const Matcher& matcher);
  // Of one query: its expressions share the 8 MiB, however many they are.
  static Status CompileAll(std::span<const Matcher> matchers, std::vector<CompiledMatcher>* compiled);

  // Whether a series with this value of the label matches; "" also stands for no such label.
  bool Matches(std::string_view value) const { return Accepts(value) != negated_; }
  bool MatchesEmpty() const { return matches_empty_; }

  const std::string& name() const { return matcher_.name; }
  const Matcher& matcher() const { return matcher_; }
  Shape shape() const { return shape_; }
  bool negated() const { return negated_; }
  // Matches without negation.
  bool Accepts(std::string_view value) const;
  const std::vector<std::string>& literals() const { return literals_; }  // ascending, distinct
  const std::string& prefix() const { return prefix_; }

 private:
  CompiledMatcher() = default;
  static Result<CompiledMatcher> Compile(const Matcher& matcher, std::int64_t regex_bytes_max);
  Status CompileRegex(std::int64_t bytes_max);

  Matcher matcher_;
  Shape shape_ = Shape::kGeneral;
  bool negated_ = false;
  bool matches_empty_ = false;
  std::vector<std::string> literals_;
  std::string prefix_;
  std::shared_ptr<const re2::RE2> regex_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_COMPILED_MATCHER_H_
